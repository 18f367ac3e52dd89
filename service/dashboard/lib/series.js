// From a report's rows to the columns of a chart. Pure.

import { bucketStart, nextBucket } from "./span.js";

/** More than these would not be told apart by their colours. */
export const MOST_GROUPS = 7;
// A chart of more bars than this shows nothing, and a clock that is far off must not stall the page.
const MOST_BUCKETS = 5000;

/** The first moments of all buckets of a window, those of which no row tells included. */
export function bucketsOf(rows, { since_ms, until_ms, bucket }, now_ms) {
  const told = rows.map((row) => Date.parse(row[bucket]));
  const first_ms = since_ms ?? (told.length ? Math.min(...told) : now_ms);
  const last_ms = until_ms === null ? now_ms : until_ms - 1;
  const starts = [bucketStart(first_ms, bucket)];
  while (starts.length < MOST_BUCKETS && nextBucket(starts.at(-1), bucket) <= last_ms) {
    starts.push(nextBucket(starts.at(-1), bucket));
  }
  return starts;
}

/**
 * [{name, weight, rows: [row or null for each bucket]}], the heaviest first; name null: all others together, last.
 *
 * weightOf: row => what it counts for in that order; weight is the sum.
 */
export function groupsOf(rows, starts, { bucket, group, weightOf }) {
  const places = placesOf(starts);
  const groups = new Map();
  for (const row of rows) {
    const place = places.get(Date.parse(row[bucket]));
    if (place === undefined) continue;
    const name = row[group];
    if (!groups.has(name)) groups.set(name, { name, weight: 0, rows: starts.map(() => null) });
    const found = groups.get(name);
    found.rows[place] = row;
    found.weight += weightOf(row);
  }
  return [...groups.values()].sort(byWeight);
}

/** What a group's rows say, bucket by bucket; nothing: where there is no row. */
export function valuesOf(group, valueOf, nothing) {
  return group.rows.map((row) => (row === null ? nothing : valueOf(row)));
}

/** The sum over all rows of each bucket. */
export function sumsOf(rows, starts, { bucket, valueOf }) {
  const places = placesOf(starts);
  const sums = starts.map(() => 0);
  for (const row of rows) {
    const place = places.get(Date.parse(row[bucket]));
    if (place !== undefined) sums[place] += valueOf(row);
  }
  return sums;
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

/** {name: place of its colour}: by the alphabet, so that nobody changes colours when the order does. */
export function coloursOf(groups) {
  const names = groups.map((group) => group.name).filter((name) => name !== null);
  return new Map([...names.sort().map((name, place) => [name, place]), [null, -1]]);
}

function placesOf(starts) {
  return new Map(starts.map((at_ms, place) => [at_ms, place]));
}

function byWeight(one, other) {
  return (one.name === null) - (other.name === null) || other.weight - one.weight || (one.name < other.name ? -1 : 1);
}
