// One call's whole story: who asked, what was tried and when, and what each token of it cost.

import { address, hrefOf } from "../lib/address.js";
import { verdictOf } from "../lib/calls.js";
import { dollars, exactCount, span, usd } from "../lib/format.js";
import { html, useRef } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { useStore } from "../lib/store.js";
import { basisName, linesOf, timelineOf } from "../lib/story.js";
import { Badge } from "../parts/badge.js";
import { Money, Tiles } from "../parts/figures.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Told } from "../parts/states.js";
import { Waterfall } from "../parts/waterfall.js";

const EVERY_MS = 1000;

export function Call() {
  const { id } = useStore(address);
  const settled = useRef("");
  // What is over is not asked for again: only a correction would change it.
  const asked = useReport(() => (id && settled.current !== id ? `ledger/generations/${encodeURIComponent(id)}` : null), id, { everyMs: EVERY_MS });
  const story = asked.report;
  if (story && isSettled(story)) settled.current = story.id;
  return html`
    <div class="head"><h1>Call</h1>${id && html`<code class="id">${id}</code>`}</div>
    ${id ? html`<${Told} asked=${asked}><${Story} story=${story} at_ms=${asked.at_ms} /><//>` : html`<${NoId} />`}
  `;
}

function Story({ story, at_ms }) {
  const { tone, word } = verdictOf(story);
  const tiles = [
    { name: "Outcome", figure: html`<${Badge} tone=${tone}>${word}<//>`, note: story.error_code && story.outcome !== "ok" ? `the caller was told ${story.error_code}` : story.stream ? "streamed" : "answered whole" },
    { name: "Cost", figure: html`<${Money} nanousd=${story.cost_nanousd} />`, note: story.held_nanousd > 0 ? `${usd(story.held_nanousd)} still held` : story.saved_nanousd > 0 ? `saved ${usd(story.saved_nanousd)}` : basisName(story.cost_basis ?? "") },
    { name: "Took", figure: span(story.latency_ms), note: story.ttft_ms === null ? "" : `first output ${span(story.ttft_ms)} into its attempt` },
    { name: "Attempts", figure: exactCount(story.attempts.length), note: attemptsNote(story) },
  ];
  return html`
    <${Tiles} label="In short" tiles=${tiles} />
    <${Panel} title="Timeline" note=${story.deployment && `answered by ${story.deployment}`}>
      ${story.served_by && html`<p>${story.cache === "hit" ? "The stored answer of " : "The same answer, at the same time, as "}
        <${Link} href=${hrefOf({ view: "call", id: story.served_by })}>${story.served_by}<//>: it cost nothing.</p>`}
      <${Waterfall} timeline=${timelineOf(story, at_ms)} />
    <//>
    ${story.attempts.length > 0 && html`<${Arithmetic} story=${story} /><${Holds} attempts=${story.attempts} />`}
    <${Facts} story=${story} />
  `;
}

/** From tokens to dollars, each class by itself, as the ledger rounds it. */
function Arithmetic({ story }) {
  const charged = story.attempts.filter((attempt) => attempt.postings.length > 0);
  return html`<${Panel} title="What it cost" note="tokens × price per million, each rounded up to a nano-dollar">
    ${charged.length === 0
      ? html`<p class="note">Nothing was charged.</p>`
      : html`<div class="scroller" tabindex="0" role="region" aria-label="Tokens and prices">
          <table class="arithmetic">
            <thead><tr>${["What", "Tokens", "Price per million", "Cost"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
            ${charged.flatMap((attempt) => linesOf(attempt).map((line) => html`<${Line} key=${line.posting.seq} attempt=${attempt} line=${line} />`))}
            <tfoot><tr><th scope="row">In all</th><td></td><td></td><td><strong>${dollars(story.cost_usd)}</strong></td></tr></tfoot>
          </table>
        </div>`}
  <//>`;
}

function Line({ attempt, line: { posting, note } }) {
  return html`<tbody>
    <tr class="group"><th scope="rowgroup" colspan="4">${attempt.deployment} <span class="note">attempt ${attempt.attempt}, line ${posting.seq}, ${posting.kind}: ${basisName(posting.cost_basis)}; prices ${posting.price_version}</span></th></tr>
    ${posting.arithmetic?.charges.map(
      (charge) => html`<tr key=${charge.of}>
        <th scope="row">${charge.of === "request" ? "each request" : charge.of}</th>
        <td>${charge.tokens === null ? "" : exactCount(charge.tokens)}</td>
        <td>${charge.usd_per_mtok === null ? "" : `$${trimmed(charge.usd_per_mtok)}`}</td>
        <td><${Money} nanousd=${charge.cost_nanousd} /></td>
      </tr>`,
    )}
    <tr class="sum"><th scope="row">Charged${note && html` <span class="note">${note}</span>`}${posting.overrun_nanousd > 0 && html` <${Badge} tone="warn">${usd(posting.overrun_nanousd)} above its hold<//>`}</th><td></td><td></td><td>${dollars(posting.cost_usd)}</td></tr>
  </tbody>`;
}

function Holds({ attempts }) {
  return html`<${Panel} title="Holds" note="room taken before each attempt, and what became of it">
    <div class="scroller" tabindex="0" role="region" aria-label="Holds of each attempt">
      <table>
        <thead><tr>${["Attempt", "Held", "Charged", "Given back", "State", "Under the ceilings"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
        <tbody>
          ${attempts.map(
            (attempt) => html`<tr key=${attempt.attempt}>
              <th scope="row">${attempt.attempt}: ${attempt.deployment}</th>
              <td><${Money} nanousd=${attempt.held_nanousd} /></td>
              <td><${Money} nanousd=${attempt.cost_nanousd} /></td>
              <td>${attempt.state === "held" ? "–" : html`<${Money} nanousd=${Math.max(0, attempt.held_nanousd - attempt.cost_nanousd)} />`}</td>
              <td>${attempt.state}</td>
              <td>${attempt.ceilings.join(", ") || "none"}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  <//>`;
}

function Facts({ story }) {
  const spendOf = (dimension) => (story[dimension] ? html`<${Link} href=${hrefOf({ view: "spend", [dimension]: story[dimension] })}>${story[dimension]}<//>` : "–");
  const tags = Object.entries(story.tags).map(([name, value]) => `${name}=${value}`);
  const facts = [
    ["Came", html`<time datetime=${story.created_at}>${story.created_at}</time>`],
    ["Route", spendOf("route")],
    ["Cache", story.cache],
    ...["key", "team", "user", "workflow", "run"].map((name) => [name[0].toUpperCase() + name.slice(1), spendOf(name)]),
    ["Tags", tags.join(", ") || "–"],
    ["Prompt tokens, estimated before", story.estimated_prompt_tokens === null ? "–" : exactCount(story.estimated_prompt_tokens)],
    ["Trace", story.trace_url ? html`<a href=${story.trace_url} rel="noopener noreferrer" target="_blank">${story.trace_id}</a>` : html`<code>${story.trace_id}</code>`],
  ];
  return html`<${Panel} title="Facts"><dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl><//>`;
}

function NoId() {
  return html`<div class="state"><strong>Which call?</strong><p>Pick one from <${Link} href=${hrefOf({ view: "live" })}>Live<//>, or put the id that came as x-farthing-id into the address: <code>?view=call&id=gen_…</code></p></div>`;
}

function attemptsNote({ attempts, cache }) {
  if (cache === "hit" || cache === "coalesced") return "somebody else's answer";
  const hedges = attempts.filter((attempt) => attempt.hedge).length;
  return hedges ? `${exactCount(hedges)} of them ${hedges === 1 ? "a hedge" : "hedges"}` : attempts.length > 1 ? "one after the other" : "";
}

/** Whether nothing about it will change any more, but by a correction. */
function isSettled(story) {
  return story.outcome !== null && story.attempts.every((attempt) => attempt.state !== "held");
}

function trimmed(amount) {
  return amount.replace(/0+$/, "").replace(/\.$/, "");
}
