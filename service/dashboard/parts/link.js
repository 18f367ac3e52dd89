import { go } from "../lib/address.js";
import { html } from "../lib/preact.js";

/** A link within the page. A click that asks for a new tab or a download is the browser's own. */
export function Link({ href, children, ...others }) {
  function followed(event) {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(href);
  }
  return html`<a href=${href} onClick=${followed} ...${others}>${children}</a>`;
}
