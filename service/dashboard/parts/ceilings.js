import { fillOf, windowName } from "../lib/ceilings.js";
import { count, dollars, exactCount, exactUsd, limitUsd, percent, usd } from "../lib/format.js";
import { html, useState } from "../lib/preact.js";

const SHOWN_AT_FIRST = 6;
const STATES = { full: "no room left", tight: "nearly full", "": "" };

/** Spent and held of each limit, the fullest first. */
export function Ceilings({ ceilings }) {
  const [showsAll, setShowsAll] = useState(false);
  const filled = ceilings
    .map((ceiling) => ({ ceiling, fill: fillOf(ceiling) }))
    .sort((one, other) => other.fill.used - one.fill.used);
  const shown = showsAll ? filled : filled.slice(0, SHOWN_AT_FIRST);
  const more = filled.length - SHOWN_AT_FIRST;
  return html`
    <ul class="meters">
      ${shown.map(({ ceiling, fill }) => html`<${Meter} key=${idOf(ceiling)} ceiling=${ceiling} fill=${fill} />`)}
    </ul>
    ${more > 0 &&
    html`<button class="button quiet" type="button" aria-expanded=${showsAll} onClick=${() => setShowsAll(!showsAll)}>
      ${showsAll ? "Show the fullest only" : `Show ${exactCount(more)} more`}
    </button>`}
  `;
}

function Meter({ ceiling, fill }) {
  const { amount, exact, limit } = wordsOf(ceiling);
  const told = `${amount("spent")} spent, ${amount("held")} held, ${amount("room")} left`;
  const used = Math.min(100, Math.round(fill.used * 100));
  return html`<li class=${fill.state}>
    <div class="line">
      <span class="scope">${ceiling.scope}</span><span title=${exact("limit")}>${limit}</span>
    </div>
    <div role="meter" aria-label=${`${ceiling.scope}, ${limit}`} aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${used} aria-valuetext=${told}>
      <svg class="meter" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
        <rect class="spent" width=${fill.spent} height="1" />
        <rect class="held" x=${fill.spent} width=${Math.min(fill.held, 1 - fill.spent)} height="1" />
      </svg>
    </div>
    <div class="line note">
      <span title=${`${exact("spent")} spent, ${exact("held")} held`}>${told}</span>
      <span class="share">${percent(fill.used, 1)}${fill.state && ` · ${STATES[fill.state]}`}</span>
    </div>
  </li>`;
}

/** How to say a ceiling's amounts, which are money, tokens or calls. */
function wordsOf(ceiling) {
  const { unit, window } = ceiling;
  if (unit === "usd") {
    const of = (name) => ceiling[`${name}_nanousd`];
    return {
      amount: (name) => usd(of(name)),
      exact: (name) => dollars(exactUsd(of(name))),
      limit: `${limitUsd(of("limit"))} ${windowName(window)}`,
    };
  }
  return {
    amount: (name) => count(ceiling[name]),
    exact: (name) => `${exactCount(ceiling[name])} ${unit}`,
    limit: `${count(ceiling.limit)} ${unit} ${windowName(window)}`,
  };
}

function idOf({ scope, window, unit }) {
  return `${unit} ${window} ${scope}`;
}
