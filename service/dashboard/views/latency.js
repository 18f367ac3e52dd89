// How long answers took, whole and to first output.

import { address, go, hrefWith } from "../lib/address.js";
import { pathWith } from "../lib/api.js";
import { percent, span as spanOfTime } from "../lib/format.js";
import { html, useMemo } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { QUANTILES, latencyShape } from "../lib/shapes.js";
import { spanOf, windowOf } from "../lib/span.js";
import { useStore } from "../lib/store.js";
import { Chart } from "../parts/chart.js";
import { Count, Tiles } from "../parts/figures.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Filters, Picker, Segments, SpanPicker, filtersIn } from "../parts/pickers.js";
import { NoCalls, Told } from "../parts/states.js";
import { Table } from "../parts/table.js";

const GROUPS = [
  ["model", "Model"],
  ["provider", "Provider"],
];
const FILTERS = GROUPS.map(([name]) => name);
const WHOLE = (row) => row;
const FIRST = (row) => row.ttft ?? {};

export function Latency() {
  const given = useStore(address);
  const group = given.group === "provider" ? "provider" : "model";
  const quantile = QUANTILES.includes(given.quantile) ? given.quantile : "p95";
  const filters = filtersIn(given, FILTERS);
  const { bucket, every_ms } = spanOf(given, Date.now());
  const question = JSON.stringify([given.since, given.until, group, filters]);
  const report = (group_by) => (now_ms) =>
    pathWith("ledger/latency", { ...windowOf(spanOf(given, now_ms)), group_by, ...filters });
  const overTime = useReport(report(`${bucket},${group}`), question, { everyMs: every_ms });
  const byGroup = useReport(report(group), question, { everyMs: every_ms });
  const noCalls = html`<${NoCalls} isNarrowed=${Object.keys(filters).length > 0} />`;
  const shown = { given, group, quantile, rows: overTime.report?.rows, whole: byGroup.report?.rows };
  const pickGroup = (picked) => go(hrefWith({ group: picked }));
  return html`
    <div class="head">
      <h1>Latency</h1>
      <${SpanPicker} />
      <div class="end"><${Picker} label="Group by" value=${group} options=${GROUPS} onPick=${pickGroup} /></div>
    </div>
    <${Filters} dimensions=${FILTERS} />
    <${Told} asked=${byGroup} isEmpty=${!hasAttempts(byGroup.report)} empty=${noCalls}>
      <${Totals} total=${byGroup.report?.total} />
      ${overTime.report && html`<${OverTime} title="Whole answer" partOf=${WHOLE} ...${shown} />`}
      ${overTime.report && html`<${OverTime} title="First output" partOf=${FIRST} ...${shown} />`}
      <${ByGroup} report=${byGroup.report} group=${group} />
    <//>
  `;
}

function Totals({ total }) {
  const tried = total.count + total.errors;
  const tiles = [
    { name: "Answers", figure: html`<${Count} number=${total.count} />`, note: "of providers, not of the cache" },
    {
      name: "Failed attempts",
      figure: html`<${Count} number=${total.errors} />`,
      note: `${percent(total.errors, tried)} of all`,
    },
    ...QUANTILES.map((name) => ({
      name: name === "p50" ? "Median" : name,
      figure: spanOfTime(total[`${name}_ms`]),
      note: `first output ${spanOfTime(total.ttft[`${name}_ms`])}`,
    })),
    { name: "Slowest", figure: spanOfTime(total.max_ms), note: `first output ${spanOfTime(total.ttft.max_ms)}` },
  ];
  return html`<${Tiles} label="Totals" tiles=${tiles} />`;
}

function OverTime({ title, partOf, given, group, quantile, rows, whole }) {
  const shape = useMemo(() => {
    const now_ms = Date.now();
    return latencyShape(rows, { span: spanOf(given, now_ms), now_ms, group, quantile, partOf, whole });
  }, [rows, whole, group, quantile]);
  const isOnly = shape.groups.length === QUANTILES.length && shape.groups[0].name === QUANTILES[0];
  const options = QUANTILES.map((name) => [name, name]);
  const pick = (picked) => go(hrefWith({ quantile: picked }));
  const name = `${title} quantile`;
  const tools =
    !isOnly &&
    html`<span class="end">
      <${Segments} label=${name} name=${name} value=${quantile} options=${options} onPick=${pick} />
    </span>`;
  const note = `by ${shape.bucket}${title === "First output" ? ", of streamed calls" : ""}`;
  return html`<${Panel} title=${title} note=${note} tools=${tools}>
    <${Chart} label=${`${title}, ${isOnly ? "quantiles" : quantile} by ${shape.bucket}`} shape=${shape} />
  <//>`;
}

function ByGroup({ report, group }) {
  const [, title] = GROUPS.find(([name]) => name === group);
  const took = (partOf, name) => (row) => spanOfTime(partOf(row)[`${name}_ms`]);
  const columns = [
    [title, (row) => html`<${Link} href=${hrefWith({ [group]: row[group] })}>${row[group]}<//>`],
    ["Answers", (row) => html`<${Count} number=${row.count} />`],
    ["Failed", (row) => percent(row.errors, row.count + row.errors)],
    ...QUANTILES.map((name) => [name, took(WHOLE, name)]),
    ["Slowest", took(WHOLE, "max")],
    ...QUANTILES.map((name) => [`First output ${name}`, took(FIRST, name)]),
  ];
  const rows = report.rows.toSorted((one, other) => other.count - one.count);
  return html`<${Panel} title=${`By ${group}`}>
    <${Table} label=${`Latency by ${group}`} columns=${columns} rows=${rows} keyOf=${(row) => row[group]} />
  <//>`;
}

function hasAttempts(report) {
  return report !== null && report.total.count + report.total.errors > 0;
}
