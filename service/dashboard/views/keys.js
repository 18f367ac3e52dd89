// API keys: who may call, as what, up to how much. For admins.

import { useAction } from "../lib/action.js";
import { hrefOf } from "../lib/address.js";
import { ask } from "../lib/api.js";
import { windowName } from "../lib/ceilings.js";
import { usd } from "../lib/format.js";
import { html, useRef, useState } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { Badge } from "../parts/badge.js";
import { Confirm } from "../parts/confirm.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Told } from "../parts/states.js";

const TONES = { "in force": "good", expired: "warn", revoked: "" };
const ROLES = [
  ["caller", "caller: may call"],
  ["reader", "reader: also sees reports"],
  ["admin", "admin: may do everything"],
];
// Browsers lend the clipboard to pages on this machine and behind TLS only.
const CAN_COPY = navigator.clipboard !== undefined;
const COLUMNS = ["Name", "State", "Role", "Team", "Ceilings", "Models", "Made", "Ends"];

export function Keys() {
  const [changes, setChanges] = useState(0);
  const [made, setMade] = useState(null);
  const asked = useReport(() => "keys", `keys ${changes}`);
  const keys = asked.report?.keys;
  const changed = () => setChanges(changes + 1);
  return html`
    <div class="head"><h1>Keys</h1></div>
    ${made && html`<${Secret} made=${made} onClose=${() => setMade(null)} />`}
    <${Panel} title="All keys" note="the oldest first">
      <${Told} asked=${asked} isEmpty=${keys?.length === 0} empty=${html`<strong>No keys yet</strong><p>On this machine nobody needs one. From others, nobody is answered without.</p>`}>
        <${Table} keys=${keys} changed=${changed} />
      <//>
    <//>
    ${asked.report !== null && html`<${New} onMade=${(key) => { setMade(key); changed(); }} />`}
  `;
}

function Table({ keys, changed }) {
  return html`<div class="scroller" tabindex="0" role="region" aria-label="Keys, the oldest first">
    <table class="words">
      <thead><tr>${COLUMNS.map((name) => html`<th key=${name} scope="col">${name}</th>`)}<th scope="col"><span class="unseen">Revoke</span></th></tr></thead>
      <tbody>${keys.map((key) => html`<${Row} key=${key.id} apiKey=${key} changed=${changed} />`)}</tbody>
    </table>
  </div>`;
}

function Row({ apiKey: key, changed }) {
  const [isAsking, setAsking] = useState(false);
  const revoke = async () => {
    await ask(`keys/${encodeURIComponent(key.id)}`, { method: "DELETE" });
    changed();
  };
  return html`<tr>
    <th scope="row"><${Link} href=${hrefOf({ view: "spend", key: key.id })}>${key.name}<//><div class="note"><code>${key.id}</code></div></th>
    <td><${Badge} tone=${TONES[key.state]}>${key.state}<//></td>
    <td>${key.role}</td>
    <td>${key.team ?? "–"}</td>
    <td>${key.ceilings.map(({ limit_nanousd, window }) => `${usd(limit_nanousd)} ${windowName(window)}`).join(", ") || "none"}</td>
    <td>${key.routes.join(", ") || "all"}</td>
    <td>${dayOf(key.created_at)}</td>
    <td>${key.revoked_at ? html`revoked ${dayOf(key.revoked_at)}` : key.expires_at ? dayOf(key.expires_at) : "never"}</td>
    <td>${key.state === "in force" && html`<button class="button quiet" type="button" onClick=${() => setAsking(true)}>Revoke<span class="unseen"> ${key.name}</span></button>`}
      ${isAsking && html`<${Confirm} title=${`Revoke ${key.name}?`} action="Revoke it" act=${revoke} onClose=${() => setAsking(false)}>
        <p>Once it is revoked no process answers a call with it. It cannot be undone; what it spent stays on record.</p>
      <//>`}</td>
  </tr>`;
}

/** The one moment at which a secret is shown. */
function Secret({ made, onClose }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(made.secret);
    setCopied(true);
  };
  return html`<section class="panel secret" role="status" aria-label="The new key">
    <p><strong>${made.name}</strong>: this is its secret, shown once. It is kept nowhere.</p>
    <div class="line"><code>${made.secret}</code>
      ${CAN_COPY && html`<button class="button main" type="button" onClick=${copy}>${isCopied ? "Copied" : "Copy"}</button>`}
      <button class="button quiet" type="button" onClick=${onClose}>I have it</button></div>
  </section>`;
}

function New({ onMade }) {
  const form = useRef(null);
  const making = useAction(async () => {
    const given = Object.fromEntries(new FormData(form.current));
    const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
    const wish = { ...given, name: given.name.trim(), team: given.team.trim(), expires: given.expires.trim(), ceilings: list(given.ceilings), routes: list(given.routes) };
    onMade(await ask("keys", { method: "POST", body: wish }));
    form.current.reset();
  });
  function submitted(event) {
    event.preventDefault();
    making.run();
  }
  return html`<${Panel} title="Make a key">
    <form class="fields" ref=${form} onSubmit=${submitted}>
      <${Field} name="name" label="Name" placeholder="batch jobs" required />
      <${Field} name="team" label="Team" placeholder="research" />
      <label class="field">Role <select name="role">${ROLES.map(([role, title]) => html`<option key=${role} value=${role}>${title}</option>`)}</select></label>
      <${Field} name="ceilings" label="Ceilings" placeholder="50/month, 5/day" />
      <${Field} name="routes" label="Models" placeholder="all" />
      <${Field} name="expires" label="Ends" placeholder="90d, 2027-01-01; empty: never" />
      ${making.problem !== null && html`<p class="stale" role="alert">${making.problem.detail}</p>`}
      <button class="button main" type="submit" disabled=${making.isBusy}>Make it</button>
    </form>
  <//>`;
}

function Field({ name, label, ...others }) {
  return html`<label class="field">${label} <input type="text" name=${name} autocomplete="off" ...${others} /></label>`;
}

function dayOf(moment) {
  return html`<time datetime=${moment}>${moment.slice(0, 10)}</time>`;
}
