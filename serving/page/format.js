// Figures as text. Money comes as decimal text and is never made a float: what is shown is what the service says.

const LANGUAGE = "en";
const counts = new Intl.NumberFormat(LANGUAGE);
const percents = new Intl.NumberFormat(LANGUAGE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const short = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const regions = new Intl.DisplayNames([LANGUAGE], { type: "region" });
const symbols = new Map();
const clocks = new Map();

export const NONE = "–";

export const count = (value) => counts.format(value);
export const compact = (value) => short.format(value);
export const ratio = (value) => (value === null ? NONE : percents.format(value));

function symbolOf(currency) {
  if (!symbols.has(currency)) {
    const parts = new Intl.NumberFormat(LANGUAGE, { style: "currency", currency, currencyDisplay: "narrowSymbol" })
      .formatToParts(0);
    const found = parts.find((part) => part.type === "currency").value;
    symbols.set(currency, found === currency ? `${currency}\u00a0` : found);
  }
  return symbols.get(currency);
}

// "1234.50" as "$1,234.50"; what is no amount is shown as it is.
export function money(text, currency) {
  if (text === null) return NONE;
  const amount = /^(-?)(\d+)\.(\d\d)$/.exec(text);
  if (amount === null) return text;
  const [, minus, whole, cents] = amount;
  return `${minus ? "−" : ""}${symbolOf(currency)}${counts.format(BigInt(whole))}.${cents}`;
}

export const shortMoney = (value, currency) => `${symbolOf(currency)}${short.format(value)}`;

// Decimal text with two places in minor units, exactly, and back.
export const minor = (text) => BigInt(text.replace(".", ""));

export function major(amount) {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(3, "0");
  return `${amount < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

function clockOf(zone, seconds) {
  const key = `${zone}/${seconds}`;
  if (!clocks.has(key)) {
    clocks.set(key, new Intl.DateTimeFormat(LANGUAGE, {
      hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone, ...(seconds ? { second: "2-digit" } : {}),
    }));
  }
  return clocks.get(key);
}

// Hours and minutes in the shop's time zone.
export const minuteOf = (seconds, zone) => clockOf(zone, false).format(seconds * 1000);

// The same to the second, of an RFC 3339 time.
export const clock = (text, zone) => clockOf(zone, true).format(new Date(text));

// Date and time in the shop's time zone, of an RFC 3339 time.
export function moment(text, zone) {
  if (text === null || text === undefined) return NONE;
  const at = new Date(text);
  const day = new Intl.DateTimeFormat("en-CA", { dateStyle: "short", timeZone: zone }).format(at);
  return `${day} ${clockOf(zone, true).format(at)}`;
}

// How long something is ago or takes, in the largest unit that fits.
export function duration(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${counts.format(Math.round(s / 86_400))} days`;
}

// The same of something in the past, unless a clock is ahead by more than people's clocks differ.
export const since = (ms) => (ms < -60_000 ? `${duration(-ms)} in the future` : `${duration(ms)} ago`);

// A name as people say it: product_view → Product view.
export function words(name) {
  const spaced = name.replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

export function country(code) {
  if (code === null) return "Unknown";
  try {
    return regions.of(code);
  } catch {
    return code; // not a region that anybody knows
  }
}
