/**
 * Rich messages: elements built one by one from a list of those that are allowed.
 *
 * The gateway sends what was cleaned when it was written; nothing here relies on that. Whatever is not one
 * of the allowed tags, written exactly as the cleaner writes it, is shown as text. No markup ever reaches
 * the browser's own parser, so the page's Trusted Types policy stays as strict as it is.
 */

import { make } from "./dom.js";
import { safeLink } from "./format.js";

const TOKEN = /<(\/?)(b|i|em|strong|a|ul|ol|li|p|br|code)(?: href="([^"<>]*)")?>|&(amp|lt|gt|quot|nbsp);/g;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };
const MAX_DEPTH = 50; // what stands deeper is shown at that depth

/** The message's nodes in a fragment. */
export function richNodes(message) {
  const fragment = document.createDocumentFragment();
  const open = [{ tag: "", node: fragment }];
  let end = 0;
  for (const token of message.matchAll(TOKEN)) {
    appendText(open, message.slice(end, token.index));
    end = token.index + token[0].length;
    const [, slash, tag, href, entity] = token;
    if (entity) appendText(open, ENTITIES[entity]);
    else if (slash) close(open, tag);
    else begin(open, tag, href);
  }
  appendText(open, message.slice(end));
  return fragment;
}

function appendText(open, text) {
  if (text) open.at(-1).node.append(text);
}

function begin(open, tag, href) {
  const element = tag === "a" ? makeLink(href) : make(tag);
  open.at(-1).node.append(element);
  if (tag !== "br" && open.length <= MAX_DEPTH) open.push({ tag, node: element });
}

function close(open, tag) {
  const place = open.findLastIndex((one) => one.tag === tag);
  if (place > 0) open.length = place;
}

/** Without an address that may be followed it is only a span. */
function makeLink(written) {
  const href = safeLink(written?.replace(/&(amp|lt|gt|quot|nbsp);/g, (_, name) => ENTITIES[name]));
  if (!href) return make("span");
  const link = make("a", { href });
  if (new URL(href).origin !== location.origin) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  return link;
}
