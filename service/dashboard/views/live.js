// Calls as they come and go, in all processes on the ledger.

import { address, go, hrefOf, hrefWith } from "../lib/address.js";
import { MOST_CALLS, isWanted, newestFirst, verdictOf, withCalls } from "../lib/calls.js";
import { follow } from "../lib/events.js";
import { clock, count, span } from "../lib/format.js";
import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { session } from "../lib/session.js";
import { useStore } from "../lib/store.js";
import { Badge } from "../parts/badge.js";
import { Money } from "../parts/figures.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Segments } from "../parts/pickers.js";
import { Failed, Loading } from "../parts/states.js";

const KINDS = [
  ["all", "All"],
  ["open", "In progress"],
  ["failed", "Failed"],
  ["cached", "Cached"],
];
// Calls that begin and end within this are drawn once.
const DRAWN_EVERY_MS = 250;
const COLUMNS = ["Call", "State", "Cost", "Took", "First output", "Tokens", "Who"];

export function Live() {
  const { kind = "all", q = "" } = useStore(address);
  const [isPaused, setPaused] = useState(false);
  const { calls, waiting, problem, isOpen } = useLiveCalls(isPaused);
  const shown = newestFirst(calls).filter((call) => isWanted(call, { kind, text: q }));
  const open = [...calls.values()].filter((call) => call.state !== "ended").length;
  const standing = isPaused ? "paused" : isOpen ? "" : "connecting";
  return html`
    <div class="head">
      <h1>Live</h1>
      <${Segments} label="Which calls" name="kind" value=${kind} options=${KINDS} onPick=${(picked) => go(hrefWith({ kind: picked === "all" ? null : picked }))} />
      <label class="picker">Find
        <input type="search" value=${q} placeholder="model, key, workflow, id" onInput=${(event) => go(hrefWith({ q: event.currentTarget.value }), { replace: true })} />
      </label>
      <div class="end"><button class="button" type="button" aria-pressed=${isPaused} onClick=${() => setPaused(!isPaused)}>${isPaused ? "Go on" : "Pause"}</button></div>
    </div>
    <${Panel} title="Calls" note=${html`<span role="status">${standing}</span>${isPaused ? `, ${count(waiting)} newer` : isOpen && `${count(open)} in progress`}`}>
      ${problem !== null && html`<${Failed} problem=${problem} />`}
      ${problem === null && !isOpen && calls.size === 0 && html`<${Loading} />`}
      ${isOpen && shown.length === 0 && html`<${Nothing} isNarrowed=${calls.size > 0} />`}
      ${shown.length > 0 && html`<${Table} calls=${shown} isMoving=${!isPaused} />`}
      ${calls.size >= MOST_CALLS && html`<p class="note">The newest ${MOST_CALLS} are here; all others are in the ledger.</p>`}
    <//>
  `;
}

/** {calls: {id: call}, waiting: how many came since it was paused, problem, isOpen: whether the line is up}. */
function useLiveCalls(isPaused) {
  const { key } = useStore(session);
  const [calls, setCalls] = useState(new Map());
  const [waiting, setWaiting] = useState(0);
  const [line, setLine] = useState({ problem: null, isOpen: false });
  const untold = useRef(new Map());
  const timer = useRef(0);
  const paused = useRef(isPaused);
  paused.current = isPaused;

  function tell() {
    timer.current = 0;
    if (paused.current) return setWaiting(untold.current.size);
    const told = [...untold.current.values()];
    untold.current = new Map();
    setWaiting(0);
    setCalls((known) => withCalls(known, told));
  }

  useEffect(() => {
    const stop = follow("live", {
      state: (problem) => setLine({ problem, isOpen: problem === null }),
      event(name, call) {
        if (name !== "call") return;
        untold.current = withCalls(untold.current, [call]);
        timer.current ||= setTimeout(tell, DRAWN_EVERY_MS);
      },
    });
    return () => {
      stop();
      clearTimeout(timer.current);
    };
  }, [key]);
  useEffect(() => {
    if (!isPaused) tell();
  }, [isPaused]);
  return { calls, waiting, ...line };
}

function Table({ calls, isMoving }) {
  const now_ms = useNow(isMoving && calls.some((call) => call.state !== "ended"));
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Calls, newest first">
    <table class="calls">
      <thead><tr>${COLUMNS.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${calls.map((call) => html`<${Row} key=${call.id} call=${call} now_ms=${now_ms} />`)}</tbody>
    </table>
  </div>`;
}

function Row({ call, now_ms }) {
  const { tone, word } = verdictOf(call);
  const began_ms = Date.parse(call.created_at);
  const elapsed_ms = call.latency_ms ?? (call.state === "ended" ? null : Math.max(0, now_ms - began_ms));
  const tokens = call.completion_tokens !== null && `${count(call.prompt_tokens ?? 0)} → ${count(call.completion_tokens)}`;
  return html`<tr class=${tone}>
    <th scope="row">
      <${Name} call=${call} />
      <div class="note"><time datetime=${call.created_at}>${clock(began_ms)}</time>${call.attempts > 1 && ` · ${call.attempts} attempts`}${call.stream && " · streamed"}</div>
    </th>
    <td><${Badge} tone=${tone}>${word}<//></td>
    <td>${call.cost_nanousd === null ? "–" : html`<${Money} nanousd=${call.cost_nanousd} />`}</td>
    <td>${span(elapsed_ms)}</td>
    <td>${span(call.ttft_ms)}</td>
    <td>${tokens || "–"}</td>
    <td>${call.key_name || call.key || call.user || "–"}<div class="note">${call.workflow}</div></td>
  </tr>`;
}

/** What was asked and who answers, as a link to the whole story, where there is one on record. */
function Name({ call }) {
  const name = call.deployment || call.route;
  const route = call.route !== call.deployment && call.deployment ? html`<span class="note">${call.route} → </span>` : null;
  const onRecord = call.state !== "waiting" && call.outcome !== "refused" ? call.origin || call.id : null;
  return onRecord === null
    ? html`<span title=${call.id}>${route}${name}</span>`
    : html`<${Link} href=${hrefOf({ view: "call", id: onRecord })} title=${call.id}>${route}${name}<//>`;
}

/** The time, again every half second while something is in progress. */
function useNow(isMoving) {
  const [now_ms, setNow] = useState(Date.now());
  useEffect(() => {
    if (!isMoving) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [isMoving]);
  return now_ms;
}

function Nothing({ isNarrowed }) {
  if (isNarrowed) return html`<div class="state"><strong>Nothing matches</strong><p>None of the newest calls is of what was asked for above.</p></div>`;
  return html`<div class="state"><strong>No calls yet</strong><p>The next one shows up here the moment it begins.</p></div>`;
}
