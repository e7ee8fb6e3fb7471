/**
 * The form of the demonstration page: to whom, which words, send; then who of the people shown got it.
 *
 * It sends through the public REST API, as any other service would. What the API refuses is shown at the
 * field it names.
 */

import { make } from "./dom.js";

/** Each fills the form; `target` is a kind of audience, `roles` the ticked ones. */
const SAMPLES = [
  { label: "New internship offer", target: "roles", roles: ["stagiaire"], type: "info", category: "STAGE_UPDATE", title: "Nouvelle offre de stage", message: "Développeur web chez Novatis, Lyon, à partir de février." },
  { label: "Report uploaded", target: "roles", roles: ["tuteur", "rh"], type: "info", category: "DOCUMENT_UPLOAD", title: "Rapport PFE déposé", message: "La version finale attend votre relecture." },
  { label: "Document approved", target: "stage", type: "success", category: "DOCUMENT_UPLOAD", title: "Document approuvé", message: "La convention de stage est signée par toutes les parties." },
  { label: "KPI alert", target: "roles", roles: ["tuteur", "rh"], type: "warning", category: "KPI_ALERT", title: "KPI en dessous du seuil", message: "Le suivi hebdomadaire est à 62\u00a0%, pour un seuil de 75\u00a0%." },
  { label: "Evaluation due", target: "person", type: "warning", category: "EVALUATION", title: "Évaluation à compléter", message: "L'évaluation de mi-stage est attendue vendredi." },
  { label: "Import failed", target: "roles", roles: ["admin"], type: "error", category: "SYSTEM", title: "Import des conventions interrompu", message: "3 fichiers sur 48 sont illisibles." },
  { label: "Maintenance", target: "everyone", type: "info", category: "SYSTEM", title: "Maintenance ce soir", message: "StageBloom sera indisponible de 22\u00a0h à 22\u00a0h\u00a030." },
];

/** What the API calls a field, and which input of the form it is. */
const INPUTS = { target_roles: "roles", audience: "target", title: "title", message: "message", notification_type: "notification_type" };

export class Composer {
  #form;
  #api;
  #arrivals;
  #company;
  #category; // the example's; none once the title is someone's own
  #sent = null; // {eventId, to, at}: the last one, whose arrivals are counted

  constructor({ form, company, api, arrivals }) {
    this.#form = form;
    this.#api = api;
    this.#arrivals = arrivals;
    this.#company = company;
    this.#fill();
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    form.onchange = () => this.#showTarget();
    this.#input("title").oninput = () => (this.#category = undefined);
    arrivals.addEventListener("arrival", ({ detail }) => detail === this.#sent?.eventId && this.#showSent());
    this.#apply(SAMPLES[0]);
  }

  #fill() {
    const { roles, stages, people } = this.#company;
    const boxes = roles.map((role) => make("label", {}, make("input", { type: "checkbox", name: "roles", value: role }), make("span", { textContent: role })));
    this.#part("roles").replaceChildren(this.#part("roles").querySelector("legend"), ...boxes);
    this.#input("stage").replaceChildren(...stages.map((stage) => make("option", { value: `stage_${stage.id}`, textContent: stage.label })));
    this.#input("person").replaceChildren(...people.map((person) => make("option", { value: `user_${person.id}`, textContent: `${person.name} (${person.role})` })));
    this.#form.querySelector('input[value="stage"]').disabled = stages.length === 0;
    const samples = SAMPLES.filter((sample) => sample.target !== "stage" || stages.length);
    this.#form
      .querySelector("#samples")
      .replaceChildren(...samples.map((sample) => make("button", { type: "button", className: "sample", textContent: sample.label, onclick: () => this.#apply(sample) })));
  }

  #apply(sample) {
    this.#form.elements.target.value = sample.target;
    for (const box of this.#roleBoxes()) box.checked = (sample.roles ?? []).includes(box.value);
    this.#input("title").value = sample.title;
    this.#input("message").value = sample.message;
    this.#input("notification_type").value = sample.type;
    this.#category = sample.category;
    this.#markInvalid(null);
    this.#showTarget();
  }

  #showTarget() {
    const target = this.#form.elements.target.value;
    for (const part of this.#form.querySelectorAll("[data-target]")) part.hidden = part.dataset.target !== target;
  }

  async #send() {
    const { call, to } = this.#question();
    const button = this.#form.querySelector("#send");
    button.disabled = true;
    this.#markInvalid(null);
    try {
      const at = performance.now();
      const { event_id: eventId } = await call();
      this.#sent = { eventId, to, at };
      this.#showSent();
    } catch (error) {
      this.#sent = null;
      this.#markInvalid(error.details?.field);
      this.#say("error", `Not sent. ${error.message}`);
    } finally {
      button.disabled = false;
    }
  }

  /** What the form asks for: the call, and the audience in words. */
  #question() {
    const words = {
      title: this.#input("title").value,
      message: this.#input("message").value,
      notification_type: this.#input("notification_type").value,
      category: this.#category,
    };
    const target = this.#form.elements.target.value;
    if (target === "everyone") return { call: () => this.#api.sendBroadcast(words), to: "everyone" };
    if (target === "roles") {
      const roles = this.#roleBoxes().filter((box) => box.checked).map((box) => box.value);
      return { call: () => this.#api.sendRoleNotification({ ...words, target_roles: roles }), to: roles.join(", ") };
    }
    const term = this.#input(target).value;
    return { call: () => this.#api.sendRoleNotification({ ...words, audience: [term] }), to: term };
  }

  #showSent() {
    const { eventId, to, at } = this.#sent;
    const arrived = this.#arrivals.of(eventId);
    const text = `Sent: event ${eventId} → ${to}.`;
    if (arrived.length === 0) return this.#say("sent", text);
    const milliseconds = Math.round(Math.max(...arrived.map((arrival) => arrival.at)) - at);
    const names = arrived.map(({ person }) => `${person.name} (${person.role})`).join(", ");
    this.#say("sent", `${text} Reached ${names} in ${milliseconds} ms.`);
  }

  #say(kind, text) {
    const result = this.#form.querySelector("#result");
    result.dataset.kind = kind;
    result.textContent = text;
  }

  #markInvalid(field) {
    for (const input of this.#form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    const inputs = field && this.#form.querySelectorAll(`[name="${INPUTS[field.split(/[.[]/)[0]]}"]`);
    for (const input of inputs || []) input.setAttribute("aria-invalid", "true");
    inputs?.[0]?.focus();
  }

  #roleBoxes() {
    return [...this.#form.querySelectorAll('input[name="roles"]')];
  }

  #part(id) {
    return this.#form.querySelector(`#${id}`);
  }

  #input(name) {
    return this.#form.elements[name];
  }
}
