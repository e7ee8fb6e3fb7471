// Shows /api/openapi.json. Text is only ever set as text.

const METHODS = ["get", "post", "put", "patch", "delete"];

/** An element; backticks in its text stand round code. */
function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.append(...words(String(text)));
  made.append(...children);
  return made;
}

function words(text) {
  return text.split(/(`[^`]+`)/).filter(Boolean).map((part) => (/^`[^`]+`$/.test(part) ? literal("code", part.slice(1, -1)) : part));
}

function literal(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function example(value) {
  return literal("pre", typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function table(rows) {
  const cell = (content) => (content instanceof Node ? element("td", null, content) : element("td", content));
  return element("table", null, ...rows.map((cells) => element("tr", null, ...cells.map(cell))));
}

function resolved(api, node) {
  if (!node || !node.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((found, key) => found[key], api);
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map(String).join(" · ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.items) return `list of ${kind(schema.items)}`;
  if (schema.additionalProperties?.$ref || schema.additionalProperties?.type) return `object of ${kind(schema.additionalProperties)}`;
  return [schema.type ?? "anything"].flat().join(" or ");
}

/** The name of the model that a field holds, one or many. */
function model(schema) {
  if (!schema || typeof schema !== "object") return null;
  return schema.$ref ?? model(schema.items) ?? model(schema.additionalProperties) ?? (schema.anyOf ?? []).map(model).find(Boolean) ?? null;
}

/** The fields of a model, those of models in it below them, indented by dots. */
function fields(api, schema, prefix = "", seen = []) {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const inner = model(field);
    const many = field.items || field.anyOf?.some((one) => one.items) ? "[]" : field.additionalProperties ? ".*" : "";
    const below = inner && !seen.includes(inner) ? fields(api, resolved(api, { $ref: inner }), `${prefix}${name}${many}.`, [...seen, inner]) : [];
    return [[prefix + name, kind(field), field.description ?? ""], ...below];
  });
}

function section(title, ...content) {
  return [literal("h3", title), ...content];
}

function door(api, path, method, operation) {
  const summary = element("summary", null, literal("b", method.toUpperCase()), `${path} `, element("span", operation.summary));
  const body = element("div");
  body.className = "door";
  for (const paragraph of operation.description.split("\n\n")) {
    const said = element("p", paragraph);
    said.className = "soft";
    body.append(said);
  }
  if (operation.parameters.length) {
    body.append(...section("Parameters", table(operation.parameters.map((one) => [one.name, one.in, one.description]))));
  }
  const request = operation.requestBody?.content["application/json"];
  if (request) {
    const rows = Object.entries(request.schema.properties).map(([name, field]) => {
      const must = request.schema.required?.includes(name) ? " (required)" : "";
      return [name + must, kind(field), field.description];
    });
    body.append(...section("Body", table(rows), example(request.example)));
  }
  const refusals = [];
  for (const [status, reference] of Object.entries(operation.responses)) {
    const answer = resolved(api, reference);
    const [type, content] = Object.entries(answer.content)[0];
    if (status < 300) {
      body.append(...section(`${status} ${type}`, table(fields(api, resolved(api, content.schema))), example(content.example)));
    } else {
      refusals.push([status, Object.keys(content.examples).join(", "), answer.description]);
    }
  }
  const errors = table(refusals);
  errors.className = "errors";
  body.append(...section("Errors", errors));
  const made = element("details", null, summary, body);
  made.dataset.words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  return made;
}

function search(main, text) {
  const wanted = text.toLowerCase().split(/\s+/);
  for (const one of main.querySelectorAll("details")) one.hidden = !wanted.every((word) => one.dataset.words.includes(word));
  for (const group of main.children) group.hidden = !group.querySelector("details:not([hidden])");
  const nothing = document.getElementById("nothing");
  nothing.hidden = main.querySelector("details:not([hidden])") !== null;
  nothing.textContent = nothing.hidden ? "" : `Nothing here has “${text.trim()}” in its path or words.`;
}

async function show() {
  const api = await (await fetch("/api/openapi.json")).json();
  const groups = new Map(api.tags.map(({ name }) => [name, element("section", null, literal("h2", name))]));
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      const operation = operations[method];
      if (operation) groups.get(operation.tags[0]).append(door(api, path, method, operation));
    }
  }
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").replaceChildren(...api.info.description.split("\n\n").map((text) => element("p", text)));
  const main = document.getElementById("doors");
  main.replaceChildren(...groups.values());
  const field = document.getElementById("search");
  field.addEventListener("input", () => search(main, field.value));
  if (field.value) search(main, field.value); // typed while it loaded, or kept by the browser
}

show().catch((error) => {
  document.getElementById("doors").replaceChildren(literal("p", `The document can't be loaded: ${error.message}`));
});
