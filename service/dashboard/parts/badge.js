import { html } from "../lib/preact.js";

/** How something stands, in a word or two. tone: `good`, `warn`, `bad`, `busy`, or "" for none of them. */
export function Badge({ tone, children, ...others }) {
  return html`<span class=${`badge ${tone}`} ...${others}>${children}</span>`;
}
