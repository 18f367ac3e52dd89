// Which ceilings a chart of spend can show as lines, and how near its end each one is. Pure.

import { limitUsd } from "./format.js";

const SCOPES = ["model", "provider", "key", "team", "user", "workflow", "run"];
const TIGHT_FROM = 0.8;
/** What has to be wholly in sight for a running total to be what a window's ceiling counts. */
const WHOLE_WINDOWS = { today: "day", month: "month", all: "total" };

/**
 * Those whose limit is one of the same thing as the chart shows: [{label, nanousd}].
 *
 * Bars show what was spent in each bucket, so the bucket must be the ceiling's window; a running total shows what was
 * spent since the beginning, so that must be the window's. filters: {dimension: value} that narrow the chart.
 */
export function linesOf(ceilings, { filters, bucket, isRunning, since, until }) {
  const window = isRunning ? !until && WHOLE_WINDOWS[since] : bucket;
  const scope = scopeOf(filters);
  return ceilings
    .filter((ceiling) => ceiling.unit === "usd" && ceiling.window === window && ceiling.scope === scope)
    .map(({ limit_nanousd: nanousd }) => ({ label: `limit ${limitUsd(nanousd)} ${windowName(window)}`, nanousd }));
}

/** Parts of the limit: {spent, held}, at most 1, and {used}, both together; state is "full", "tight" or "". */
export function fillOf(ceiling) {
  const money = ceiling.unit === "usd";
  const [limit, spent, held] = ["limit", "spent", "held"].map((name) => ceiling[money ? `${name}_nanousd` : name]);
  const share = (amount) => (limit > 0 ? Math.min(1, amount / limit) : 1);
  const used = limit > 0 ? (spent + held) / limit : 1;
  const state = used >= 1 ? "full" : used >= TIGHT_FROM ? "tight" : "";
  return { spent: share(spent), held: share(held), used, state };
}

/** "a month", "in all": how often a ceiling begins anew. */
export function windowName(window) {
  return window === "total" ? "in all" : `a ${window}`.replace("a hour", "an hour");
}

/** The scope that counts exactly what these filters leave in; null: there is none. */
function scopeOf(filters) {
  const given = Object.entries(filters);
  if (given.length === 0) return "global";
  const [[dimension, value]] = given;
  return given.length === 1 && SCOPES.includes(dimension) && value ? `${dimension}:${value}` : null;
}
