import { html } from "../lib/preact.js";

/** A table that scrolls by itself where it is too wide. columns: [[title, (row) => cell]]; the first names the row. */
export function Table({ label, columns, rows, keyOf }) {
  const [[, nameOf], ...others] = columns;
  return html`<div class="scroller" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead>
        <tr>${columns.map(([title]) => html`<th key=${title} scope="col">${title}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr key=${keyOf(row)}>
            <th scope="row">${nameOf(row)}</th>
            ${others.map(([title, cell]) => html`<td key=${title}>${cell(row)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
