// Numbers as people read them. Pure. Money comes in nano-dollars, spans in ms, moments in ms since 1970 (UTC).

const NANOUSD_PER_USD = 1_000_000_000;
const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const hourOfDay = moment({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const dayOfYear = moment({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const monthOfYear = moment({ month: "long", year: "numeric" });

/** Dollars to the digits that matter: cents from a dollar up, three significant digits below. */
export function usd(nanousd) {
  const dollars = Math.abs(nanousd) / NANOUSD_PER_USD;
  const sign = nanousd < 0 ? "−" : "";
  if (dollars === 0) return "$0";
  if (dollars >= 100_000) return `${sign}$${plain.format(dollars)}`;
  if (dollars >= 0.995) return `${sign}$${cents.format(dollars)}`;
  const places = Math.min(9, 2 - Math.floor(Math.log10(dollars)));
  return `${sign}$${trimmed(dollars.toFixed(places), 2)}`;
}

/** A limit as it was most likely written: $50 rather than $50.00. */
export function limitUsd(nanousd) {
  return usd(nanousd).replace(/\.00$/, "");
}

/** Dollars with all nine places, as reports have them. */
export function exactUsd(nanousd) {
  const amount = BigInt(nanousd);
  const size = amount < 0n ? -amount : amount;
  const unit = BigInt(NANOUSD_PER_USD);
  return `${amount < 0n ? "-" : ""}${size / unit}.${String(size % unit).padStart(9, "0")}`;
}

/** An exact amount with its sign before the dollar, as the command line has it: -$1.499000000. */
export function dollars(exact) {
  return exact.startsWith("-") ? `-$${exact.slice(1)}` : `$${exact}`;
}

/** A number of things; from 100,000 to three digits: 1.23M. */
export function count(number) {
  return number < 100_000 ? plain.format(number) : compact.format(number);
}

/** All its digits: 1,234,567. */
export function exactCount(number) {
  return plain.format(number);
}

/** A share; of nothing: a dash. It is nothing, or all, only where it is that exactly. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (part / whole) * 100;
  if (share > 0 && share < 0.1) return "< 0.1 %";
  if (share < 10) return `${trimmed(share.toFixed(1), 0)} %`;
  return `${share < 100 ? Math.min(99, Math.round(share)) : share > 100 ? Math.max(101, Math.round(share)) : 100} %`;
}

/** A span of time to three digits; null: a dash. */
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Number(ms.toPrecision(3))} ms`;
  if (ms < 99_500) return `${Number((ms / 1000).toPrecision(3))} s`;
  return `${Number((ms / 60_000).toPrecision(3))} min`;
}

/** When a bucket of this length (`hour`, `day`, `month`) was, in UTC. */
export function bucketName(starts_ms, bucket) {
  if (bucket === "hour") return `${hourOfDay.format(starts_ms)} UTC`;
  return (bucket === "day" ? dayOfYear : monthOfYear).format(starts_ms);
}

/** A moment by the viewer's own clock. */
export function clock(at_ms) {
  return new Date(at_ms).toLocaleTimeString("en-GB");
}

function moment(parts) {
  return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });
}

/** Without the zeros at its end, but for so many places. */
function trimmed(text, places) {
  const [whole, fraction = ""] = text.split(".");
  let kept = fraction.replace(/0+$/, "");
  if (kept.length < places) kept = fraction.slice(0, places);
  return kept ? `${whole}.${kept}` : whole;
}
