// @ts-check
/** Two runs side by side: what became faster, slower, or failed, app by app. */

import { matrix } from "./apps.js";
import { SIGNS } from "./failures.js";
import { FAILED, timesOf } from "./model.js";
import { count, counted, duration, el, moment, short } from "./dom.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 * @typedef {{overview: Overview, model: Model | null}} Side
 *
 * @typedef {Object} Sums Of one app in one run.
 * @property {number} n
 * @property {number} failed
 * @property {number} median
 * @property {number} total
 */

/** Apps that are compared at once; the others come when they are asked for. */
const APPS_COMPARED = 25;

/**
 * Sum up a run by the names and kinds of its apps.
 *
 * @param {Side} side
 * @returns {Map<string, Sums>}
 */
function byName({ overview, model }) {
  const times = model ? timesOf(model, overview.apps.length) : null;
  return new Map(matrix(overview).map((row) => [row.kind === "python" || !row.kind ? row.name : `${row.name} (${row.kind})`, {
    n: row.total, failed: row.states[FAILED], total: row.seconds,
    median: times ? times.good[row.app].median : row.seconds / row.total,
  }]));
}

/**
 * Make the comparison of two runs; the first is what the second is measured by.
 *
 * @param {Side} a
 * @param {Side} b
 */
export function comparison(a, b) {
  const [left, right] = [byName(a), byName(b)];
  const names = [...new Set([...left.keys(), ...right.keys()])];
  const weight = (/** @type {string} */ name) => (left.get(name)?.total ?? 0) + (right.get(name)?.total ?? 0);
  names.sort((x, y) => weight(y) - weight(x) || (x < y ? -1 : 1));
  const scale = Math.max(a.overview.now, b.overview.now) || 1;
  return el("div", {},
    el("section", {}, wholes(a, "A", scale), wholes(b, "B", scale),
      el("p", { class: "hint" }, longer(a.overview, b.overview))),
    el("section", { "aria-labelledby": "compare-failures" },
      el("h2", { id: "compare-failures" }, "Failures"), failures(a.overview, b.overview)),
    el("section", { "aria-labelledby": "compare-apps" },
      el("h2", { id: "compare-apps" }, "Apps"), comparedApps(names, (name) => line(name, left.get(name), right.get(name)))));
}

/**
 * Make the table of apps; those that took little time are there when they are wanted.
 *
 * @param {string[]} names
 * @param {(name: string) => HTMLElement} row
 */
function comparedApps(names, row) {
  const body = el("tbody", {}, ...names.slice(0, APPS_COMPARED).map(row));
  const rest = names.slice(APPS_COMPARED);
  const more = el("button", { type: "button", click: () => { body.append(...rest.map(row)); more.remove(); } },
    `Show ${counted(rest.length, "more app")}`);
  return el("div", {},
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Apps of both runs" }, el("table", {}, head(), body)),
    rest.length ? more : null);
}

/**
 * @param {Side} side
 * @param {string} sign
 * @param {number} scale
 */
function wholes({ overview }, sign, scale) {
  const bar = el("i", { class: `meter ${sign === "A" ? "c7" : "c0"}` });
  bar.style.setProperty("width", `${(overview.now / scale) * 100}%`);
  const total = overview.counts.reduce((x, y) => x + y, 0);
  const failed = overview.counts[FAILED];
  return el("div", { class: "side" },
    el("p", {}, el("b", {}, `${sign} · `), el("bdi", {}, overview.name), " ",
      el("span", { class: `badge run-${overview.state}` }, overview.state), " ",
      ...[moment(overview.began), counted(total, "task"), failed ? `✕ ${count(failed)} failed` : "", duration(overview.now)]
        .filter(Boolean).flatMap((fact, i) => [el("small", {}, `${i ? "· " : ""}${fact}`), " "])),
    el("span", { class: "track full" }, bar));
}

function head() {
  const names = ["app", "tasks A", "tasks B", "failed A", "failed B", "median A", "median B", "B / A", "in all A", "in all B", "B / A"];
  return el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col", class: name === "app" ? "text" : null }, name))));
}

/**
 * @param {string} name
 * @param {Sums | undefined} a
 * @param {Sums | undefined} b
 */
function line(name, a, b) {
  return el("tr", {},
    el("th", { scope: "row" }, el("bdi", { title: name }, short(name, 60))),
    el("td", {}, a ? count(a.n) : "·"), el("td", {}, b ? count(b.n) : "·"),
    failed(a), failed(b),
    el("td", {}, duration(a?.median)), el("td", {}, duration(b?.median)), change(a?.median, b?.median),
    el("td", {}, duration(a?.total || null)), el("td", {}, duration(b?.total || null)), change(a?.total, b?.total, false));
}

/** @param {Sums | undefined} sums */
function failed(sums) {
  return sums?.failed ? el("td", { class: "state s7" }, `✕ ${count(sums.failed)}`) : el("td", { class: "none" }, "·");
}

/**
 * Write a change; from 10 % on it is worth a colour and an arrow.
 *
 * @param {number | undefined} a
 * @param {number | undefined} b
 * @param {boolean} [judged] Whether less is better; the sum of more tasks is not worse.
 */
function change(a, b, judged) {
  if (!a || !b) return el("td", { class: "none" }, "·");
  const look = judged === false ? "" : b / a > 1.1 ? "worse" : b / a < 0.9 ? "better" : "";
  const sign = look === "worse" ? "▲ " : look === "better" ? "▼ " : "";
  return el("td", { class: look }, `${sign}× ${(b / a).toFixed(2)}`);
}

/**
 * Say how much longer one run took, where both have come to their end.
 *
 * @param {Overview} a
 * @param {Overview} b
 */
function longer(a, b) {
  const open = [a, b].map(({ state }, i) => (state === "done" || state === "failed" ? "" : `${"AB"[i]} ${state === "running" ? "still runs" : "was cut short"}`));
  if (open.some(Boolean)) return `${open.filter(Boolean).join(", and ")}: so how long they took cannot be compared.`;
  return a.now > 0 && b.now > 0 ? `B took ${(b.now / a.now).toFixed(2)} times as long as A.` : "";
}

/**
 * List the failures that only one of the runs has, then those of both.
 *
 * @param {Overview} a
 * @param {Overview} b
 */
function failures(a, b) {
  const key = (/** @type {import("./model.js").Failure} */ one) => `${one.kind}: ${one.shape}`;
  const [left, right] = [a, b].map((side) => new Map(side.failures.map((one) => [key(one), one])));
  const lines = [];
  for (const [name, one] of right) if (!left.has(name)) lines.push(told("only in B", one, null));
  for (const [name, one] of left) if (!right.has(name)) lines.push(told("only in A", one, null));
  for (const [name, one] of left) if (right.has(name)) lines.push(told("in both", one, right.get(name) ?? null));
  return lines.length ? el("ul", { class: "lines" }, ...lines) : el("p", { class: "calm" }, "Nothing failed in either.");
}

/**
 * Say how many tasks failed so in a run; or, if they all succeeded later, attempts.
 *
 * @param {import("./model.js").Failure} failure
 */
function marked({ noNews, tasks, n }) {
  if (noNews) return `${SIGNS[noNews]} ${count(tasks)}`;
  return tasks ? `✕ ${count(tasks)}` : `↻ ${count(n)}`;
}

/**
 * @param {string} where
 * @param {import("./model.js").Failure} one
 * @param {import("./model.js").Failure | null} other
 */
function told(where, one, other) {
  const sides = other ? [one, other] : [one];
  const failed = !one.noNews && sides.some((side) => side.tasks);
  return el("li", {}, el("small", {}, `${where}: `), el("span", { class: failed ? "state s7" : "dim" }, `${sides.map(marked).join(" and ")} `),
    el("b", {}, el("bdi", {}, one.kind)), ": ", el("bdi", {}, short(one.message, 200)));
}
