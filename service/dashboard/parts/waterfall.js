import { said } from "../lib/calls.js";
import { exactCount, span } from "../lib/format.js";
import { html } from "../lib/preact.js";
import { Badge } from "./badge.js";
import { Money } from "./figures.js";

const KINDS = [
  ["queue", "waiting for room or a place"],
  ["wait", "waiting for the first output"],
  ["output", "output"],
];
const QUEUED_MS = 10; // What is less is on every attempt's way.
const LEAST_SHARE = 0.3; // In percent: what is shorter could not be seen.

/** A call's attempts along one line of time. timeline: of `lib/story.js`. The same is in words in each row. */
export function Waterfall({ timeline }) {
  return html`
    <ul class="keys" aria-label="Colours">${KINDS.map(([kind, title]) => html`<li key=${kind}><span class=${`key ${kind}`}></span>${title}</li>`)}</ul>
    <div class="scroller" tabindex="0" role="region" aria-label="Attempts along time">
      <table class="waterfall">
        <thead>
          <tr>
            <th scope="col">Attempt</th>
            <th scope="col" class="axis"><span class="unseen">Along time</span><${Axis} timeline=${timeline} /></th>
            <th scope="col">Outcome</th><th scope="col">Began</th><th scope="col">First output</th><th scope="col">Took</th><th scope="col">Cost</th>
          </tr>
        </thead>
        <tbody>${timeline.rows.map((row) => html`<${Row} key=${row.attempt?.attempt ?? 0} row=${row} timeline=${timeline} />`)}</tbody>
      </table>
    </div>
  `;
}

function Axis({ timeline: { total, ticks } }) {
  return html`<svg class="ticks" aria-hidden="true">
    ${ticks.map((at) => html`<text key=${at} x=${percent(at, total)} y="1em" text-anchor=${anchor(at, total)}>${at ? span(at) : "0"}</text>`)}
  </svg>`;
}

function Row({ row: { attempt, parts }, timeline }) {
  if (attempt === null) {
    return html`<tr class="whole"><th scope="row">The call</th><td class="axis"><${Bars} parts=${parts} timeline=${timeline} /></td>
      <td></td><td>0</td><td></td><td>${span(parts.at(-1).to)}</td><td></td></tr>`;
  }
  const isOpen = attempt.state === "held";
  const tone = isOpen ? "busy" : attempt.outcome === "ok" ? "good" : attempt.outcome === "aborted" ? "" : "bad";
  return html`<tr>
    <th scope="row">${attempt.deployment}
      <div class="note">attempt ${exactCount(attempt.attempt)}${attempt.hedge && " · hedge"}${attempt.queued_ms >= QUEUED_MS && ` · queued ${span(attempt.queued_ms)}`}</div></th>
    <td class="axis"><${Bars} parts=${parts} timeline=${timeline} /></td>
    <td><${Badge} tone=${tone}>${isOpen ? "in progress" : said(attempt.outcome)}<//>${attempt.status !== null && html` <span class="note">HTTP ${attempt.status}</span>`}
      ${attempt.error && html`<div class="note error">${attempt.error}</div>`}</td>
    <td>${span(parts[0].from)}</td>
    <td>${span(attempt.ttft_ms)}</td>
    <td>${isOpen ? "–" : span(attempt.latency_ms)}</td>
    <td>${isOpen ? "–" : html`<${Money} nanousd=${attempt.cost_nanousd} />`}</td>
  </tr>`;
}

function Bars({ parts, timeline: { total, ticks } }) {
  return html`<svg class="bars" aria-hidden="true">
    ${ticks.map((at) => html`<line key=${at} x1=${percent(at, total)} x2=${percent(at, total)} y1="0" y2="100%" />`)}
    ${parts.map(({ kind, from, to }) => html`<rect key=${kind} class=${kind} x=${percent(from, total)} y="20%" height="60%" width=${percent(Math.max(to - from, kind === "queue" ? 0 : (total * LEAST_SHARE) / 100), total)} rx="2" />`)}
  </svg>`;
}

function anchor(at, total) {
  return at === 0 ? "start" : at > total * 0.95 ? "end" : "middle";
}

function percent(part, whole) {
  return `${((part / whole) * 100).toFixed(3)}%`;
}
