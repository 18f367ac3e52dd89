// What was spent, on what, by whom; what the cache saved; how near the ceilings are.

import { address, go, hrefWith } from "../lib/address.js";
import { pathWith } from "../lib/api.js";
import { count, percent, usd } from "../lib/format.js";
import { useNames } from "../lib/names.js";
import { html, useMemo } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { MOST_GROUPS } from "../lib/series.js";
import { callsShape, spendShape } from "../lib/shapes.js";
import { spanOf, windowOf } from "../lib/span.js";
import { useStore } from "../lib/store.js";
import { Ceilings } from "../parts/ceilings.js";
import { Chart } from "../parts/chart.js";
import { Count, Money, Tiles } from "../parts/figures.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Filters, Picker, Segments, SpanPicker, filtersIn } from "../parts/pickers.js";
import { NoCalls, NoCeilings, Told } from "../parts/states.js";
import { Table } from "../parts/table.js";

const GROUPS = [
  ["model", "Model"],
  ["provider", "Provider"],
  ["route", "Route"],
  ["key", "Key"],
  ["team", "Team"],
  ["workflow", "Workflow"],
  ["user", "User"],
];
const FILTERS = [...GROUPS.map(([name]) => name), "run", "basis", "outcome"];
const MOST_ROWS = 100;
// Two of these at once the ledger counts call by call, but users and workflows, which it keeps added up by the day;
// everything else it keeps added up by the hour.
const COUNTED = ["user", "workflow", "run"];
const COUNTED_EVERY_MS = 60_000;

export function Spend() {
  const given = useStore(address);
  const group = GROUPS.some(([name]) => name === given.group) ? given.group : "model";
  const filters = filtersIn(given, FILTERS);
  const named = COUNTED.filter((name) => name === group || name in filters);
  const isPaired = named.length === 2 && !named.includes("run");
  const spanAt = (now_ms) => spanOf(given, now_ms, { isPaired });
  const { bucket, every_ms } = spanAt(Date.now());
  const isCounted = named.length > 1 && !(isPaired && bucket !== "hour");
  const everyMs = isCounted ? COUNTED_EVERY_MS : every_ms;
  const question = JSON.stringify([given.since, given.until, group, filters]);
  const report = (group_by, top) => (now_ms) =>
    pathWith("ledger/spend", { ...windowOf(spanAt(now_ms)), group_by, top, ...filters });
  const overTime = useReport(report(`${bucket},${group}`, MOST_GROUPS), question, { everyMs });
  const byGroup = useReport(report(group, MOST_ROWS), question, { everyMs });
  const ceilings = useReport(() => `ledger/ceilings?top=${MOST_ROWS}`, "ceilings", { everyMs: 10_000 });
  const nameOf = useNames(group === "key" || "key" in filters);
  const shown = { given, group, filters, nameOf, spanAt };
  const noCalls = html`<${NoCalls} isNarrowed=${Object.keys(filters).length > 0} />`;
  const pickGroup = (picked) => go(hrefWith({ group: picked }));
  return html`
    <div class="head">
      <h1>Spend</h1>
      <${SpanPicker} />
      <div class="end"><${Picker} label="Group by" value=${group} options=${GROUPS} onPick=${pickGroup} /></div>
    </div>
    <${Filters} dimensions=${FILTERS} nameOf=${nameOf} />
    <${Told} asked=${overTime} isEmpty=${!hasCalls(overTime.report)} empty=${noCalls}>
      <${Totals} total=${overTime.report?.total} />
      <${OverTime} rows=${overTime.report?.rows} ceilings=${ceilings.report?.ceilings} ...${shown} />
    <//>
    <div class="columns">
      <${Panel} title="Ceilings" note="spent and held, of the limit">
        <${Told} asked=${ceilings} isEmpty=${ceilings.report?.ceilings.length === 0} empty=${html`<${NoCeilings} />`}>
          <${Ceilings} ceilings=${ceilings.report?.ceilings} />
        <//>
      <//>
      ${hasCalls(overTime.report) && html`<${Calls} rows=${overTime.report.rows} spanAt=${spanAt} />`}
    </div>
    ${hasCalls(byGroup.report) && html`<${ByGroup} report=${byGroup.report} ...${shown} />`}
  `;
}

function Totals({ total }) {
  const money = (field) => html`<${Money} nanousd=${total[field]} />`;
  const number = (value) => html`<${Count} number=${value} />`;
  const unsaved = total.cost_nanousd + total.saved_nanousd;
  const tiles = [
    {
      name: "Spent",
      figure: money("cost_nanousd"),
      note: total.estimated_nanousd > 0 ? `${usd(total.estimated_nanousd)} of it estimated` : "all of it as billed",
    },
    { name: "Held now", figure: money("held_nanousd"), note: "for calls in progress" },
    {
      name: "Saved",
      figure: money("saved_nanousd"),
      note: `${percent(total.saved_nanousd, unsaved)} of the price without a cache`,
    },
    {
      name: "Wasted",
      figure: money("wasted_nanousd"),
      note: `${percent(total.wasted_nanousd, total.cost_nanousd)} of what was spent`,
    },
    {
      name: "Calls",
      figure: number(total.generations),
      note: `${count(total.attempts)} attempts${total.refused ? `, ${count(total.refused)} refused` : ""}`,
    },
    {
      name: "Cache ratio",
      figure: percent(total.cache_hits + total.coalesced, total.generations),
      note: `${count(total.cache_hits)} hits, ${count(total.coalesced)} shared`,
    },
    {
      name: "Tokens",
      figure: number(total.prompt_tokens + total.completion_tokens),
      note: `${count(total.prompt_tokens)} in, ${count(total.completion_tokens)} out`,
    },
  ];
  return html`<${Tiles} label="Totals" tiles=${tiles} />`;
}

function OverTime({ rows, ceilings = [], given, group, filters, nameOf, spanAt }) {
  const isRunning = given.sum === "running";
  const shape = useMemo(() => {
    const now_ms = Date.now();
    const span = spanAt(now_ms);
    return spendShape(rows, { span, now_ms, group, filters, nameOf, isRunning, given, ceilings });
  }, [rows, ceilings, isRunning]);
  const options = [
    ["each", `Each ${shape.bucket}`],
    ["running", "Running total"],
  ];
  const pick = (picked) => go(hrefWith({ sum: picked === "running" ? picked : null }));
  const tools = html`<span class="end">
    <${Segments} label="Sum" name="sum" value=${isRunning ? "running" : "each"} options=${options} onPick=${pick} />
  </span>`;
  const title = isRunning ? "Spend so far" : `Spend by ${shape.bucket}`;
  return html`<${Panel} title=${title} note=${`by ${group}`} tools=${tools}>
    <${Chart} label=${title} shape=${shape} />
  <//>`;
}

function Calls({ rows, spanAt }) {
  const shape = useMemo(() => {
    const now_ms = Date.now();
    return callsShape(rows, { span: spanAt(now_ms), now_ms });
  }, [rows]);
  return html`<${Panel} title="Calls" note=${`by ${shape.bucket}, and who answered them`}>
    <${Chart} label="Calls by who answered them" shape=${shape} />
  <//>`;
}

function ByGroup({ report, group, nameOf }) {
  const { rows, total } = report;
  const [, title] = GROUPS.find(([name]) => name === group);
  const nameCell = (row) => {
    const name = nameOf(group, row[group]);
    return row[group] ? html`<${Link} href=${hrefWith({ [group]: row[group] })}>${name}<//>` : name;
  };
  const money = (field) => (row) => html`<${Money} nanousd=${row[field]} />`;
  const number = (field) => (row) => html`<${Count} number=${row[field]} />`;
  const columns = [
    [title, nameCell],
    ["Cost", money("cost_nanousd")],
    ["Share", (row) => percent(row.cost_nanousd, total.cost_nanousd)],
    ["Calls", number("generations")],
    ["Cached", (row) => percent(row.cache_hits + row.coalesced, row.generations)],
    ["Tokens in", number("prompt_tokens")],
    ["Tokens out", number("completion_tokens")],
    ["Saved", money("saved_nanousd")],
    ["Wasted", money("wasted_nanousd")],
  ];
  return html`<${Panel} title=${`By ${group}`} note=${rows.length > MOST_ROWS ? `the ${MOST_ROWS} dearest` : ""}>
    <${Table} label=${`Spend by ${group}`} columns=${columns} rows=${rows} keyOf=${(row) => row[group]} />
  <//>`;
}

function hasCalls(report) {
  return report !== null && report.total.generations + report.total.attempts > 0;
}
