/**
 * The live client: the last step of an event's way, from the gateway's WebSocket into a page.
 *
 * Any application can embed this file alone; it needs no build and no other module.
 *
 *     const client = new NotificationClient({ getCredentials: async () => ({ ticket: await fetchTicket() }) });
 *     client.addEventListener("notification", (event) => show(event.detail.notification));
 *     client.connect();
 *
 * Without `getCredentials` the browser's session cookie says who connects.
 *
 * Guarantees: each notification is handed out once, whatever is sent twice; after a lost connection it
 * comes back by itself and asks for what it missed; an unread count never goes back to an older one.
 * Never: stores anything, touches the page, pauses in a hidden tab, or hammers a gateway in trouble.
 *
 * Events, each a CustomEvent whose `detail` is the frame (frames are described in the documentation):
 *   connected                          who we are, our groups, the unread count; `detail.resuming` says
 *                                      that missed notifications follow, up to `resumed`
 *   notification, role_notification, system_message
 *   state                              what was read or deleted elsewhere, the new count, new groups
 *   resumed                            what was missed has been handed out
 *   reset                              too much was missed: load the list afresh
 *   refused                            the gateway's `error` frame about something we sent
 *   status                             {status, reason, code, retryInSeconds}: connecting, live, waiting, stopped
 */

const FIRST_DELAY_SECONDS = 1;
const LONGEST_DELAY_SECONDS = 30;
const PING_INTERVAL_SECONDS = 30;
const PONG_DEADLINE_SECONDS = 10;
const CONNECT_DEADLINE_SECONDS = 20;
/** A connection that lasted this long was a good one: the next delay starts small again. */
const STABLE_AFTER_SECONDS = 10;
/** The gateway takes this many ids in one frame. */
const IDS_PER_FRAME = 500;
/** More than the gateway ever replays at once (500), so that no replay can outrun the memory. */
const REMEMBERED_IDS = 2000;
const HEARTBEAT_LOST = 4008;

const NOTIFICATION_FRAMES = new Set(["notification", "role_notification", "system_message"]);
/** Standard codes after which coming back makes sense: going away, no status, lost, fault, restart, try later, bad gateway. */
const COME_BACK_CODES = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);
const REASONS = new Map([
  [1000, "closed by the server"],
  [1003, "the server refused a binary message"],
  [1007, "the server refused a malformed message"],
  [1009, "the server refused a message that was too big"],
  [4500, "not signed in in time"],
  [4501, "sign-in refused"],
  [4502, "this address may not connect"],
  [4503, "this account is deactivated"],
  [4504, "too many messages sent"],
  [4505, "too many connections of this account"],
]);

/** Whether a close code asks the browser to come back. */
export function comesBack(code) {
  return COME_BACK_CODES.has(code) || (code >= 4000 && code <= 4499);
}

/** Full jitter: anything from 0 to 1, 2, 4, 8, 16, 30, 30 … seconds, so that browsers come back spread over time. */
export function reconnectDelaySeconds(attempt, random = Math.random) {
  return random() * Math.min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** Math.min(attempt, 10));
}

function defaultUrl() {
  const url = new URL("/ws/notifications/", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

export class NotificationClient extends EventTarget {
  /** The last `connected` frame's person and groups, kept up to date by `state` frames; null before. */
  user = null;
  groups = [];
  status = "stopped";
  reason = "";

  #url;
  #getCredentials;
  #socket = null;
  #try = 0; // which attempt is the current one; an older one's late answers are ignored
  #attempt = 0; // failures in a row
  #live = false; // `connected` has arrived on this socket
  #wanted = false;
  #resuming = false;
  #cursor = null;
  #cursorOfConnection = null;
  #version = 0;
  #ids = new Set(); // in order of arrival
  #timers = {};

  /**
   * @param {object} [options]
   * @param {string} [options.url] address of the WebSocket; by default this origin's /ws/notifications/
   * @param {() => Promise<{ticket: string} | {token: string}>} [options.getCredentials] asked anew before every
   *   connection: a single-use ticket (POST /api/notifications/ticket/) or a bearer token. An error it
   *   throws is tried again later, unless the error has `permanent: true`. Absent: the session cookie.
   */
  constructor({ url = defaultUrl(), getCredentials } = {}) {
    super();
    this.#url = url;
    this.#getCredentials = getCredentials;
  }

  /** Connect, and stay connected until `close()` or until the server says not to come back. */
  connect() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempt = 0;
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
    addEventListener("pageshow", this.#hurry);
    this.#open();
  }

  /** Disconnect for good; `connect()` starts again where it stopped. */
  close() {
    this.#stop("closed", 1000);
  }

  /** Say which notifications have been on screen. */
  seen(ids) {
    this.#sendIds("seen", ids);
  }

  /** Say which notifications have been read; the REST API does the same and tells when it fails. */
  read(ids) {
    this.#sendIds("read", ids);
  }

  #sendIds(type, ids) {
    for (let start = 0; start < ids.length; start += IDS_PER_FRAME) {
      this.#send({ type, ids: ids.slice(start, start + IDS_PER_FRAME) });
    }
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  async #open() {
    this.#clearTimers();
    const current = ++this.#try;
    this.#setStatus("connecting");
    let credentials = null;
    try {
      // Before the socket is opened: the gateway waits only seconds for the first message.
      credentials = this.#getCredentials ? await this.#getCredentials() : null;
    } catch (error) {
      if (current !== this.#try) return;
      if (error.permanent) this.#stop(error.message);
      else this.#comeBackLater(error.message);
      return;
    }
    if (current !== this.#try || !this.#wanted) return;

    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#timer("connect", CONNECT_DEADLINE_SECONDS, () => this.#lost(HEARTBEAT_LOST, "no answer"));
    socket.onopen = () => credentials && this.#send({ type: "authenticate", ...credentials });
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  #receive(text) {
    clearTimeout(this.#timers.pong); // whatever arrives proves that the line is alive
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // the next pong or reconnect brings what it may have held
    }
    if (NOTIFICATION_FRAMES.has(frame.type)) this.#onNotification(frame);
    else if (frame.type === "connected") this.#onConnected(frame);
    else if (frame.type === "state") this.#onState(frame);
    else if (frame.type === "pong") this.#onPong(frame);
    else if (frame.type === "resumed") this.#onResumed(frame);
    else if (frame.type === "reset") this.#onReset(frame);
    else if (frame.type === "error") this.#emit("refused", frame);
  }

  #onConnected(frame) {
    clearTimeout(this.#timers.connect);
    const otherPerson = this.user !== null && this.user.id !== frame.user.id;
    this.#live = true;
    this.user = frame.user;
    this.groups = frame.groups;
    if (otherPerson) {
      this.#version = 0;
      this.#cursor = null;
      this.#ids.clear();
    }
    this.#cursorOfConnection = frame.cursor;
    this.#resuming = this.#cursor !== null;
    if (this.#resuming) this.#send({ type: "resume", cursor: this.#cursor, have: [...this.#ids].slice(-IDS_PER_FRAME) });
    else this.#cursor = frame.cursor;
    this.#timer("stable", STABLE_AFTER_SECONDS, () => (this.#attempt = 0));
    this.#timer("ping", PING_INTERVAL_SECONDS, () => this.#ping());
    this.#setStatus("live");
    this.#emit("connected", this.#withoutOldCount({ ...frame, resuming: this.#resuming }));
    if (otherPerson) this.#emit("reset", { type: "reset", reason: "another person is signed in" });
  }

  #onNotification(frame) {
    const { id } = frame.notification;
    if (this.#ids.has(id)) return;
    this.#ids.add(id);
    if (this.#ids.size > REMEMBERED_IDS) this.#ids.delete(this.#ids.values().next().value);
    this.#emit(frame.type, { ...frame, resuming: this.#resuming });
  }

  #onState(frame) {
    if (frame.groups) this.groups = frame.groups;
    if (frame.user) this.user = frame.user;
    this.#emit("state", this.#withoutOldCount(frame));
  }

  #onPong(frame) {
    // Until the replay is complete the old cursor is the only one that misses nothing.
    if (frame.cursor && !this.#resuming) this.#cursor = frame.cursor;
  }

  #onResumed(frame) {
    this.#resuming = false;
    this.#cursor = frame.cursor ?? this.#cursorOfConnection;
    this.#emit("resumed", frame);
  }

  #onReset(frame) {
    this.#resuming = false;
    this.#cursor = this.#cursorOfConnection;
    this.#ids.clear();
    this.#emit("reset", frame);
  }

  /** Frames can overtake each other: what was read stays read, but an older count is not the count. */
  #withoutOldCount(frame) {
    if (frame.version === undefined) return frame;
    if (frame.version >= this.#version) {
      this.#version = frame.version;
      return frame;
    }
    const { unread_count: _count, version: _version, ...rest } = frame;
    return rest;
  }

  #ping() {
    this.#send({ type: "ping" });
    this.#timer("pong", PONG_DEADLINE_SECONDS, () => this.#lost(HEARTBEAT_LOST, "no answer"));
    this.#timer("ping", PING_INTERVAL_SECONDS, () => this.#ping());
  }

  /** Back online, awake or visible: connect at once, or make sure at once that the line still stands. */
  #hurry = (event) => {
    if (event.type === "visibilitychange" && document.hidden) return;
    if (this.status === "waiting") this.#open();
    else if (this.#live) this.#ping();
  };

  #lost(code, reason) {
    this.#dropSocket();
    if (!this.#wanted) return;
    if (comesBack(code)) this.#comeBackLater(reason || "connection lost", code);
    else this.#stop(REASONS.get(code) ?? (reason || `closed with code ${code}`), code);
  }

  #comeBackLater(reason, code) {
    const delaySeconds = reconnectDelaySeconds(this.#attempt++);
    this.#clearTimers();
    this.#timer("reconnect", delaySeconds, () => this.#open());
    this.#setStatus("waiting", { reason, code, retryInSeconds: delaySeconds });
  }

  #stop(reason, code) {
    this.#wanted = false;
    this.#try++;
    this.#clearTimers();
    this.#dropSocket();
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    removeEventListener("pageshow", this.#hurry);
    this.#setStatus("stopped", { reason, code });
  }

  /** Let go without waiting for the peer: on a dead line a browser reports the close only after a minute. */
  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    this.#live = false;
    this.#resuming = false;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #setStatus(status, details = {}) {
    this.status = status;
    this.reason = details.reason ?? "";
    this.#emit("status", { status, reason: "", ...details });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #timer(name, seconds, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, seconds * 1000);
  }

  #clearTimers() {
    for (const name in this.#timers) clearTimeout(this.#timers[name]);
  }
}
