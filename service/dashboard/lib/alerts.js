// What people are told of, in a sentence each. Pure: facts are whatever the ledger wrote with an event.

import { said } from "./calls.js";
import { windowName } from "./ceilings.js";
import { count, percent } from "./format.js";

const BAD = ["ceiling.exceeded", "provider.key_refused", "provider.out_of_credit", "ledger.drift", "disk.low"];

/** {tone, title, text} of an alert. */
export function toldOf({ type, facts }) {
  return { tone: BAD.includes(type) ? "bad" : "warn", title: TITLES[type] ?? said(type), text: (TEXTS[type] ?? factsOf)(facts) };
}

/** Facts one by one, for those that no sentence has. */
export function factsOf(facts) {
  return Object.entries(facts)
    .filter(([name, value]) => value !== null && !name.endsWith("_nanousd"))
    .map(([name, value]) => `${said(name)}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}

const TITLES = {
  "ceiling.threshold": "A ceiling comes near",
  "ceiling.exceeded": "A ceiling is spent",
  "ceiling.forecast": "A ceiling will not last",
  "spend.anomaly": "A key spends far more than usual",
  "model.unpriced": "A model has no price",
  "provider.key_refused": "A provider refuses our key",
  "provider.out_of_credit": "No credit at a provider",
  "breaker.open_long": "A deployment has been out for long",
  "ledger.drift": "The ledger does not add up",
  "posting.overrun": "An attempt cost more than its hold",
  "disk.low": "The disk is nearly full",
  digest: "Several at once",
};
const limitOf = (facts) => (facts.limit_usd === undefined ? `${facts.limit} ${facts.unit}` : `$${short(facts.limit_usd)}`);
const spentOf = (facts) => (facts.spent_usd === undefined ? `${facts.spent} ${facts.unit}` : `$${short(facts.spent_usd)}`);
const ceilingOf = (facts) => `${facts.scope}, ${windowName(facts.window)}: ${spentOf(facts)} of ${limitOf(facts)} spent`;
const troubleOf = (facts) => `${facts.deployment}, since ${moment(facts.since)}${facts.last_status ? `: HTTP ${facts.last_status}${facts.last_code ? ` ${facts.last_code}` : ""}` : ""}.`;
const TEXTS = {
  "ceiling.threshold": (facts) => `${ceilingOf(facts)}, over ${percent(facts.threshold, 1)}.`,
  "ceiling.exceeded": (facts) => `${ceilingOf(facts)}.`,
  "ceiling.forecast": (facts) => `${ceilingOf(facts)}. At this rate the limit falls on ${moment(facts.falls_at)}.`,
  "spend.anomaly": (facts) => `${facts.key_name ?? facts.key}: $${short(facts.spent_usd)} in the hour from ${moment(facts.hour)}, where $${short(facts.usual_usd)} is usual.`,
  "model.unpriced": (facts) => `${facts.deployment} was asked for.`,
  "provider.key_refused": troubleOf,
  "provider.out_of_credit": troubleOf,
  "breaker.open_long": (facts) => `${facts.deployment}, since ${moment(facts.since)}: ${facts.consecutive_failures} faults in a row.`,
  "posting.overrun": (facts) => `${facts.deployment}: $${short(facts.cost_usd)} for a hold of $${short(facts.held_usd)}.`,
  "ledger.drift": (facts) => `Broken: ${facts.rule}. farthing verify names the rows.`,
  "disk.low": (facts) => `${count(facts.free_bytes / 1e6)} MB are left, less than ${count(facts.low_bytes / 1e6)}.`,
};

function moment(iso) {
  return `${iso.slice(0, 16).replace("T", " ")} UTC`;
}

function short(amount) {
  return amount.replace(/(\.\d\d)(\d*?)0*$/, "$1$2");
}
