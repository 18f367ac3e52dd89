// What charts are drawn from, out of reports. Pure. A shape is what `parts/chart.js` takes.

import { linesOf } from "./ceilings.js";
import { count, limitUsd, span as spanOfTime, usd } from "./format.js";
import { MOST_GROUPS, bucketsOf, coloursOf, groupsOf, runningTotal, sumsOf, valuesOf } from "./series.js";

export const QUANTILES = ["p50", "p95", "p99"];
/** Where a quantile is a group's only one; each has a colour of its own. */
const COLOUR_OF_QUANTILE = { p50: 0, p95: 1, p99: 5 };

/**
 * Spend by group in each bucket, or up to it from the beginning, with the ceilings that count just that.
 *
 * filters: what the rows are narrowed to; nameOf: (dimension, value) => what people call it.
 */
export function spendShape(rows, { span, now_ms, group, filters, nameOf, isRunning, given, ceilings }) {
  const { bucket } = span;
  const starts = bucketsOf(rows, span, now_ms);
  const groups = groupsOf(rows, starts, { bucket, group, weightOf: (row) => row.cost_nanousd });
  const colours = coloursOf(groups);
  const lines = linesOf(ceilings, { filters, bucket, isRunning, since: given.since, until: given.until });
  return {
    starts,
    bucket,
    isStacked: true,
    format: usd,
    tick: limitUsd,
    lines: lines.map(({ label, nanousd }) => ({ label, value: nanousd })),
    groups: groups.map((found) => {
      const values = valuesOf(found, (row) => row.cost_nanousd, 0);
      return {
        name: nameOf(group, found.name),
        colour: colours.get(found.name),
        values: isRunning ? runningTotal(values) : values,
        told: usd(found.weight),
      };
    }),
  };
}

/** Calls in each bucket by who answered them. */
export function callsShape(rows, { span, now_ms }) {
  const { bucket } = span;
  const starts = bucketsOf(rows, span, now_ms);
  const sumsBy = (valueOf) => sumsOf(rows, starts, { bucket, valueOf });
  const groupOf = (name, colour, values) => ({ name, colour, values, told: count(runningTotal(values).at(-1) ?? 0) });
  return {
    starts,
    bucket,
    isStacked: true,
    format: count,
    tick: count,
    lines: [],
    groups: [
      groupOf("From the cache", 2, sumsBy((row) => row.cache_hits)),
      groupOf("Shared an equal call", 4, sumsBy((row) => row.coalesced)),
      groupOf("Asked a provider", -1, sumsBy((row) => row.generations - row.cache_hits - row.coalesced)),
    ],
  };
}

/**
 * How long answers took, in each bucket: this quantile of each group, or all of them of the only group.
 *
 * partOf: row => the part of it that the chart is about. whole: the rows of the whole window, one a group, by which the
 * busiest groups are chosen and what the legend tells.
 */
export function latencyShape(rows, { span, now_ms, group, quantile, partOf, whole }) {
  const { bucket } = span;
  const starts = bucketsOf(rows, span, now_ms);
  const groups = groupsOf(rows, starts, { bucket, group, weightOf: (row) => row.count }).slice(0, MOST_GROUPS);
  const colours = coloursOf(groups);
  const isOnly = groups.length === 1;
  const lineOf = (found, which) => ({
    name: isOnly ? which : found.name,
    colour: isOnly ? COLOUR_OF_QUANTILE[which] : colours.get(found.name),
    values: valuesOf(found, (row) => partOf(row)[`${which}_ms`], null),
    told: spanOfTime(partOf(whole.find((row) => row[group] === found.name) ?? {})?.[`${which}_ms`]),
  });
  return {
    starts,
    bucket,
    isStacked: false,
    format: spanOfTime,
    tick: spanOfTime,
    lines: [],
    groups: groups.flatMap((found) => (isOnly ? QUANTILES : [quantile]).map((which) => lineOf(found, which))),
  };
}
