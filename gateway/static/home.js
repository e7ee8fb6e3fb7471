/**
 * The plain page: the inbox of the person whose session cookie is present, if there is one.
 */

import { NotificationApi } from "./api.js";
import { NotificationClient } from "./client.js";
import { make } from "./dom.js";
import "./inbox.js";
import { InboxStore } from "./store.js";

async function start() {
  const response = await fetch("/api/session/", { cache: "no-store" });
  if (!response.ok) return;
  const answer = await response.json();
  const inbox = make("notification-inbox", { heading: answer.user?.name || "Your notifications" });
  inbox.store = new InboxStore({ client: new NotificationClient(), api: new NotificationApi() });
  document.querySelector("#inbox").replaceChildren(inbox);
}

start();
