import { html } from "../lib/preact.js";

/** A titled card. note: a few words beside the title; tools: what can be set about it. */
export function Panel({ title, note, tools, children }) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return html`<section class="panel" aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>${note && html`<span class="note">${note}</span>`}${tools}</header>
    ${children}
  </section>`;
}
