// uPlot, told how our charts look. Time goes along x in seconds UTC, each value stands in the middle of its bucket.

import { stacked } from "./series.js";
import { nextBucket } from "./span.js";

/* global uPlot */
const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;
const HEADROOM = 1.08;
const BAR = { share: 0.88, most: 56 };
const hour = moment({ hour: "2-digit", minute: "2-digit" });
const day = moment({ day: "numeric", month: "short" });
const month = moment({ month: "short", year: "numeric" });

/**
 * Draw a chart into an element.
 *
 * shape: {groups: [{colour, values}], starts, bucket, isStacked, lines: [{label, value}], tick}, colours: of `paint`.
 * onPoint: called with the place of the bucket that is pointed at, or null. Returns {redraw, point, resize, destroy}.
 */
export function plot(element, shape, colours, onPoint) {
  let { lines } = shape;
  const chart = new uPlot(
    {
      width: element.clientWidth,
      height: element.clientHeight,
      legend: { show: false },
      padding: [12, 18, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, points: { show: !shape.isStacked }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => edgesOf(shape) },
        y: { range: (_, __, most) => [0, top(most, lines)] },
      },
      series: [{}, ...seriesOf(shape, colours)],
      axes: axesOf(shape, colours),
      hooks: {
        setCursor: [(drawn) => onPoint(drawn.cursor.idx ?? null)],
        draw: [(drawn) => drawLines(drawn, lines, colours)],
      },
    },
    dataOf(shape),
    element,
  );
  return {
    /** Show other values of the same groups. */
    redraw(next) {
      shape = next;
      lines = next.lines;
      chart.setData(dataOf(next));
    },
    /** Point at a bucket as the mouse would. */
    point(place) {
      chart.setCursor({ left: chart.valToPos(chart.data[0][place], "x"), top: chart.over.clientHeight / 2 });
    },
    resize: () => chart.setSize({ width: element.clientWidth, height: element.clientHeight }),
    destroy: () => chart.destroy(),
  };
}

function dataOf({ groups, starts, bucket, isStacked }) {
  const middles = starts.map((at_ms) => (at_ms + nextBucket(at_ms, bucket)) / 2000);
  const values = groups.map((group) => group.values);
  // The highest edge is drawn first, and the lower ones over it.
  return [middles, ...(isStacked ? stacked(values).reverse() : values)];
}

function seriesOf({ groups, isStacked }, colours) {
  const colourOf = ({ colour }) => colours.series[colour] ?? colours.others;
  if (!isStacked) {
    // Across what nobody asked for, too: hours at night are no interruption. The points tell what was measured.
    return groups.map((group) => {
      const colour = colourOf(group);
      return { stroke: colour, width: 1.5, spanGaps: true, points: { show: true, size: 4, width: 0, fill: colour } };
    });
  }
  const paths = uPlot.paths.bars({ size: [BAR.share, BAR.most], radius: 0 });
  const looks = { paths, stroke: colours.card, width: 0.5, points: { show: false } };
  return groups.map((group) => ({ ...looks, fill: colourOf(group) })).reverse();
}

function axesOf({ tick }, colours) {
  const looks = { stroke: colours.muted, font: colours.font, ticks: { show: false } };
  const time = {
    size: 28,
    space: 64,
    grid: { show: false },
    values: (_, splits, __, ___, step_s) => splits.map((at_s) => timeName(at_s, step_s)),
  };
  const amount = {
    size: (drawn, values) => Math.ceil(widest(drawn, values ?? [""], colours.font)) + 16,
    space: 36,
    grid: { stroke: colours.line, width: 1 },
    values: (_, splits) => splits.map(tick),
  };
  return [
    { ...looks, ...time },
    { ...looks, ...amount },
  ];
}

/** From the beginning of the first bucket to the end of the last. */
function edgesOf({ starts, bucket }) {
  return [starts[0] / 1000, nextBucket(starts.at(-1), bucket) / 1000];
}

/** The highest value in sight. A line far above the values is left out: it would press them flat. */
function top(most, lines) {
  const highest = most > 0 ? most : 1;
  return Math.max(highest, ...linesInSight(highest, lines).map((line) => line.value)) * HEADROOM;
}

/** Those lines that are not far above the highest value. */
export function linesInSight(highest, lines) {
  return lines.filter((line) => line.value <= 3 * highest);
}

function drawLines(drawn, lines, colours) {
  const { ctx, bbox } = drawn;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = colours.font.replace("12px", `${12 * ratio}px`);
  ctx.strokeStyle = ctx.fillStyle = colours.bad;
  ctx.lineWidth = 1.5 * ratio;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  for (const { label, value } of lines.filter((line) => line.value <= drawn.scales.y.max)) {
    const y = drawn.valToPos(value, "y", true);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(label, bbox.left + 6 * ratio, y - 2 * ratio);
  }
  ctx.restore();
}

function widest(drawn, texts, font) {
  drawn.ctx.save();
  drawn.ctx.font = font;
  const width = Math.max(...texts.map((text) => drawn.ctx.measureText(text).width));
  drawn.ctx.restore();
  return width;
}

function timeName(at_s, step_s) {
  if (step_s >= 28 * DAY_S) return month.format(at_s * 1000);
  return (at_s % DAY_S === 0 ? day : hour).format(at_s * 1000);
}

function moment(parts) {
  return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });
}
