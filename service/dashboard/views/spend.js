// What was spent, on what, by whom; what the cache saved; how near the ceilings are.

import { address, go, hrefWith } from "../lib/address.js";
import { pathWith } from "../lib/api.js";
import { linesOf } from "../lib/ceilings.js";
import { count, percent, usd } from "../lib/format.js";
import { useNames } from "../lib/names.js";
import { html, useMemo } from "../lib/preact.js";
import { useReport } from "../lib/report.js";
import { MOST_GROUPS, bucketsOf, coloursOf, groupsOf, runningTotal, valuesOf } from "../lib/series.js";
import { spanOf, windowOf } from "../lib/span.js";
import { useStore } from "../lib/store.js";
import { Ceilings } from "../parts/ceilings.js";
import { Chart } from "../parts/chart.js";
import { Count, Money, Tiles } from "../parts/figures.js";
import { Link } from "../parts/link.js";
import { Panel } from "../parts/panel.js";
import { Filters, Picker, Segments, SpanPicker } from "../parts/pickers.js";
import { Told } from "../parts/states.js";

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
const SUMS = [
  ["each", "Each"],
  ["running", "Running total"],
];
const MOST_ROWS = 100;

export function Spend() {
  const given = useStore(address);
  const group = GROUPS.some(([name]) => name === given.group) ? given.group : "model";
  const filters = Object.fromEntries(FILTERS.filter((name) => name in given).map((name) => [name, given[name]]));
  const { bucket, every_ms } = spanOf(given, Date.now());
  const question = JSON.stringify([given.since, given.until, group, filters]);
  const report = (group_by, top) => (now_ms) =>
    pathWith("ledger/spend", { ...windowOf(spanOf(given, now_ms)), group_by, top, ...filters });
  const overTime = useReport(report(`${bucket},${group}`, MOST_GROUPS), question, { everyMs: every_ms });
  const byGroup = useReport(report(group, MOST_ROWS), question, { everyMs: every_ms });
  const ceilings = useReport(() => "ledger/ceilings", "ceilings", { everyMs: 10_000 });
  const nameOf = useNames(group === "key" || "key" in filters);
  const shown = { given, group, filters, nameOf };
  return html`
    <div class="head">
      <h1>Spend</h1>
      <${SpanPicker} />
      <div class="end"><${Picker} label="Group by" value=${group} options=${GROUPS} onPick=${(picked) => go(hrefWith({ group: picked }))} /></div>
    </div>
    <${Filters} dimensions=${FILTERS} nameOf=${nameOf} />
    <${Told} asked=${overTime} isEmpty=${!hasCalls(overTime.report)} empty=${html`<${Nothing} isNarrowed=${Object.keys(filters).length > 0} />`}>
      <${Totals} total=${overTime.report?.total} />
      <${OverTime} report=${overTime.report} ceilings=${ceilings.report?.ceilings ?? []} ...${shown} />
    <//>
    <div class="columns">
      <${Panel} title="Ceilings" note="spent and held, of the limit">
        <${Told} asked=${ceilings} isEmpty=${ceilings.report?.ceilings.length === 0} empty=${html`<${NoCeilings} />`}>
          <${Ceilings} ceilings=${ceilings.report?.ceilings} />
        <//>
      <//>
      ${hasCalls(overTime.report) && html`<${Cache} report=${overTime.report} given=${given} />`}
    </div>
    ${hasCalls(byGroup.report) && html`<${ByGroup} asked=${byGroup} ...${shown} />`}
  `;
}

function Totals({ total }) {
  const whole = total.cost_nanousd + total.saved_nanousd;
  const answered = total.cache_hits + total.coalesced;
  const tiles = [
    { name: "Spent", figure: html`<${Money} nanousd=${total.cost_nanousd} />`, note: total.estimated_nanousd > 0 && `${usd(total.estimated_nanousd)} of it estimated` },
    { name: "Held now", figure: html`<${Money} nanousd=${total.held_nanousd} />`, note: "for calls in progress" },
    { name: "Saved", figure: html`<${Money} nanousd=${total.saved_nanousd} />`, note: `${percent(total.saved_nanousd, whole)} of what it would have been` },
    { name: "Wasted", figure: html`<${Money} nanousd=${total.wasted_nanousd} />`, note: `${percent(total.wasted_nanousd, total.cost_nanousd)} of what was spent` },
    { name: "Calls", figure: html`<${Count} number=${total.generations} />`, note: `${count(total.attempts)} attempts${total.refused ? `, ${count(total.refused)} refused` : ""}` },
    { name: "Cache ratio", figure: percent(answered, total.generations), note: `${count(total.cache_hits)} hits, ${count(total.coalesced)} shared` },
    { name: "Tokens", figure: html`<${Count} number=${total.prompt_tokens + total.completion_tokens} />`, note: `${count(total.prompt_tokens)} in, ${count(total.completion_tokens)} out` },
  ];
  return html`<${Tiles} label="Totals" tiles=${tiles} />`;
}

function OverTime({ report, ceilings, given, group, filters, nameOf }) {
  const isRunning = given.sum === "running";
  const shape = useMemo(() => {
    const span = spanOf(given, Date.now());
    const starts = bucketsOf(report.rows, span, Date.now());
    const groups = groupsOf(report.rows, starts, { bucket: span.bucket, group, field: "cost_nanousd" });
    const colours = coloursOf(groups);
    return {
      starts,
      bucket: span.bucket,
      isStacked: true,
      format: usd,
      groups: groups.map((found) => {
        const values = valuesOf(found, "cost_nanousd");
        const name = nameOf(group, found.name);
        return { name, colour: colours.get(found.name), values: isRunning ? runningTotal(values) : values, told: usd(found.total) };
      }),
      lines: linesOf(ceilings, { filters, bucket: span.bucket, isRunning, since: given.since, until: given.until }).map(
        ({ label, nanousd }) => ({ label, value: nanousd }),
      ),
    };
  }, [report, ceilings, isRunning]);
  const sums = html`<${Segments} label="Sum" name="sum" value=${isRunning ? "running" : "each"} options=${SUMS.map(([name, title]) => [name, name === "each" ? `${title} ${shape.bucket}` : title])}
    onPick=${(picked) => go(hrefWith({ sum: picked === "running" ? picked : null }))} />`;
  const title = isRunning ? "Spend so far" : `Spend by ${shape.bucket}`;
  return html`<${Panel} title=${title} note=${`by ${group}`} tools=${html`<span class="end">${sums}</span>`}><${Chart} label=${title} shape=${shape} /><//>`;
}

function Cache({ report, given }) {
  const shape = useMemo(() => {
    const span = spanOf(given, Date.now());
    const starts = bucketsOf(report.rows, span, Date.now());
    const sums = starts.map(() => ({ hits: 0, shared: 0, asked: 0 }));
    const places = new Map(starts.map((at_ms, place) => [at_ms, place]));
    for (const row of report.rows) {
      const sum = sums[places.get(Date.parse(row[span.bucket]))];
      if (!sum) continue;
      sum.hits += row.cache_hits;
      sum.shared += row.coalesced;
      sum.asked += row.generations - row.cache_hits - row.coalesced;
    }
    const groupOf = (name, colour, field) => {
      const values = sums.map((sum) => sum[field]);
      return { name, colour, values, told: count(values.reduce((one, other) => one + other, 0)) };
    };
    return {
      starts,
      bucket: span.bucket,
      isStacked: true,
      format: count,
      lines: [],
      groups: [groupOf("From the cache", 2, "hits"), groupOf("Shared an equal call", 4, "shared"), groupOf("Asked a provider", -1, "asked")],
    };
  }, [report]);
  return html`<${Panel} title="Calls" note=${`by ${shape.bucket}, and who answered them`}><${Chart} label="Calls by who answered them" shape=${shape} /><//>`;
}

function ByGroup({ asked, group, nameOf }) {
  const { rows, total } = asked.report;
  const [, title] = GROUPS.find(([name]) => name === group);
  return html`<${Panel} title=${`By ${group}`} note=${rows.length > MOST_ROWS ? `the ${MOST_ROWS} with the highest cost` : ""}>
    <div class="scroller" tabindex="0" role="region" aria-label=${`Spend by ${group}`}>
      <table>
        <thead>
          <tr>${[title, "Cost", "Share", "Calls", "Cached", "Tokens in", "Tokens out", "Saved", "Wasted"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr>
        </thead>
        <tbody>
          ${rows.map(
            (row) => html`<tr key=${row[group]}>
              <th scope="row">${row[group] ? html`<${Link} href=${hrefWith({ [group]: row[group] })}>${nameOf(group, row[group])}<//>` : nameOf(group, row[group])}</th>
              <td><${Money} nanousd=${row.cost_nanousd} /></td>
              <td>${percent(row.cost_nanousd, total.cost_nanousd)}</td>
              <td><${Count} number=${row.generations} /></td>
              <td>${percent(row.cache_hits + row.coalesced, row.generations)}</td>
              <td><${Count} number=${row.prompt_tokens} /></td>
              <td><${Count} number=${row.completion_tokens} /></td>
              <td><${Money} nanousd=${row.saved_nanousd} /></td>
              <td><${Money} nanousd=${row.wasted_nanousd} /></td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  <//>`;
}

function Nothing({ isNarrowed }) {
  if (isNarrowed) return html`<strong>Nothing matches</strong><p>No call in this window was of what the filters above say.</p>`;
  const example = `curl ${location.origin}/generate \\\n  -H 'content-type: application/json' \\\n  -d '{"prompt": "Name the smallest coin there was."}'`;
  return html`<strong>No calls in this window</strong><p>The first one shows up here a few seconds after its answer:</p><pre>${example}</pre>`;
}

function NoCeilings() {
  return html`<strong>No ceilings</strong><p>Nothing limits what is spent. A limit is three lines of the config:</p>
    <pre>${'[[ceilings]]\nscope = "global"\nwindow = "month"\nlimit_usd = "100"'}</pre>`;
}

function hasCalls(report) {
  return report !== null && report.total.generations + report.total.attempts > 0;
}
