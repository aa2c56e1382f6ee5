// @ts-check
/**
 * Making elements, and saying numbers, times and sizes.
 *
 * Everything that comes from a run is put into the page as text, never as markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | number | boolean | null | undefined | EventListener} Attribute
 * @typedef {Node | string | null | undefined | false} Child
 */

/**
 * @param {Element} made
 * @param {Record<string, any>} attributes
 * @param {Child[]} children
 */
function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child || child === "") made.append(child);
}

/**
 * Make an element. A function among the attributes listens to the event of that name;
 * texts among the children become text.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  fill(made, attributes, children);
  return made;
}

/**
 * Make an element of a drawing.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  fill(made, attributes, children);
  return made;
}

/**
 * Have Enter and the space bar do on an element what a click does.
 *
 * @param {Element} element
 */
export function pressable(element) {
  element.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    if (key !== "Enter" && key !== " ") return;
    event.preventDefault();
    element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  });
}

/**
 * Remember what has the focus, for when it is drawn anew. Who moves by keyboard would have
 * to begin at the top of the page again.
 *
 * @param {Element} within What is drawn anew.
 * @returns {() => void} Gives the focus, if nothing has it by now, to what says the same;
 *     else to what stands in the same place, for what it says may have changed.
 */
export function keepFocus(within) {
  const focused = document.activeElement;
  if (!focused || !within.contains(focused)) return () => {};
  const section = focused.closest("section")?.id ?? "";
  const words = (/** @type {Element} */ one) => one.getAttribute("aria-label") ?? one.textContent;
  const told = words(focused);
  const alike = () => Array.from(within.querySelectorAll(focused.tagName))
    .filter((one) => (one.closest("section")?.id ?? "") === section);
  const place = alike().indexOf(focused);
  return () => {
    const now = document.activeElement;
    // What is in a dialog that has just been closed has the focus for a moment yet.
    if (now && now !== document.body && now.checkVisibility()) return;
    const there = alike();
    const found = there[place] && words(there[place]) === told ? there[place] : there.find((one) => words(one) === told);
    /** @type {HTMLElement | undefined} */ (found ?? there[place])?.focus({ preventScroll: true });
  };
}

const COUNT = new Intl.NumberFormat("en");

/**
 * Write a number with its thousands apart: `12,345`.
 *
 * @param {number} value
 */
export function count(value) {
  return COUNT.format(value);
}

/**
 * Write a number and a noun that agrees with it: `1 task`, `2 tasks`.
 *
 * @param {number} value
 * @param {string} name
 */
export function counted(value, name) {
  return `${count(value)} ${noun(value, name)}`;
}

/**
 * Return a noun as it stands behind a number.
 *
 * @param {number} value
 * @param {string} name
 */
export function noun(value, name) {
  return value === 1 ? name : `${name}s`;
}

/**
 * Write how long something took, with three digits that matter.
 *
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0.0009995) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${digits(seconds)} s`;
  const all = Math.round(seconds);
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  if (h >= 24) return `${Math.floor(h / 24)} d ${h % 24} h`;
  return h ? `${h} h ${two(m)} min` : `${m} min ${two(s)} s`;
}

/** @param {number} value */
function digits(value) {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(value ? 2 : 0);
}

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}

/**
 * Write a number of bytes.
 *
 * @param {number | null | undefined} value
 */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let rest = value;
  for (; rest >= 999.5 && unit < units.length - 1; unit++) rest /= 1000;
  return `${unit ? digits(rest) : rest} ${units[unit]}`;
}

/**
 * Write a share: `12.3 %`; what is not nothing is not written as nothing.
 *
 * @param {number} part
 * @param {number} whole
 */
export function share(part, whole) {
  if (!whole) return "–";
  const percent = (part / whole) * 100;
  if (percent > 0 && percent < 0.1) return "< 0.1 %";
  if (percent < 100 && percent > 99.9) return "> 99.9 %";
  return `${percent.toFixed(percent < 10 && percent > 0 ? 1 : 0)} %`;
}

/**
 * Write a moment in the reader's own time: `2026-11-29 14:03:07`.
 *
 * @param {number | null | undefined} wall Seconds since the epoch.
 */
export function moment(wall) {
  if (!wall) return "–";
  const at = new Date(wall * 1000);
  if (Number.isNaN(at.getTime())) return "–";
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/**
 * Shorten a text in the middle of nowhere, for places that have little room.
 *
 * @param {string} text
 * @param {number} most
 */
export function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/**
 * Read a colour or a length of the style sheet.
 *
 * @param {string} name
 */
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
