/**
 * The REST side of the browser: what a person does with their notifications, as plain calls.
 *
 * Guarantees: every failure is an ApiError that carries the server's own code, message and details; a
 * call ends within 15 seconds; an expired token is replaced and the call made once more.
 * Never: decides what is shown, or keeps anything.
 */

const DEADLINE_MILLISECONDS = 15_000;
const CSRF_COOKIE = "stagebloom_csrf";

/** What proves that a write by cookie comes from a page of this origin: other sites can't read it. */
function csrfValue() {
  const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
  return cookies.find(([name]) => name === CSRF_COOKIE)?.[1] ?? "";
}

export class ApiError extends Error {
  constructor(message, { status = 0, code = "unreachable", details = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export class NotificationApi {
  #base;
  #getToken;

  /**
   * @param {object} [options]
   * @param {string} [options.base] where the API is; by default /api/notifications/ of this origin
   * @param {(refused: boolean) => Promise<string>} [options.getToken] the bearer token; `refused` asks for a
   *   new one. Absent: the session cookie.
   */
  constructor({ base = "/api/notifications/", getToken } = {}) {
    this.#base = new URL(base, location.href);
    this.#getToken = getToken;
  }

  /** One page of the list, newest first: {results, next}. `next` is what the page before it answered. */
  list({ next, pageSize = 20 } = {}) {
    const url = new URL("notifications/", this.#base);
    url.searchParams.set("page_size", pageSize);
    if (!next) return this.#call("GET", url);
    const following = new URL(next, url);
    // Behind a proxy the gateway may know itself by another name: take the question, not the host.
    if (following.search) url.search = following.search;
    else url.searchParams.set("cursor", next);
    return this.#call("GET", url);
  }

  /** {unread_count, version} */
  unreadCount() {
    return this.#call("GET", "notifications/unread-count/");
  }

  markRead(id) {
    return this.#call("POST", `notifications/${id}/read/`);
  }

  markAllRead() {
    return this.#call("POST", "notifications/mark-all-read/");
  }

  delete(id) {
    return this.#call("DELETE", `notifications/${id}/delete/`);
  }

  clearAll() {
    return this.#call("DELETE", "notifications/clear-all/");
  }

  /** Send to roles, or to any audience: {target_roles | audience, title, message, …} → {event_id}. */
  sendRoleNotification(body) {
    return this.#call("POST", "send-role-notification/", body);
  }

  sendBroadcast(body) {
    return this.#call("POST", "send-broadcast/", body);
  }

  async #call(method, path, body) {
    let response = await this.#fetch(method, path, body, false);
    if (response.status === 401 && this.#getToken) response = await this.#fetch(method, path, body, true);
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer ?? {};
    const { message = `The server answered ${response.status}.`, ...rest } = answer?.error ?? {};
    throw new ApiError(message, { status: response.status, ...rest });
  }

  async #fetch(method, path, body, refused) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      if (this.#getToken) headers.Authorization = `Bearer ${await this.#getToken(refused)}`;
      else if (method !== "GET") headers["X-CSRF-Token"] = csrfValue();
      return await fetch(new URL(path, this.#base), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(DEADLINE_MILLISECONDS),
      });
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError("The server cannot be reached.");
    }
  }
}
