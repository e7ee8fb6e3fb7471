/**
 * The demonstration page: four people of the demonstration company, each with a client, a store and an
 * inbox of their own, and the form that sends events.
 *
 * Who they are comes from /api/demo/, which answers on this machine only; their tokens live for an hour
 * and are asked for again when they run out.
 */

import { ApiError, NotificationApi } from "./api.js";
import { NotificationClient } from "./client.js";
import { Composer } from "./composer.js";
import { make } from "./dom.js";
import "./inbox.js";
import { InboxStore } from "./store.js";

const ROLE_LABELS = { stagiaire: "Stagiaire", tuteur: "Tuteur", rh: "RH", admin: "Admin" };
/** The tokens live for 60 minutes. */
const TOKENS_KEPT_MILLISECONDS = 50 * 60 * 1000;

/** The answer of /api/demo/, kept until its tokens are about to run out, asked for by one call at a time. */
class DemoIdentity {
  #answer = null;
  #askedAt = 0;

  get(fresh = false) {
    const age = Date.now() - this.#askedAt;
    // Four people refused at the same moment ask once.
    if (!this.#answer || age > TOKENS_KEPT_MILLISECONDS || (fresh && age > 5_000)) {
      this.#askedAt = Date.now();
      this.#answer = this.#ask();
      this.#answer.catch(() => (this.#answer = null));
    }
    return this.#answer;
  }

  async #ask() {
    const response = await fetch("/api/demo/", { cache: "no-store" }).catch(() => {
      throw new ApiError("The server cannot be reached.");
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const error = new ApiError(answer.error?.message ?? `The server answered ${response.status}.`, { status: response.status });
    error.permanent = response.status === 403 || response.status === 404;
    throw error;
  }

  async token(role, fresh) {
    const { people } = await this.get(fresh);
    return people.find((person) => person.role === role).token;
  }

  async senderToken(fresh) {
    return (await this.get(fresh)).sender_token;
  }
}

function makeInbox(identity, person, arrivals) {
  const client = new NotificationClient({ getCredentials: async () => ({ token: await identity.token(person.role) }) });
  const api = new NotificationApi({ getToken: (refused) => identity.token(person.role, refused) });
  const store = new InboxStore({ client, api });
  store.addEventListener("arrived", ({ detail }) => arrivals.note(detail.id, person));
  const inbox = make("notification-inbox", { heading: ROLE_LABELS[person.role] ?? person.role, subheading: `${person.name} · user_${person.id}` });
  inbox.dataset.role = person.role;
  inbox.store = store;
  return inbox;
}

/** Who of the four has got which event, and when. */
class Arrivals extends EventTarget {
  #byEvent = new Map();

  note(eventId, person) {
    const people = this.#byEvent.get(eventId) ?? [];
    people.push({ person, at: performance.now() });
    this.#byEvent.set(eventId, people);
    if (this.#byEvent.size > 100) this.#byEvent.delete(this.#byEvent.keys().next().value);
    this.dispatchEvent(new CustomEvent("arrival", { detail: eventId }));
  }

  of(eventId) {
    return this.#byEvent.get(eventId) ?? [];
  }
}

async function start() {
  const inboxes = document.querySelector("#inboxes");
  const identity = new DemoIdentity();
  try {
    const company = await identity.get();
    const arrivals = new Arrivals();
    const api = new NotificationApi({ getToken: (refused) => identity.senderToken(refused) });
    new Composer({ form: document.querySelector("#composer"), company, api, arrivals });
    inboxes.replaceChildren(...company.people.map((person) => makeInbox(identity, person, arrivals)));
  } catch (error) {
    const retry = make("button", { type: "button", className: "sample", textContent: "Try again", onclick: start });
    inboxes.replaceChildren(make("p", { className: "notice", textContent: `${error.message} ` }, retry));
  }
}

start();
