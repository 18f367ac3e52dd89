// What stands where there is nothing to show yet, nothing at all, or nothing for you.

import { clock } from "../lib/format.js";
import { html } from "../lib/preact.js";

/**
 * The children, once there is a report; until then, and where there is none, why.
 *
 * asked: what `useReport` returned. isEmpty: whether the report tells of nothing; empty: what to say then.
 */
export function Told({ asked, isEmpty, empty, children }) {
  const { report, problem, at_ms } = asked;
  if (report === null) return problem === null ? html`<${Loading} />` : html`<${Failed} problem=${problem} />`;
  return html`
    ${problem !== null && html`<${Stale} problem=${problem} at_ms=${at_ms} />`}
    ${isEmpty ? html`<div class="state">${empty}</div>` : children}
  `;
}

export function Loading() {
  return html`<div class="shimmer" role="status"><span class="unseen">Loading</span></div>`;
}

/** Why there is no answer. What the key at hand may not see is no failure, and looks like none. */
export function Failed({ problem }) {
  if (problem.status === 403) {
    return html`<div class="state" role="status"><strong>Not for this key</strong><p>${problem.detail}</p></div>`;
  }
  const title = problem.status === 0 ? "No connection" : "This could not be read";
  return html`<div class="state" role="alert"><strong>${title}</strong><p>${problem.detail}</p>
    <p class="note">It is asked again by itself.</p></div>`;
}

/** What is shown is what was last heard. */
function Stale({ problem, at_ms }) {
  return html`<p class="stale" role="status">As of ${clock(at_ms)}: ${problem.detail}</p>`;
}

/** Nothing happened in the window. isNarrowed: or nothing of what the filters leave in. */
export function NoCalls({ isNarrowed }) {
  if (isNarrowed) {
    return html`<strong>Nothing matches</strong><p>No call in this window is of what the filters above say.</p>`;
  }
  const example = [
    `curl ${location.origin}/generate \\`,
    "  -H 'content-type: application/json' \\",
    `  -d '{"prompt": "Name the smallest coin there was."}'`,
  ].join("\n");
  return html`<strong>No calls in this window</strong>
    <p>The first one shows up here a few seconds after its answer:</p><pre>${example}</pre>`;
}

export function NoCeilings() {
  const example = '[[ceilings]]\nscope = "global"\nwindow = "month"\nlimit_usd = "100"';
  return html`<strong>No ceilings</strong><p>Nothing limits what is spent. Four lines of the config do:</p>
    <pre>${example}</pre>`;
}
