// @ts-check
/** Where the time went: idle workers, failed attempts, and what the end waited for. */

import { FAILED, criticalPath, lastAttempt, taskRow } from "./model.js";
import { counted, duration, el, share, short } from "./dom.js";
import { label } from "./clock.js";
import { heading } from "./tasks.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 */

const LINKS = 12;

/**
 * Return the lanes of the user's executors, without the kernel's own.
 *
 * @param {Model} model
 */
function users(model) {
  return model.lanes.filter((lane) => !lane.own);
}

/**
 * Tell how much of the workers' time was used, and for what.
 *
 * @param {Model} model
 */
export function usage(model) {
  let [alive, busy, lost] = [0, 0, 0];
  const { bars, unit } = model;
  for (const lane of users(model)) {
    busy += lane.busy;
    alive += Math.max(lane.alive, lane.busy);
    for (let i = lane.first; i < lane.last; i++) if (bars.bad[i]) lost += (bars.ends[i] - bars.begins[i]) * unit;
  }
  return { alive, busy, lost, idle: Math.max(0, alive - busy) };
}

/**
 * @param {Overview} overview
 * @param {Model} model
 * @param {Uint8Array} colours
 * @param {(task: number) => void} open
 */
export function whereTimeWent(overview, model, colours, open) {
  const made = el("div", { class: "where-time" }, usageBar(model));
  const path = criticalPath(model);
  if (path.length > 1) made.append(chain(overview, model, path, colours, open));
  return made;
}

/** @param {Model} model */
function usageBar(model) {
  const { alive, busy, lost, idle } = usage(model);
  if (!alive) return el("p", { class: "calm" }, "Nothing has run yet.");
  const parts = [
    ["used", busy - lost, "used"], ["lost", lost, "in attempts that failed"], ["idle", idle, "idle"],
  ].filter(([, seconds]) => Number(seconds) > alive * 1e-6);
  const bar = el("div", { class: "stack", role: "img", "aria-label": parts.map(([, s, word]) => `${share(Number(s), alive)} ${word}`).join(", ") });
  const told = el("p", { class: "key" });
  for (const [look, seconds, word] of parts) {
    const piece = el("i", { class: String(look) });
    piece.style.setProperty("flex-grow", String(Number(seconds) / alive));
    bar.append(piece);
    told.append(el("span", {}, el("i", { class: `dot ${look}` }), `${share(Number(seconds), alive)} ${word} `, el("small", {}, duration(Number(seconds)))));
  }
  const lanes = users(model);
  const rates = lanes.filter((lane) => lane.alive > 0).map((lane) => lane.busy / lane.alive).sort((a, b) => a - b);
  const spread = rates.length > 1
    ? ` The idlest was busy ${share(rates[0], 1)} of the time, the median ${share(rates[rates.length >> 1], 1)}, the busiest ${share(Math.min(1, rates[rates.length - 1]), 1)}.` : "";
  return el("div", {}, el("h3", {}, "Workers' time"), bar, told,
    el("p", { class: "hint" }, `${counted(lanes.length, "worker")} for ${duration(alive)} in all.${spread}`));
}

/**
 * @param {Overview} overview
 * @param {Model} model
 * @param {number[]} path
 * @param {Uint8Array} colours
 * @param {(task: number) => void} open
 */
function chain(overview, model, path, colours, open) {
  const links = path.map((task) => {
    const attempt = /** @type {{began: number, ended: number, row: number}} */ (lastAttempt(model, task));
    const app = model.tasks.app[taskRow(model, task)];
    return { task, app, began: attempt.began, ended: attempt.ended, bad: model.attempts.state[attempt.row] === FAILED };
  });
  let running = 0;
  for (const link of links) running += link.ended - link.began;
  const end = links[links.length - 1].ended;
  const longest = [...links].sort((a, b) => b.ended - b.began - (a.ended - a.began)).slice(0, LINKS);
  const shown = links.filter((link) => longest.includes(link));
  const rows = shown.map((link) => {
    const bar = el("i", { class: `meter ${link.bad ? "bad" : `c${colours[link.app]}`}` });
    bar.style.setProperty("margin-left", `${(link.began / end) * 100}%`);
    bar.style.setProperty("width", `${Math.max(0.4, ((link.ended - link.began) / end) * 100)}%`);
    return el("tr", {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "link", click: () => open(link.task) }, String(link.task))),
      el("td", { class: "text" }, el("bdi", {}, short(overview.apps[link.app]?.name ?? "?", 30))),
      el("td", {}, label(link.began * model.unit, 0.1)),
      el("td", {}, duration((link.ended - link.began) * model.unit)),
      el("td", { class: "gantt" }, el("span", { class: "track" }, bar)));
  });
  const folded = links.length - shown.length;
  return el("div", {}, el("h3", {}, "What the end waited for"),
    el("p", { class: "hint" }, `Each of these ${counted(links.length, "task")} needed the one before. They ran for ${share(running, end)} of the time up to the end; ` +
      `the rest of it they waited, for workers or for the script. ${folded > 0 ? `The ${LINKS} longest are shown.` : ""}`),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Critical path" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["task", "app", "began", "took", ""].map(heading))),
      el("tbody", {}, ...rows))));
}
