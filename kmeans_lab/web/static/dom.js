// Helpers that create elements in one call each; text is never parsed as markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, options, children) {
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (name in element && !(element instanceof SVGElement)) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== ""));
  return element;
}

export const make = (tag, options = {}, ...children) =>
  fill(document.createElement(tag), options, children);

export const draw = (tag, options = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), options, children);

export const find = (selector, within = document) => within.querySelector(selector);

/** Set an element's text only where it differs: a screen reader hears changes, not repeats. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
