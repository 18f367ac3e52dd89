// One call as it is on record, laid out along a line of time. Pure. All times in ms since the call came.

const TICKS = 5;

/**
 * {total, ticks: [ms], rows: [{attempt, parts: [{kind, from, to}]}]} of a story, `now_ms` where something is open.
 *
 * The first row is the call itself, attempt null. kind: `queue` (admission, or a place at the provider), `wait` (for the
 * first output; all of it, where none was seen), `output`.
 */
export function timelineOf(story, now_ms) {
  const began_ms = Date.parse(story.created_at);
  const elapsed = Math.max(0, now_ms - began_ms);
  const rows = story.attempts.map((attempt) => ({ attempt, parts: partsOf(attempt, began_ms, elapsed) }));
  const admitted = rows.length ? rows[0].parts[0].from : 0;
  const whole = story.latency_ms ?? elapsed;
  const total = Math.max(1, whole, ...rows.map(({ parts }) => parts.at(-1).to));
  const call = { attempt: null, parts: [{ kind: "queue", from: 0, to: Math.min(admitted, whole) }, { kind: "call", from: Math.min(admitted, whole), to: whole }] };
  return { total, ticks: ticksOf(total), rows: [call, ...rows] };
}

/** Round moments along so much time: at most six, 0 first. */
export function ticksOf(total) {
  const rough = total / TICKS;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((candidate) => candidate >= rough);
  return Array.from({ length: Math.floor(total / step) + 1 }, (_, place) => place * step);
}

/**
 * What an attempt was charged, line by line: [{posting, note}]; note: why its cost is not what its tokens come to.
 */
export function linesOf(attempt) {
  return attempt.postings.map((posting) => ({ posting, note: noteOf(posting) }));
}

const BASES = {
  provider_reported: "as the provider said",
  priced_usage: "tokens as the provider said, at our price",
  estimated: "tokens counted here, at our price",
  unknown: "the whole hold: nobody knows what was used",
  free: "free",
};

/** How sure an amount is, in words. */
export function basisName(basis) {
  return BASES[basis] ?? basis;
}

function partsOf(attempt, began_ms, elapsed) {
  const taken = Math.max(0, Date.parse(attempt.taken_at) - began_ms);
  const sent = taken + (attempt.queued_ms ?? 0);
  const ends = attempt.state === "held" ? Math.max(elapsed, sent) : sent + (attempt.latency_ms ?? 0);
  const spoke = attempt.ttft_ms === null ? ends : sent + attempt.ttft_ms;
  return [
    { kind: "queue", from: taken, to: sent },
    { kind: "wait", from: sent, to: spoke },
    { kind: "output", from: spoke, to: ends },
  ].filter(({ kind, from, to }) => to > from || kind === "wait");
}

function noteOf(posting) {
  const { arithmetic, kind, cost_basis } = posting;
  if (posting.reason) return posting.reason;
  if (arithmetic === null) return kind === "correction" ? "" : posting.input_tokens === null ? "nobody knows the tokens" : "this price is not on record";
  if (arithmetic.cost_nanousd === posting.cost_nanousd) return "";
  if (kind === "correction") return "the difference to what was charged before";
  return cost_basis === "provider_reported" ? "charged is what the provider said" : "an estimate is never above its hold";
}
