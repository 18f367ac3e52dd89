import { bucketName } from "../lib/format.js";
import { paint } from "../lib/paint.js";
import { linesInSight, plot } from "../lib/plot.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/preact.js";
import { useStore } from "../lib/store.js";
import { theme } from "../lib/theme.js";

/**
 * A chart over time, with a legend that tells the values under the cursor, and the same as a table.
 *
 * label: what it shows, for those who do not see it. shape: {starts, bucket, groups: [{name, colour, values, told}],
 * isStacked, lines: [{label, value}], format, tick}. format, tick: value => text, beside the chart and along it; colour:
 * the place of one, -1 for the grey of all others; told: what the legend says of a group while nothing is pointed at.
 *
 * The arrow keys move the cursor.
 */
export function Chart({ label, shape }) {
  const canvas = useRef(null);
  const drawn = useRef(null);
  const [place, setPlace] = useState(null);
  const shown = useStore(theme);
  const { starts, bucket, groups, lines, format } = shape;
  const outline = JSON.stringify([shown, bucket, shape.isStacked, groups.map(({ name, colour }) => [name, colour])]);

  useLayoutEffect(() => {
    drawn.current = plot(canvas.current, shape, paint(), setPlace);
    const sizes = new ResizeObserver(() => drawn.current.resize());
    sizes.observe(canvas.current);
    return () => {
      sizes.disconnect();
      drawn.current.destroy();
    };
  }, [outline]);
  useEffect(() => drawn.current.redraw(shape), [shape]);

  function moved(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = place ?? (step > 0 ? -1 : starts.length);
    drawn.current.point(Math.min(starts.length - 1, Math.max(0, from + step)));
  }

  const pointed = place !== null && place < starts.length;
  const seen = linesInSight(tallest(shape), lines);
  const unseen = lines.filter((line) => !seen.includes(line)).map((line) => `${line.label}: far above what is shown `);
  const said = pointed && groups.map((group) => `${group.name} ${format(group.values[place])}`).join(", ");
  return html`<figure class="chart">
    <ul class="legend">
      ${groups.map(
        (group) => html`<li key=${group.name}>
          <span class="swatch series-${group.colour}"></span><span class="name">${group.name}</span>
          <span class="value">${pointed ? format(group.values[place]) : group.told}</span>
        </li>`,
      )}
    </ul>
    <div class="canvas" ref=${canvas} role="group" tabindex="0" onKeyDown=${moved}
      aria-label=${`${label}. Chart; the arrow keys move through time.`}></div>
    <p class="when" aria-live="polite">
      ${pointed ? bucketName(starts[place], bucket) : unseen}
      ${pointed && html`<span class="unseen">${said}</span>`}
    </p>
    <${AsTable} label=${label} shape=${shape} />
  </figure>`;
}

/** The same numbers for whoever cannot see the chart, or wants to copy them. Made when it is opened. */
function AsTable({ label, shape }) {
  const [isOpen, setOpen] = useState(false);
  const { starts, bucket, groups, format } = shape;
  return html`<details onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>As a table</summary>
    ${isOpen &&
    html`<div class="scroller tall" tabindex="0" role="region" aria-label=${`${label}, as a table`}>
      <table>
        <thead>
          <tr><th scope="col">When</th>${groups.map(({ name }) => html`<th key=${name} scope="col">${name}</th>`)}</tr>
        </thead>
        <tbody>
          ${starts.map(
            (at_ms, place) => html`<tr key=${at_ms}>
              <th scope="row">${bucketName(at_ms, bucket)}</th>
              ${groups.map(({ name, values }) => html`<td key=${name}>${format(values[place])}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>`}
  </details>`;
}

/** The height of the highest stack. */
function tallest({ groups, starts }) {
  return Math.max(0, ...starts.map((_, place) => groups.reduce((sum, { values }) => sum + values[place], 0)));
}
