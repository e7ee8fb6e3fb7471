/**
 * How a notification's parts are put into words and links for a reader. Pure functions.
 *
 * `safeLink` is a guarantee: nothing but a web address of this site or another ever becomes a link.
 */

const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

const TYPE_LABELS = { info: "Info", success: "Success", warning: "Warning", error: "Error" };

/** One of info, success, warning, error; what a newer server may add is shown as info. */
export function knownType(type) {
  return Object.hasOwn(TYPE_LABELS, type) ? type : "info";
}

export function typeLabel(type) {
  return TYPE_LABELS[knownType(type)];
}

/** "DOCUMENT_UPLOAD" → "Document upload", "KPI_ALERT" → "KPI alert" */
export function categoryLabel(category) {
  const words = String(category ?? "").toLowerCase().replaceAll("_", " ").trim().replace(/\bkpi\b/, "KPI");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** "now", "5 minutes ago", "yesterday". A clock that runs behind the server's never says "in 3 seconds". */
export function relativeTime(time, now = Date.now(), language = document.documentElement.lang || "en") {
  const seconds = Math.max(0, (now - new Date(time).getTime()) / 1000);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return words.format(-Math.floor(seconds / length), unit);
  }
  return words.format(0, "second");
}

export function absoluteTime(time, language = document.documentElement.lang || "en") {
  return new Date(time).toLocaleString(language, { dateStyle: "full", timeStyle: "medium" });
}

/** The address as an absolute http(s) URL, or null: `javascript:`, `data:` and the like are no links. */
export function safeLink(link) {
  if (typeof link !== "string" || link === "") return null;
  try {
    const url = new URL(link, document.baseURI);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
