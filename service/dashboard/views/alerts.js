// What people are told of: what happened, to whom it was delivered, and who has seen to it.

import { useAction } from "../lib/action.js";
import { factsOf, toldOf } from "../lib/alerts.js";
import { address, go, hrefOf, hrefWith } from "../lib/address.js";
import { ask, pathWith } from "../lib/api.js";
import { count } from "../lib/format.js";
import { html, useState } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { useWhyNot } from "../lib/role.js";
import { useStore } from "../lib/store.js";
import { Badge } from "../parts/badge.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Segments } from "../parts/pickers.js";
import { Told } from "../parts/states.js";

const STATES = [
  ["open", "Open"],
  ["acknowledged", "Seen to"],
  ["all", "All"],
];
const TONES = { delivered: "good", pending: "busy", dead: "bad" };
const PAGE = 50;

export function Alerts() {
  const { state = "open", before } = useStore(address);
  const [seen, setSeen] = useState(0);
  const path = pathWith("alerts", { state: state === "all" ? null : state, before, limit: PAGE });
  const asked = useReport(() => path, `${path} ${seen}`);
  const whyNot = useWhyNot();
  const alerts = asked.report?.alerts;
  return html`
    <div class="head">
      <h1>Alerts</h1>
      <${Segments} label="Which alerts" name="state" value=${state} options=${STATES} onPick=${(picked) => go(hrefWith({ state: picked === "open" ? null : picked, before: null }))} />
    </div>
    <${Panel} title=${STATES.find(([name]) => name === state)?.[1] ?? "Alerts"} note="newest first">
      <${Told} asked=${asked} isEmpty=${alerts?.length === 0} empty=${html`<${Nothing} state=${state} />`}>
        ${whyNot && html`<p class="note">Seeing to an alert: ${whyNot}</p>`}
        <ol class="alerts">${alerts?.map((alert) => html`<${Alert} key=${alert.id} alert=${alert} whyNot=${whyNot} changed=${() => setSeen(seen + 1)} />`)}</ol>
        ${asked.report?.next && html`<p><${Link} class="button" href=${hrefWith({ before: asked.report.next })}>Older ones<//></p>`}
      <//>
    <//>
  `;
}

function Alert({ alert, whyNot, changed }) {
  const { tone, title, text } = toldOf(alert);
  const acknowledging = useAction(async () => {
    await ask(`alerts/${encodeURIComponent(alert.id)}/acknowledge`, { method: "POST" });
    changed();
  });
  return html`<li>
    <div class="told">
      <h3><${Badge} tone=${alert.acknowledged ? "" : tone}>${alert.type}<//> ${title}</h3>
      <p>${text}</p>
      <p class="note">
        <time datetime=${alert.at}>${alert.at.slice(0, 16).replace("T", " ")} UTC</time>
        ${callOf(alert) && html` · <${Link} href=${hrefOf({ view: "call", id: callOf(alert) })}>its call<//>`}
        ${alert.acknowledged && ` · seen to by ${alert.acknowledged.by}, ${alert.acknowledged.at.slice(0, 16).replace("T", " ")} UTC`}
      </p>
      <details><summary>Facts and deliveries</summary>
        <p class="note">${factsOf(alert.facts)}</p>
        <${Deliveries} deliveries=${alert.deliveries} />
      </details>
    </div>
    ${!alert.acknowledged && whyNot === "" && html`<button class="button" type="button" disabled=${acknowledging.isBusy} onClick=${acknowledging.run}>Seen to<span class="unseen">: ${title}</span></button>`}
    ${acknowledging.problem !== null && html`<p class="stale" role="alert">${acknowledging.problem.detail}</p>`}
  </li>`;
}

/** The id of the call that an alert is about, if it is about one: holds are named after theirs. */
function callOf({ facts }) {
  return facts.hold_id?.split(".")[0];
}

function Deliveries({ deliveries }) {
  if (!deliveries.length) return html`<p class="note">Nobody is told by message: no target asks for events of this type.</p>`;
  return html`<ul class="deliveries">${deliveries.map(
    ({ target, state, tries, last_status, last_error, next_at }) => html`<li key=${target}>
      ${target} <${Badge} tone=${TONES[state] ?? ""}>${state}<//>
      <span class="note">${count(tries)} ${tries === 1 ? "try" : "tries"}${last_status ? `, HTTP ${last_status}` : ""}${last_error ? `, ${last_error}` : ""}${state === "pending" && next_at ? `, again at ${next_at.slice(11, 19)} UTC` : ""}</span>
    </li>`,
  )}</ul>`;
}

function Nothing({ state }) {
  if (state === "open") return html`<strong>All quiet</strong><p>Nothing waits to be seen to.</p>`;
  return html`<strong>No alerts</strong><p>A ceiling that comes near its limit, a key that a provider refuses and the like show up here.</p>`;
}
