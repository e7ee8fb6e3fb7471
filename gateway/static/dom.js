/**
 * Making elements. Text goes in as text, never as markup: that is why nothing a producer writes can run.
 */

const SVG = "http://www.w3.org/2000/svg";

/** 24 × 24 line icons, each told apart by its shape and not only by its colour. */
const ICONS = {
  info: ["M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18", "M12 11v5.5", "M12 7.5v.01"],
  success: ["M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18", "M8 12.5l2.8 2.8L16 9.5"],
  warning: ["M12 3.5L22 20.5H2z", "M12 10v4.5", "M12 17.4v.01"],
  error: ["M8 3h8l5 5v8l-5 5H8l-5-5V8z", "M9 9l6 6", "M15 9l-6 6"],
  check: ["M4.5 12.5l5 5L19.5 7"],
  trash: ["M4 7h16", "M9.5 7V4.5h5V7", "M6 7l1 13h10l1-13", "M10 11v5.5", "M14 11v5.5"],
  inbox: ["M4 13l3-8h10l3 8v6H4z", "M4 13h5l1.2 2.5h3.6L15 13h5"],
  send: ["M4 12l16-8-5 17-3.5-7z", "M11.5 14L20 4"],
};

/** An element with properties (`className`, `textContent`, …), attributes under `attributes`, and children. */
export function make(tag, { attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const shape of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", shape);
    svg.append(path);
  }
  return svg;
}
