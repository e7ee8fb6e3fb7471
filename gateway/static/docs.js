// Shows /api/openapi.json. Text is only ever set as text.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function code(value) {
  return element("pre", typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function table(rows) {
  return element("table", null, ...rows.map((cells) => element("tr", null, ...cells.map((cell) => element("td", cell)))));
}

function resolved(api, node) {
  if (!node || !node.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((found, key) => found[key], api);
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.join(" · ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.items) return `list of ${kind(schema.items)}`;
  return [schema.type ?? "anything"].flat().filter((type) => type !== "null").join(" or ");
}

function section(title, ...content) {
  return [element("h3", title), ...content];
}

function door(api, path, method, operation) {
  const summary = element("summary", null, element("b", method.toUpperCase()), `${path} `, element("span", operation.summary));
  const body = element("div");
  body.className = "door";
  const said = element("p", operation.description);
  said.className = "soft";
  body.append(said);
  if (operation.parameters.length) {
    body.append(...section("Parameters", table(operation.parameters.map((one) => [one.name, one.in, one.description]))));
  }
  const request = operation.requestBody?.content["application/json"];
  if (request) {
    const fields = Object.entries(request.schema.properties).map(([name, field]) => {
      const must = request.schema.required?.includes(name) ? " (required)" : "";
      return [name + must, kind(field), field.description];
    });
    body.append(...section("Body", table(fields), code(request.example)));
  }
  for (const [status, reference] of Object.entries(operation.responses)) {
    const answer = resolved(api, reference);
    const [type, content] = Object.entries(answer.content)[0];
    if (status < 300) {
      const schema = resolved(api, content.schema);
      const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => [name, kind(field)]);
      body.append(...section(`${status} ${type}`, table(fields), code(content.example)));
    } else {
      const codes = Object.keys(content.examples).join(", ");
      body.append(table([[status, codes, answer.description]]));
    }
  }
  const made = element("details", null, summary, body);
  made.dataset.words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  return made;
}

async function show() {
  const api = await (await fetch("/api/openapi.json")).json();
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      const operation = operations[method];
      if (!operation) continue;
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, element("section", null, element("h2", tag)));
      groups.get(tag).append(door(api, path, method, operation));
    }
  }
  const main = document.getElementById("doors");
  main.replaceChildren(...groups.values());
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const one of main.querySelectorAll("details")) one.hidden = !words.every((word) => one.dataset.words.includes(word));
    for (const group of main.children) group.hidden = !group.querySelector("details:not([hidden])");
  });
}

show().catch((error) => {
  document.getElementById("doors").replaceChildren(element("p", `The document can't be loaded: ${error.message}`));
});
