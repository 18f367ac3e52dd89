// Where calls may go: how each deployment stands, what was learned of it, and an admin's word on it.

import { useAction } from "../lib/action.js";
import { hrefOf } from "../lib/address.js";
import { ask } from "../lib/api.js";
import { said } from "../lib/calls.js";
import { ENDPOINTS, standingOf, supportOf } from "../lib/deployments.js";
import { count, exactCount, span } from "../lib/format.js";
import { html, useState } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { useWhyNot } from "../lib/role.js";
import { Badge } from "../parts/badge.js";
import { Confirm } from "../parts/confirm.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Told } from "../parts/states.js";

const EVERY_MS = 5000;
const MARKS = { asked: ["asked there", "★"], yes: ["works", "✓"], no: ["does not work", "✗"], "": ["not known", "·"] };

export function Deployments() {
  const [orders, setOrders] = useState(0);
  const asked = useReport(() => "router/status", `status ${orders}`, { everyMs: EVERY_MS });
  const whyNot = useWhyNot();
  const deployments = asked.report?.deployments;
  const changed = () => setOrders(orders + 1);
  return html`
    <div class="head"><h1>Deployments</h1></div>
    <${Told} asked=${asked} isEmpty=${deployments?.length === 0} empty=${html`<strong>No deployments</strong><p>No route names any.</p>`}>
      <${Panel} title="Standing" note="breakers, hints and pacing are shared by all processes; places and times are this one's">
        ${whyNot && html`<p class="note">Blocking and allowing by hand: ${whyNot}</p>`}
        <${Standing} deployments=${deployments} whyNot=${whyNot} changed=${changed} />
      <//>
      <${Panel} title="What was learned" note="from answers and errors, or said by hand"><${Learned} deployments=${deployments} /><//>
    <//>
  `;
}

function Standing({ deployments, whyNot, changed }) {
  const names = ["Deployment", "Standing", "Answered well", "Took p50 / p95", "In use", ""];
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Standing of each">
    <table>
      <thead><tr>${names.map((name) => (name ? html`<th key=${name} scope="col">${name}</th>` : html`<th key="by hand" scope="col"><span class="unseen">By hand</span></th>`))}</tr></thead>
      <tbody>${deployments.map((deployment) => html`<${Row} key=${deployment.deployment} deployment=${deployment} whyNot=${whyNot} changed=${changed} />`)}</tbody>
    </table>
  </div>`;
}

function Row({ deployment: found, whyNot, changed }) {
  const { tone, word, note } = standingOf(found, Date.now());
  const { gate, latency, success_rate } = found;
  return html`<tr>
    <th scope="row"><${Link} href=${hrefOf({ view: "spend", model: found.deployment })}>${found.deployment}<//>
      ${found.breaker.open_count > 0 && html`<div class="note">its breaker has opened ${exactCount(found.breaker.open_count)} ×</div>`}</th>
    <td><${Badge} tone=${tone}>${word}<//>${note && html`<div class="note">${note}</div>`}</td>
    <td>${success_rate === null ? "–" : `${(Math.floor(success_rate * 1000) / 10).toFixed(1)} %`}</td>
    <td>${span(latency?.p50_ms)} / ${span(latency?.p95_ms)}</td>
    <td>${count(gate.in_use)} / ${count(gate.limit)}</td>
    <td>${whyNot === "" && html`<${ByHand} found=${found} changed=${changed} />`}</td>
  </tr>`;
}

/** Block it, or let calls go there again. */
function ByHand({ found, changed }) {
  const [isAsking, setAsking] = useState(false);
  const [reason, setReason] = useState("");
  const { deployment, hints } = found;
  const order = async (action, more) => {
    await ask("router/hints", { method: "POST", body: { deployment, action, ...more } });
    changed();
  };
  const allowing = useAction(() => order("allow"));
  if (hints.block !== null) {
    return html`<button class="button" type="button" disabled=${allowing.isBusy} onClick=${allowing.run}>Allow<span class="unseen"> ${deployment}</span></button>
      ${allowing.problem !== null && html`<p class="note" role="alert">${allowing.problem.detail}</p>`}`;
  }
  return html`<button class="button quiet" type="button" onClick=${() => setAsking(true)}>Block<span class="unseen"> ${deployment}</span></button>
    ${isAsking &&
    html`<${Confirm} title=${`Block ${deployment}?`} action="Block it" act=${() => order("block", reason.trim() && { reason: reason.trim() })} onClose=${() => setAsking(false)}>
      <p>No call goes there, from any process, until somebody allows it again. Calls in progress go on.</p>
      <label class="field">Why, for whoever comes next <input type="text" maxlength="300" value=${reason} onInput=${(event) => setReason(event.currentTarget.value)} /></label>
    <//>`}`;
}

/** The compatibility matrix. */
function Learned({ deployments }) {
  const names = ["Deployment", ...ENDPOINTS.map(([, title]) => title), "Does not take", "Asked by another name", "Last error"];
  return html`<div class="scroller" tabindex="0" role="region" aria-label="What was learned of each">
    <table class="matrix">
      <thead><tr>${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>
        ${deployments.map(
          ({ deployment, hints }) => html`<tr key=${deployment}>
            <th scope="row">${deployment}<div class="note">${count(hints.successes)} answered, ${count(Object.values(hints.errors).reduce((sum, errors) => sum + errors, 0))} failed</div></th>
            ${ENDPOINTS.map(([endpoint]) => html`<td key=${endpoint}><${Mark} support=${supportOf(hints, endpoint)} /></td>`)}
            <td>${hints.refused_params.join(", ") || "–"}</td>
            <td>${Object.entries(hints.renamed_params).map(([field, name]) => `${field} as ${name}`).join(", ") || "–"}</td>
            <td>${hints.last_error === null ? "–" : lastError(hints.last_error)}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Mark({ support }) {
  const [title, sign] = MARKS[support];
  return html`<span class=${`mark ${support}`} title=${title}><span aria-hidden="true">${sign}</span><span class="unseen">${title}</span></span>`;
}

function lastError({ outcome, at_ms, status, code }) {
  const at = new Date(at_ms).toISOString();
  return html`${said(outcome)}${status !== null && ` (HTTP ${status}${code ? ` ${code}` : ""})`}<div class="note"><time datetime=${at}>${at.slice(0, 16).replace("T", " ")} UTC</time></div>`;
}
