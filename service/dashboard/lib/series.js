// From a report's rows to the columns of a chart. Pure.

import { bucketStart, nextBucket } from "./span.js";

/** More than these would not be told apart by their colours; the others are one group together. */
export const MOST_GROUPS = 7;
// A chart of more bars than this shows nothing, and a clock that is far off must not stall the page.
const MOST_BUCKETS = 5000;

/** The first moments of all buckets of a window, those of which no row tells included. */
export function bucketsOf(rows, { since_ms, until_ms, bucket }, now_ms) {
  const told = rows.map((row) => Date.parse(row[bucket]));
  const first_ms = since_ms ?? (told.length ? Math.min(...told) : bucketStart(now_ms, bucket));
  const last_ms = until_ms === null ? now_ms : until_ms - 1;
  const starts = [];
  for (let at_ms = bucketStart(first_ms, bucket); at_ms <= last_ms && starts.length < MOST_BUCKETS; ) {
    starts.push(at_ms);
    at_ms = nextBucket(at_ms, bucket);
  }
  return starts;
}

/**
 * [{name, total, rows: [row or null for each bucket]}], the largest first; name null: all others together, last.
 *
 * total: of this field. Where the report has no groups there is one, named "".
 */
export function groupsOf(rows, starts, { bucket, group, field }) {
  const places = new Map(starts.map((at_ms, place) => [at_ms, place]));
  const groups = new Map();
  for (const row of rows) {
    const place = places.get(Date.parse(row[bucket]));
    if (place === undefined) continue;
    const name = group ? row[group] : "";
    if (!groups.has(name)) groups.set(name, { name, total: 0, rows: starts.map(() => null) });
    const found = groups.get(name);
    found.rows[place] = row;
    found.total += row[field] ?? 0;
  }
  return [...groups.values()].sort(
    (one, other) => (one.name === null) - (other.name === null) || other.total - one.total || (one.name < other.name ? -1 : 1),
  );
}

/** One field of a group, bucket by bucket; nothing is 0. */
export function valuesOf(group, field) {
  return group.rows.map((row) => row?.[field] ?? 0);
}

/** For each bucket the sum of everything up to it. */
export function runningTotal(values) {
  let sum = 0;
  return values.map((value) => (sum += value));
}

/** Each list added to all those before it: what a stack's edges are. */
export function stacked(lists) {
  const edges = [];
  for (const values of lists) {
    const below = edges.at(-1);
    edges.push(below ? values.map((value, place) => value + below[place]) : values);
  }
  return edges;
}

/** {name: place of its colour}: by the alphabet, so that nobody changes colours when the order by cost does. */
export function coloursOf(groups) {
  const names = groups.map((group) => group.name).filter((name) => name !== null);
  return new Map([...names.sort().map((name, place) => [name, place]), [null, -1]]);
}
