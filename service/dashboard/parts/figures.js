import { count, dollars, exactCount, exactUsd, usd } from "../lib/format.js";
import { html } from "../lib/preact.js";

/** An amount to the digits that matter; the exact one is its value and shows when pointed at. */
export function Money({ nanousd }) {
  const exact = exactUsd(nanousd);
  return html`<data value=${exact} title=${dollars(exact)}>${usd(nanousd)}</data>`;
}

/** A number of things, likewise. */
export function Count({ number }) {
  return html`<data value=${number} title=${exactCount(number)}>${count(number)}</data>`;
}

/** A row of figures: [{name, figure, note}]. */
export function Tiles({ label, tiles }) {
  return html`<dl class="tiles" aria-label=${label}>
    ${tiles.map(
      ({ name, figure, note }) => html`<div key=${name}>
        <dt>${name}</dt><dd class="figure">${figure}</dd>${note && html`<dd class="note">${note}</dd>`}
      </div>`,
    )}
  </dl>`;
}
