import { fillOf, windowName } from "../lib/ceilings.js";
import { count, exactUsd, percent, usd } from "../lib/format.js";
import { html, useState } from "../lib/preact.js";

const SHOWN_AT_FIRST = 6;
const STATES = { full: "no room left", tight: "nearly full", "": "" };

/** Spent and held of each limit, the fullest first. */
export function Ceilings({ ceilings }) {
  const [showsAll, setShowsAll] = useState(false);
  const filled = ceilings.map((ceiling) => ({ ceiling, fill: fillOf(ceiling) })).sort((one, other) => other.fill.used - one.fill.used);
  const more = filled.length - SHOWN_AT_FIRST;
  return html`
    <ul class="meters">
      ${filled.slice(0, showsAll ? undefined : SHOWN_AT_FIRST).map(
        ({ ceiling, fill }) => html`<${Meter} key=${`${ceiling.scope} ${ceiling.window} ${ceiling.unit}`} ceiling=${ceiling} fill=${fill} />`,
      )}
    </ul>
    ${more > 0 && html`<button class="button quiet" type="button" onClick=${() => setShowsAll(!showsAll)}>${showsAll ? "Show the fullest only" : `Show ${more} more`}</button>`}
  `;
}

function Meter({ ceiling, fill }) {
  const amount = (name) => (ceiling.unit === "usd" ? usd(ceiling[`${name}_nanousd`]) : count(ceiling[name]));
  const exact = (name) => (ceiling.unit === "usd" ? `$${exactUsd(ceiling[`${name}_nanousd`])}` : `${ceiling[name]} ${ceiling.unit}`);
  const unit = ceiling.unit === "usd" ? "" : ` ${ceiling.unit}`;
  const title = `${ceiling.scope}, ${amount("limit")}${unit} ${windowName(ceiling.window)}`;
  const told = `${amount("spent")} spent, ${amount("held")} held, ${amount("room")} left`;
  return html`<li class=${fill.state}>
    <div class="line">
      <span class="scope">${ceiling.scope}</span>
      <span title=${`limit ${exact("limit")}`}>${amount("limit")}${unit} ${windowName(ceiling.window)}</span>
    </div>
    <div role="meter" aria-label=${title} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.min(100, Math.round(fill.used * 100))} aria-valuetext=${told}>
      <svg class="meter" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
        <rect class="spent" width=${fill.spent} height="1" />
        <rect class="held" x=${fill.spent} width=${Math.min(fill.held, 1 - fill.spent)} height="1" />
      </svg>
    </div>
    <div class="line note">
      <span title=${`spent ${exact("spent")}, held ${exact("held")}`}>${told}</span>
      <span class="share">${percent(fill.used, 1)}${fill.state && ` · ${STATES[fill.state]}`}</span>
    </div>
  </li>`;
}
