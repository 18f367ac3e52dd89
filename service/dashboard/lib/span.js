// Which stretch of time a page is about, and into what it is cut. Pure. All in UTC, as ceilings and reports are.

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const DEFAULT_SPAN = "24h";
/** [name in the address, what people call it]. */
export const SPANS = [
  ["24h", "24 hours"],
  ["today", "Today"],
  ["7d", "7 days"],
  ["month", "This month"],
  ["30d", "30 days"],
  ["90d", "90 days"],
  ["all", "All time"],
];

/**
 * {since_ms, until_ms, bucket, every_ms} of what the address says. since_ms null: from the beginning; until_ms null:
 * until now; every_ms: how often it is worth asking again.
 *
 * A window begins with a whole bucket: half ones would look like a slow start, and take the ledger longer. isPaired: it is
 * about users and workflows together, whom the ledger keeps added up by the day.
 */
export function spanOf({ since = DEFAULT_SPAN, until }, now_ms, { isPaired = false } = {}) {
  const until_ms = moment(until);
  const begins_ms = beginning(since, now_ms);
  const length_ms = begins_ms === null ? Infinity : (until_ms ?? now_ms) - begins_ms;
  const bucket = length_ms <= (isPaired ? 2 : 8) * DAY_MS ? "hour" : length_ms <= 200 * DAY_MS ? "day" : "month";
  return {
    since_ms: begins_ms === null ? null : bucketStart(begins_ms, bucket),
    until_ms,
    bucket,
    every_ms: length_ms <= 2 * DAY_MS ? 10_000 : 30_000,
  };
}

/** The window as a report's parameters. */
export function windowOf({ since_ms, until_ms }) {
  return { since: iso(since_ms), until: iso(until_ms) };
}

/** The first moment of the bucket that this moment is in. */
export function bucketStart(at_ms, bucket) {
  if (bucket !== "month") return at_ms - (at_ms % (bucket === "hour" ? HOUR_MS : DAY_MS));
  const date = new Date(at_ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
}

/** The first moment of the bucket after the one that begins then. */
export function nextBucket(starts_ms, bucket) {
  if (bucket !== "month") return starts_ms + (bucket === "hour" ? HOUR_MS : DAY_MS);
  const date = new Date(starts_ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

function beginning(since, now_ms) {
  if (since === "all") return null;
  if (since === "today") return bucketStart(now_ms, "day");
  if (since === "month") return bucketStart(now_ms, "month");
  const back = /^(\d{1,5})([hdw])$/.exec(since);
  if (back) return now_ms - Number(back[1]) * { h: HOUR_MS, d: DAY_MS, w: 7 * DAY_MS }[back[2]];
  return moment(since) ?? beginning(DEFAULT_SPAN, now_ms);
}

function moment(text) {
  const at_ms = Date.parse(text ?? "");
  return Number.isNaN(at_ms) ? null : at_ms;
}

function iso(at_ms) {
  return at_ms === null ? null : new Date(at_ms).toISOString();
}
