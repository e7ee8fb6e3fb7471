/**
 * One person's notifications in a page: the list, the unread count, and what the person does with them.
 *
 * What the server said (`#items`, `#unread`) is kept apart from what the person has just asked for
 * (`#pending`): what is shown is the first with the second laid over it. So an action shows at once, and
 * when the server refuses it, dropping it is the whole roll back.
 *
 * Guarantees: no notification twice; after a lost connection, list and count are those of the server
 * again, and without any they are at most half a minute old; counts never go back to an older one.
 * Never: touches the page. It says "change" and "arrived" (detail: the notification), and a view shows it.
 * A view may as well `subscribe` and take `getSnapshot`, the two functions of React's useSyncExternalStore.
 */

const PAGE_SIZE = 20;
/** Reloading takes along what was loaded by hand, up to the API's largest page. */
const LARGEST_PAGE_SIZE = 100;
/** A page left open for weeks keeps this many; "load more" brings the rest back. */
const KEPT_ITEMS = 300;
/** Without a live connection by then, the list is loaded all the same … */
const PATIENCE_SECONDS = 3;
/** … and again so often, as long as there is none: a proxy may let no WebSocket through at all. */
const FALLBACK_SECONDS = 30;
/** After a gateway's restart all its browsers reconcile: spread over this time. */
const RECONCILE_SPREAD_SECONDS = 2;
const RECONCILE_PAUSE_SECONDS = 0.5;

export class InboxStore extends EventTarget {
  client;
  /** Why the list could not be loaded, or why the last action was refused; empty when all is well. */
  loadError = "";
  actionError = "";
  isLoading = false;
  isLoaded = false;

  #api;
  #items = new Map(); // id → notification, as the server has them
  #unread = 0;
  #version = 0;
  #pending = new Set();
  #next = null;
  #generation = 0; // of the list: an answer to an older question is dropped
  #arrived = []; // while a load is under way
  #changedWhileLoading = false;
  #snapshot = null; // what getSnapshot gives, until something changes
  #timers = {};

  /** @param {{client: import("./client.js").NotificationClient, api: import("./api.js").NotificationApi}} parts */
  constructor({ client, api }) {
    super();
    this.client = client;
    this.#api = api;
    client.addEventListener("connected", ({ detail }) => this.#onConnected(detail));
    client.addEventListener("state", ({ detail }) => this.#onState(detail));
    client.addEventListener("resumed", () => this.#soon("reconcile", Math.random() * RECONCILE_SPREAD_SECONDS));
    client.addEventListener("reset", () => this.#soon("reconcile", 0));
    client.addEventListener("status", () => this.#changed());
    for (const type of ["notification", "role_notification", "system_message"]) {
      client.addEventListener(type, ({ detail }) => this.#onNotification(detail));
    }
  }

  start() {
    this.client.connect();
    this.#soon("patience", PATIENCE_SECONDS);
    clearInterval(this.#timers.fallback);
    this.#timers.fallback = setInterval(() => this.#isCutOff() && this.load(), FALLBACK_SECONDS * 1000);
  }

  stop() {
    for (const name in this.#timers) clearTimeout(this.#timers[name]); // ends an interval, too
    this.client.close();
  }

  /** Call `listener` at every change; returns the function that ends it. */
  subscribe = (listener) => {
    const heard = () => listener(); // of its own, so that a listener may subscribe twice
    this.addEventListener("change", heard);
    return () => this.removeEventListener("change", heard);
  };

  /** {notifications, unreadCount}: what is shown; the same object until the next change. */
  getSnapshot = () => (this.#snapshot ??= { notifications: this.items, unreadCount: this.unread });

  /** What is shown, newest first. */
  get items() {
    const shown = [];
    for (const item of this.#items.values()) {
      if (this.#isPending("hides", item)) continue;
      shown.push(!item.is_read && this.#isPending("reads", item) ? { ...item, is_read: true } : item);
    }
    return shown.sort((a, b) => b.id - a.id);
  }

  get unread() {
    const everything = [...this.#pending].find((action) => action.everything);
    if (everything) return this.items.filter((item) => !item.is_read).length;
    let touched = 0;
    for (const item of this.#items.values()) {
      if (!item.is_read && (this.#isPending("hides", item) || this.#isPending("reads", item))) touched++;
    }
    return Math.max(0, this.#unread - touched);
  }

  get hasMore() {
    return this.#next !== null && ![...this.#pending].some((action) => action.empties);
  }

  markRead(id) {
    const reads = (item) => item.id === id;
    return this.#perform({ says: "Marking as read", reads, call: () => this.#api.markRead(id) });
  }

  markAllRead() {
    const reads = this.#upToNow();
    return this.#perform({ says: "Marking all as read", reads, everything: true, call: () => this.#api.markAllRead() });
  }

  delete(id) {
    const hides = (item) => item.id === id;
    return this.#perform({ says: "Deleting", hides, goneIsFine: true, call: () => this.#api.delete(id) });
  }

  clearAll() {
    const hides = this.#upToNow();
    return this.#perform({ says: "Clearing", hides, everything: true, empties: true, call: () => this.#api.clearAll() });
  }

  /** Load the newest notifications, and again what had been loaded beyond them. */
  async load() {
    const generation = ++this.#generation;
    clearTimeout(this.#timers.patience);
    this.#arrived = [];
    this.#changedWhileLoading = false;
    this.isLoading = true;
    this.#changed();
    try {
      const pageSize = Math.min(Math.max(this.#items.size, PAGE_SIZE), LARGEST_PAGE_SIZE);
      const [page, count] = await Promise.all([this.#api.list({ pageSize }), this.#api.unreadCount()]);
      if (generation !== this.#generation) return;
      this.#items = new Map(page.results.map((item) => [item.id, item]));
      this.#next = page.next;
      this.#takeCount(count);
      for (const item of this.#arrived) if (!this.#items.has(item.id)) this.#items.set(item.id, item);
      this.isLoaded = true;
      this.loadError = "";
      // The answer may be older than what was read or deleted meanwhile.
      if (this.#changedWhileLoading) this.#soon("reconcile", 0);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.loadError = error.message;
    }
    this.isLoading = false;
    this.#changed();
  }

  async loadMore() {
    if (this.isLoading || this.#next === null) return;
    const generation = this.#generation;
    this.isLoading = true;
    this.#changed();
    try {
      const page = await this.#api.list({ next: this.#next, pageSize: PAGE_SIZE });
      if (generation !== this.#generation) return;
      for (const item of page.results) if (!this.#items.has(item.id)) this.#items.set(item.id, item);
      this.#next = page.next;
      this.actionError = "";
    } catch (error) {
      if (generation !== this.#generation) return;
      this.actionError = `Loading more failed: ${error.message}`;
    }
    this.isLoading = false;
    this.#changed();
  }

  #onConnected(frame) {
    this.#takeCount(frame);
    // With a cursor the missed ones follow as frames, and `resumed` reconciles.
    if (!frame.resuming) this.load();
    else this.#changed();
  }

  #onNotification({ notification, resuming }) {
    if (this.isLoading) this.#arrived.push(notification);
    if (this.#items.has(notification.id)) return;
    this.#items.set(notification.id, notification);
    // A guess that shows at once; the gateway's own count follows within the second, as a `state` frame.
    if (!notification.is_read && !resuming) this.#unread++;
    if (this.#items.size > KEPT_ITEMS) this.#soon("reconcile", RECONCILE_PAUSE_SECONDS);
    this.dispatchEvent(new CustomEvent("arrived", { detail: notification }));
    this.#changed();
  }

  #onState(frame) {
    if (this.isLoading) this.#changedWhileLoading = true;
    for (const id of frame.read ?? []) this.#setRead(id);
    for (const id of frame.deleted ?? []) this.#items.delete(id);
    if (frame.all_read) for (const id of this.#items.keys()) this.#setRead(id);
    if (frame.cleared) {
      this.#items.clear();
      this.#next = null;
    }
    this.#takeCount(frame);
    // Something came between the server's reading and its telling: this view has swallowed it.
    if ((frame.all_read || frame.cleared) && this.#unread > 0) this.#soon("reconcile", RECONCILE_PAUSE_SECONDS);
    this.#changed();
  }

  /** Show at once what `action` does, ask the server, and keep it or take it back. */
  async #perform(action) {
    this.#pending.add(action);
    this.#changed();
    try {
      const answer = await action.call();
      this.#commit(action, answer);
      this.actionError = "";
      return true;
    } catch (error) {
      if (action.goneIsFine && error.status === 404) this.#commit(action, {});
      else this.actionError = `${action.says} failed: ${error.message}`;
      return false;
    } finally {
      this.#pending.delete(action);
      this.#changed();
    }
  }

  #commit(action, answer) {
    if (this.isLoading) this.#changedWhileLoading = true;
    for (const item of [...this.#items.values()]) {
      const hidden = action.hides?.(item);
      if (!hidden && !action.reads?.(item)) continue;
      // A `state` frame that came first has already read it, and has counted it.
      if (!item.is_read) this.#unread = Math.max(0, this.#unread - 1);
      if (hidden) this.#items.delete(item.id);
      else this.#setRead(item.id);
    }
    if (action.everything) this.#unread = [...this.#items.values()].filter((item) => !item.is_read).length;
    if (action.empties) this.#next = null;
    this.#takeCount(answer);
  }

  #setRead(id) {
    const item = this.#items.get(id);
    if (item && !item.is_read) this.#items.set(id, { ...item, is_read: true });
  }

  /** What arrives after the click was not meant by it. */
  #upToNow() {
    const newest = Math.max(0, ...this.#items.keys());
    return (item) => item.id <= newest;
  }

  #isPending(effect, item) {
    for (const action of this.#pending) if (action[effect]?.(item)) return true;
    return false;
  }

  #takeCount({ unread_count: count, version }) {
    if (count === undefined || version < this.#version) return;
    this.#unread = count;
    this.#version = version ?? this.#version;
  }

  /** Load after a while; asked for again meanwhile, once. */
  #soon(why, seconds) {
    clearTimeout(this.#timers[why]);
    this.#timers[why] = setTimeout(() => this.load(), seconds * 1000);
  }

  /** Not live, and trying: whoever was refused for good has nothing to ask for. */
  #isCutOff() {
    return this.client.status === "connecting" || this.client.status === "waiting";
  }

  #changed() {
    this.#snapshot = null;
    this.dispatchEvent(new Event("change"));
  }
}
