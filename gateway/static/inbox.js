/**
 * `<notification-inbox>`: what a person sees of their notifications. Give it a store:
 *
 *     const inbox = document.createElement("notification-inbox");
 *     inbox.heading = "Notifications";
 *     inbox.store = new InboxStore({ client, api });
 *     document.body.append(inbox);
 *
 * The page includes inbox.css, and may set its colours (the custom properties at its top).
 *
 * Guarantees: everything a producer wrote is shown as text, or built from the elements of rich.js; every action works with a keyboard and says
 * what it does; new notifications are announced to screen readers; focus is never lost to a redraw.
 * Never: talks to a server itself.
 */

import { icon, make } from "./dom.js";
import { absoluteTime, categoryLabel, knownType, relativeTime, safeLink, typeLabel } from "./format.js";
import { richNodes } from "./rich.js";

const REDRAW_MILLISECONDS = 16; // many frames at once are one redraw; not by animation frame, which a hidden tab has none of
const TIME_REFRESH_MILLISECONDS = 20_000;
const CONFIRM_MILLISECONDS = 4_000;
const SEEN_BATCH_MILLISECONDS = 1_000;
const NEW_MILLISECONDS = 2_500;
const LARGEST_BADGE = 99;
const SHORT_CHARACTERS = 400; // a longer message is folded: some ten lines of a narrow inbox
const SHORT_LINES = 8;

const STATUS_TEXTS = { live: "Live", connecting: "Connecting…", waiting: "Reconnecting…", stopped: "Not connected" };

export class NotificationInbox extends HTMLElement {
  heading = "Notifications";
  subheading = "";

  #store = null;
  #parts = null;
  #rows = new Map(); // id → <li>
  #new = new Set(); // ids that stand out for a moment
  #announced = [];
  #seen = new Set();
  #seenWaiting = [];
  #observer = null;
  #redraw = 0;
  #timers = [];

  get store() {
    return this.#store;
  }

  /** Set once, before or after the element is put into the page. */
  set store(store) {
    this.#store = store;
    store.addEventListener("change", () => this.#drawSoon());
    store.addEventListener("arrived", ({ detail }) => this.#arrived(detail));
    if (this.isConnected) this.#begin();
  }

  connectedCallback() {
    if (this.#store) this.#begin();
  }

  disconnectedCallback() {
    this.#store?.stop();
    this.#observer?.disconnect();
    for (const timer of this.#timers) clearInterval(timer);
  }

  #begin() {
    if (!this.#parts) this.#build();
    this.#observer = new IntersectionObserver((entries) => this.#noteSeen(entries), { threshold: 0.6 });
    for (const row of this.#rows.values()) this.#observer.observe(row);
    this.#timers = [
      setInterval(() => this.#drawTimes(), TIME_REFRESH_MILLISECONDS),
      setInterval(() => this.#sendSeen(), SEEN_BATCH_MILLISECONDS),
    ];
    this.#store.start();
    this.#draw();
  }

  #build() {
    const button = (text, action) => make("button", { type: "button", className: "inbox-tool", textContent: text, onclick: action });
    const p = {
      badge: make("span", { className: "inbox-badge", hidden: true }),
      status: make("span", { className: "inbox-status-text" }),
      reconnect: make("button", { type: "button", className: "inbox-link", textContent: "Reconnect", hidden: true, onclick: () => this.#store.client.connect() }),
      readAll: button("Mark all read", () => this.#store.markAllRead()),
      clearAll: button("Clear all", () => this.#confirmClear()),
      problem: make("p", { className: "inbox-problem-text" }),
      retry: make("button", { type: "button", className: "inbox-link", textContent: "Try again", onclick: () => this.#store.load() }),
      list: make("ol", { className: "inbox-list", tabIndex: -1 }),
      empty: make("div", { className: "inbox-empty", hidden: true }, icon("inbox"), make("p", { textContent: "Nothing here yet" })),
      more: make("button", { type: "button", className: "inbox-more", textContent: "Load more", hidden: true, onclick: () => this.#store.loadMore() }),
      announcer: make("p", { className: "visually-hidden", attributes: { "aria-live": "polite" } }),
    };
    p.heading = make("h2", { className: "inbox-heading", textContent: this.heading });
    p.problemBox = make("div", { className: "inbox-problem", hidden: true, attributes: { role: "alert" } }, p.problem, p.retry);
    p.statusBox = make("span", { className: "inbox-status", attributes: { role: "status" } }, make("span", { className: "inbox-dot" }), p.status);
    p.scroller = make("div", { className: "inbox-scroller" }, p.problemBox, p.list, p.empty, p.more);
    p.list.setAttribute("aria-label", `Notifications of ${this.heading}`);
    const titles = make("div", { className: "inbox-titles" }, p.heading, make("p", { className: "inbox-subheading", textContent: this.subheading }));
    this.append(
      make("header", { className: "inbox-header" }, titles, p.badge),
      make("div", { className: "inbox-bar" }, p.statusBox, p.reconnect, make("span", { className: "inbox-tools" }, p.readAll, p.clearAll)),
      p.scroller,
      p.announcer,
    );
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", this.heading);
    this.#parts = p;
  }

  #drawSoon() {
    if (!this.#parts) return;
    this.#redraw ||= setTimeout(() => this.#draw(), REDRAW_MILLISECONDS);
  }

  #draw() {
    clearTimeout(this.#redraw);
    this.#redraw = 0;
    const { items, unread, hasMore, isLoading, isLoaded, loadError, actionError } = this.#store;
    const p = this.#parts;

    p.badge.hidden = unread === 0;
    p.badge.textContent = unread > LARGEST_BADGE ? `${LARGEST_BADGE}+` : String(unread);
    p.badge.setAttribute("aria-label", `${unread} unread`);
    p.readAll.disabled = unread === 0;
    p.clearAll.disabled = items.length === 0;
    p.more.hidden = !hasMore;
    p.more.disabled = isLoading;
    p.more.textContent = isLoading && isLoaded ? "Loading…" : "Load more";
    p.empty.hidden = items.length > 0 || !isLoaded || Boolean(loadError);
    p.problemBox.hidden = !loadError && !actionError;
    p.retry.hidden = !loadError;
    p.problem.textContent = loadError ? `The list could not be loaded: ${loadError}` : actionError;
    p.scroller.setAttribute("aria-busy", String(isLoading));
    this.#drawStatus();
    this.#drawRows(items);
    this.#announce();
  }

  #drawStatus() {
    const { status, reason } = this.#store.client;
    const p = this.#parts;
    p.statusBox.dataset.status = status;
    p.statusBox.title = reason;
    p.status.textContent = status === "stopped" && reason ? `Stopped: ${reason}` : STATUS_TEXTS[status];
    p.reconnect.hidden = status !== "stopped" || !reason;
  }

  /** Rows are kept and moved, never made anew: focus, selection and scroll position stay. */
  #drawRows(items) {
    const { list } = this.#parts;
    const shown = new Set(items.map((item) => item.id));
    for (const [id, row] of this.#rows) if (!shown.has(id)) this.#removeRow(id, row);
    let place = list.firstElementChild;
    for (const item of items) {
      let row = this.#rows.get(item.id);
      if (!row) {
        row = this.#makeRow(item);
        this.#rows.set(item.id, row);
        this.#observer.observe(row);
      }
      this.#drawRow(row, item);
      if (row === place) place = place.nextElementSibling;
      else list.insertBefore(row, place);
    }
  }

  #removeRow(id, row) {
    if (row.contains(document.activeElement)) {
      const neighbour = row.nextElementSibling ?? row.previousElementSibling;
      (neighbour?.querySelector("button.delete") ?? this.#parts.list).focus();
    }
    this.#observer.unobserve(row);
    this.#rows.delete(id);
    this.#seen.delete(id);
    row.remove();
  }

  #makeRow(item) {
    const type = knownType(item.notification_type);
    const row = make("li", { className: "inbox-item" });
    row.dataset.id = item.id;
    row.dataset.type = type;

    const title = make("h3", { className: "inbox-title" }, this.#makeTitle(item));
    const time = make("time", { dateTime: item.created_at, title: absoluteTime(item.created_at) });
    const meta = make("p", { className: "inbox-meta" }, make("span", { className: "inbox-type", textContent: typeLabel(type) }), time);
    if (item.category) meta.append(make("span", { className: "inbox-category", textContent: categoryLabel(item.category) }));

    const read = make("button", { type: "button", className: "inbox-action read", title: "Mark as read", onclick: () => this.#markRead(item.id) }, icon("check"));
    read.setAttribute("aria-label", `Mark as read: ${item.title}`);
    const remove = make("button", { type: "button", className: "inbox-action delete", title: "Delete", onclick: () => this.#store.delete(item.id) }, icon("trash"));
    remove.setAttribute("aria-label", `Delete: ${item.title}`);

    // For a mouse, anywhere on it; for a keyboard there is the button.
    row.onclick = (event) => {
      if (!event.target.closest("a, button")) this.#markRead(item.id); // in braces: a handler that returns false would keep links from leading anywhere
    };
    row.append(
      make("span", { className: "inbox-icon" }, icon(type)),
      make("div", { className: "inbox-body" }, title, ...this.#makeMessage(item), ...this.#makeImage(item), ...this.#makeLinks(item), meta),
      make("div", { className: "inbox-actions" }, read, remove),
    );
    return row;
  }

  /** Plain text is a paragraph; rich text may hold paragraphs and lists of its own. A long one is folded. */
  #makeMessage(item) {
    const isRich = item.format === "rich";
    const message = isRich ? make("div", { className: "inbox-message is-rich" }, richNodes(item.message)) : make("p", { className: "inbox-message", textContent: item.message });
    for (const link of message.querySelectorAll("a")) link.addEventListener("click", () => this.#markRead(item.id));
    const isShort = message.textContent.length <= SHORT_CHARACTERS && item.message.split("\n").length <= SHORT_LINES;
    return isShort ? [message] : [message, this.#makeFold(message)];
  }

  #makeFold(message) {
    const button = make("button", { type: "button", className: "inbox-link" });
    const fold = (isFolded) => {
      message.classList.toggle("is-folded", isFolded);
      button.textContent = isFolded ? "Show all" : "Show less";
      button.setAttribute("aria-expanded", String(!isFolded));
    };
    button.onclick = () => fold(!message.classList.contains("is-folded"));
    fold(true);
    return button;
  }

  /** The page's Content-Security-Policy says which images may be loaded; what isn't leaves no gap. */
  #makeImage(item) {
    const src = safeLink(item.image);
    if (!src) return [];
    const image = make("img", { className: "inbox-image", src, alt: "", loading: "lazy", referrerPolicy: "no-referrer" });
    image.onerror = () => image.remove();
    return [image];
  }

  /** What can be done about it: links that the producer named. */
  #makeLinks(item) {
    const links = (item.actions ?? []).filter(({ link }) => safeLink(link)).map(({ label, link }) => this.#makeLink(item, safeLink(link), label));
    return links.length ? [make("p", { className: "inbox-links" }, ...links)] : [];
  }

  #makeTitle(item) {
    const href = safeLink(item.link);
    return href ? this.#makeLink(item, href, item.title) : make("span", { textContent: item.title });
  }

  #makeLink(item, href, text) {
    const link = make("a", { href, textContent: text, onclick: () => this.#markRead(item.id) });
    if (new URL(href).origin !== location.origin) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
    return link;
  }

  #drawRow(row, item) {
    const unread = !item.is_read;
    row.classList.toggle("is-new", this.#new.has(item.id));
    row.querySelector("time").textContent = relativeTime(item.created_at);
    if (row.dataset.unread === String(unread)) return;
    row.dataset.unread = String(unread);
    const title = row.querySelector(".inbox-title");
    title.querySelector(".visually-hidden")?.remove();
    if (unread) title.prepend(make("span", { className: "visually-hidden", textContent: "Unread: " }));
    const read = row.querySelector("button.read");
    if (!unread && document.activeElement === read) row.querySelector("button.delete").focus();
    read.hidden = !unread;
  }

  #drawTimes() {
    for (const row of this.#rows.values()) {
      const time = row.querySelector("time");
      time.textContent = relativeTime(time.dateTime);
    }
  }

  #markRead(id) {
    const item = this.#store.items.find((candidate) => candidate.id === id);
    if (item && !item.is_read) this.#store.markRead(id);
  }

  /** Clearing can't be undone: the same button asks once more. */
  #confirmClear() {
    const button = this.#parts.clearAll;
    const back = () => {
      delete button.dataset.asking;
      button.textContent = "Clear all";
    };
    if (button.dataset.asking) {
      back();
      this.#store.clearAll();
      return;
    }
    button.dataset.asking = "true";
    button.textContent = "Really clear?";
    setTimeout(back, CONFIRM_MILLISECONDS);
  }

  #arrived(item) {
    this.#new.add(item.id);
    setTimeout(() => {
      this.#new.delete(item.id);
      this.#rows.get(item.id)?.classList.remove("is-new");
    }, NEW_MILLISECONDS);
    this.#announced.push(item);
  }

  #announce() {
    if (this.#announced.length === 0) return;
    const [first, ...others] = this.#announced.splice(0);
    const what = others.length ? `${others.length + 1} new notifications` : `New notification, ${typeLabel(first.notification_type)}: ${first.title}`;
    this.#parts.announcer.textContent = `${this.heading}: ${what}`;
  }

  #noteSeen(entries) {
    for (const { isIntersecting, target } of entries) {
      const id = Number(target.dataset.id);
      if (!isIntersecting || this.#seen.has(id)) continue;
      this.#seen.add(id);
      this.#seenWaiting.push(id);
    }
  }

  /** Only what a visible page showed has been seen, and only a live connection can say so. */
  #sendSeen() {
    if (document.hidden || this.#store.client.status !== "live" || this.#seenWaiting.length === 0) return;
    this.#store.client.seen(this.#seenWaiting.splice(0));
  }
}

customElements.define("notification-inbox", NotificationInbox);
