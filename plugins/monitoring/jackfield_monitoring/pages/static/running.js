// @ts-check
/** What runs now, and for how long: the tasks that have run longest come first. */

import { NONE } from "./columns.js";
import { label } from "./clock.js";
import { count, duration, el, short } from "./dom.js";
import { heading } from "./tasks.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 */

/** Tasks that are listed; the timeline has them all. */
const RUNNING_SHOWN = 12;

/**
 * List what runs. Of a run that is lost, that is what ran when it last said so.
 *
 * @param {Overview} overview
 * @param {Model} model
 * @param {Uint8Array} colours
 * @param {(task: number) => void} open
 */
export function runningNow(overview, model, colours, open) {
  const { attempts, rowOf, running, tasks, lanes, unit } = model;
  const longest = attempts.took[running[0]] || 1;
  const rows = running.slice(0, RUNNING_SHOWN).map((i) => {
    const task = attempts.task[i];
    const app = rowOf[i] === NONE ? -1 : tasks.app[rowOf[i]];
    const bar = el("i", { class: `meter c${colours[app] ?? 0}` });
    bar.style.setProperty("width", `${Math.max(0.4, (attempts.took[i] / longest) * 100)}%`);
    return el("tr", {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "link", click: () => open(task) }, String(task))),
      el("td", { class: "text" }, el("bdi", {}, short(overview.apps[app]?.name ?? "?", 40))),
      el("td", { class: "text" }, el("bdi", {}, lanes[attempts.worker[i]]?.name ?? "·")),
      el("td", {}, label(attempts.began[i] * unit, 0.1)),
      el("td", {}, duration(attempts.took[i] * unit)),
      el("td", { class: "gantt" }, el("span", { class: "track" }, bar)));
  });
  const left = running.length - rows.length;
  const live = overview.state === "running";
  const told = `${live ? "Those that have run longest come first" : "What ran when the run last said so"}` +
    (left > 0 ? `; ${count(left)} more ${live ? "run" : "ran"}.` : ".");
  return el("div", {}, el("p", { class: "hint" }, told),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Running tasks" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["task", "app", "worker", "began", "for", ""].map(heading))),
      el("tbody", {}, ...rows))));
}
