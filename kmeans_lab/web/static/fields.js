// Fields for numbers: never rewritten while somebody types, and judged in a sentence beside them.
import { make, say } from "./dom.js";
import { whole } from "./words.js";

/** Write a value into a field, unless somebody is typing there, or has left something wrong. */
export function put(input, value) {
  if (document.activeElement !== input && (input.disabled || !fault(input))) input.value = value;
  judge(input);
}

/** What is wrong with what a field holds, as one sentence; empty where nothing is. */
function fault(input) {
  const { validity } = input;
  const name = input.dataset.name;
  if (validity.badInput || validity.stepMismatch) return `${name} must be a whole number.`;
  if (validity.valueMissing) return `${name} must be given.`;
  if (validity.rangeUnderflow) return `${name} must be at least ${whole(Number(input.min))}.`;
  if (validity.rangeOverflow) return `${name} must be at most ${whole(Number(input.max))}${input.dataset.why ?? ""}.`;
  return "";
}

/** Show the sentence below a field, or take it away; returns whether the field is right. */
export function judge(input) {
  const words = input.disabled ? "" : fault(input);
  const id = `${input.id}-wrong`;
  let note = document.getElementById(id);
  if (!note && words) {
    note = make("span", { id, className: "wrong" });
    input.after(note);
  }
  if (note) say(note, words);
  if (words) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", id);
  } else {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
  return !words;
}
