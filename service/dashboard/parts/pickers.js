// How the address is changed by hand: one of a few, one of many, and what it is narrowed to.

import { address, go, hrefWith } from "../lib/address.js";
import { html } from "../lib/preact.js";
import { DEFAULT_SPAN, SPANS } from "../lib/span.js";
import { useStore } from "../lib/store.js";
import { Link } from "./link.js";

/** One of a few, all in sight. options: [[value, what it is called]]. */
export function Segments({ label, name, value, options, onPick }) {
  return html`<fieldset class="segments"><legend class="unseen">${label}</legend>
    ${options.map(
      ([option, title]) => html`<label key=${option}>
        <input type="radio" name=${name} value=${option} checked=${option === value} onChange=${() => onPick(option)} />
        ${title}
      </label>`,
    )}
  </fieldset>`;
}

/** One of many. options: [[value, what it is called]]. */
export function Picker({ label, value, options, onPick }) {
  return html`<label class="picker">${label}
    <select value=${value} onChange=${(event) => onPick(event.currentTarget.value)}>
      ${options.map(([option, title]) => html`<option key=${option} value=${option}>${title}</option>`)}
    </select>
  </label>`;
}

/** The window of time; a window that was written into the address by hand is one more option. */
export function SpanPicker() {
  const { since = DEFAULT_SPAN, until } = useStore(address);
  const isOurs = !until && SPANS.some(([name]) => name === since);
  const options = isOurs ? SPANS : [...SPANS, ["custom", until ? `${since} – ${until}` : `From ${since}`]];
  return html`<${Segments} label="Window" name="since" value=${isOurs ? since : "custom"} options=${options}
    onPick=${(picked) => picked !== "custom" && go(hrefWith({ since: picked, until: null }))} />`;
}

/** {dimension: value} of those parameters that are filters here. */
export function filtersIn(given, dimensions) {
  return Object.fromEntries(dimensions.filter((name) => name in given).map((name) => [name, given[name]]));
}

/** What the page is narrowed to, each with a way out. dimensions: the parameters that are filters here. */
export function Filters({ dimensions, nameOf = (_, value) => value }) {
  const given = useStore(address);
  const filters = Object.entries(filtersIn(given, dimensions));
  if (!filters.length) return null;
  return html`<ul class="chips" aria-label="Filters">
    ${filters.map(
      ([dimension, value]) => html`<li key=${dimension}>
        <${Link} href=${hrefWith({ [dimension]: null })} title="Take this filter away">
          <span>${dimension}: ${nameOf(dimension, value)}</span>
          <span aria-hidden="true">×</span><span class="unseen">, take it away</span>
        <//>
      </li>`,
    )}
  </ul>`;
}
