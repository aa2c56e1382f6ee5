// @ts-check
/** What failed, grouped by what the errors have in common; the first thing on a page. */

import { count, counted, el, moment, short } from "./dom.js";

/**
 * @typedef {import("./model.js").Overview} Overview
 * @typedef {import("./model.js").Failure} Failure
 */

const TASKS_SHOWN = 40;

/**
 * Make the list of failures.
 *
 * @param {Overview} overview
 * @param {(error: number) => number[]} tasksOf Gives the tasks that ended with an error.
 * @param {(task: number) => void} open
 * @param {Set<number>} unfolded Errors that are unfolded; kept up to date.
 */
export function failureList(overview, tasksOf, open, unfolded) {
  const { failures } = overview;
  if (failures.length === 0) return nothing(overview);
  const list = el("div", { class: "failures" });
  for (const failure of failures) if (!failure.noNews) list.append(group(failure, tasksOf, open, unfolded));
  for (const state of /** @type {(keyof typeof FOLDS)[]} */ (Object.keys(FOLDS))) {
    const alike = failures.filter((one) => one.noNews === state);
    if (alike.length) list.append(folded(state, alike, tasksOf, open, unfolded));
  }
  if (overview.moreFailures) {
    list.append(el("p", { class: "hint" }, `There are rarer failures too: these are the ${failures.length} most frequent groups.`));
  }
  return list;
}

/** What stands for tasks that did not fail by themselves. */
export const SIGNS = { "dependency-failed": "↳", cancelled: "⊘" };

/** Stand for the folds of these among errors; and what is said of one task, and of many. */
const FOLDS = {
  "dependency-failed": { id: -1, one: "1 task is dependency-failed: it was not run, because another had failed",
    many: "tasks are dependency-failed: they were not run, because others had failed" },
  cancelled: { id: -2, one: "1 task was cancelled", many: "tasks were cancelled" },
};

/**
 * Fold together tasks that did not fail by themselves: they are no news.
 *
 * @param {keyof typeof FOLDS} state What became of them.
 * @param {Failure[]} alike
 * @param {(error: number) => number[]} tasksOf
 * @param {(task: number) => void} open
 * @param {Set<number>} unfolded
 */
function folded(state, alike, tasksOf, open, unfolded) {
  const { id, one, many } = FOLDS[state];
  const n = alike.reduce((sum, failure) => sum + failure.tasks, 0);
  const groups = alike.map((failure) => group(failure, tasksOf, open, unfolded));
  const made = el("details", { class: `failure ${state}`, open: unfolded.has(id) },
    el("summary", {}, el("span", { class: "times again" }, `${SIGNS[state]} ${count(n)}`),
      el("span", { class: "what" }, n === 1 ? one : `${count(n)} ${many}`)),
    el("div", { class: "failures" }, ...groups));
  made.addEventListener("toggle", () => made.open ? unfolded.add(id) : unfolded.delete(id));
  return made;
}

/** @param {Overview} overview */
function nothing(overview) {
  if (overview.failureLines.length) {
    const lines = overview.failureLines.map((line) => el("li", {}, el("bdi", {}, line)));
    return el("ul", { class: "lines" }, ...lines);
  }
  const told = overview.state === "running" ? "Nothing has failed so far." : "Nothing failed.";
  return el("p", { class: "calm" }, told);
}

/**
 * @param {Failure} failure
 * @param {(error: number) => number[]} tasksOf
 * @param {(task: number) => void} open
 * @param {Set<number>} unfolded
 */
function group(failure, tasksOf, open, unfolded) {
  const made = el("details", { class: "failure", "data-error": failure.id, open: unfolded.has(failure.id) },
    el("summary", {},
      times(failure),
      el("span", { class: "what" },
        el("b", {}, el("bdi", {}, failure.kind)), ": ",
        el("bdi", {}, short(failure.message, 300))),
      el("span", { class: "where" }, el("bdi", { title: failure.app }, short(failure.app, 60)), newest(failure))));
  const unfold = () => {
    if (made.open) unfolded.add(failure.id);
    else unfolded.delete(failure.id);
    if (made.open && made.childElementCount === 1) made.append(...inside(failure, tasksOf, open));
  };
  made.addEventListener("toggle", unfold);
  if (made.open) unfold();
  return made;
}

/**
 * Say how often it was seen: ✕ where tasks failed, ↳ where they were not run because
 * another had, ⊘ where they were cancelled, ↻ where all were tried again.
 *
 * @param {Failure} failure
 */
function times(failure) {
  if (failure.noNews) return el("span", { class: "times again", title: failure.noNews }, `${SIGNS[failure.noNews]} ${count(failure.tasks)}`);
  if (failure.tasks) return el("span", { class: "times", title: "tasks that failed so" }, `✕ ${count(failure.tasks)}`);
  return el("span", { class: "times again", title: "attempts that were tried again" }, `↻ ${count(failure.n)}`);
}

/** @param {Failure} failure */
function newest(failure) {
  const apps = failure.tasks ? "" : "all tried again";
  return `${apps}${failure.app || apps ? " · " : ""}${failure.at ? `newest ${moment(failure.at)}` : ""}`;
}

/**
 * @param {Failure} failure
 * @param {(error: number) => number[]} tasksOf
 * @param {(task: number) => void} open
 */
function inside(failure, tasksOf, open) {
  const tasks = tasksOf(failure.id);
  const shown = tasks.slice(-TASKS_SHOWN).reverse();
  const links = shown.map((task) =>
    el("button", { type: "button", class: "link", click: () => open(task) }, String(task)));
  const more = tasks.length > shown.length ? ` and ${count(tasks.length - shown.length)} more: see the tasks below` : "";
  const retried = failure.n - failure.tasks;
  return [
    el("p", { class: "links" },
      tasks.length ? "Tasks, the newest first: " : "No task ended with it. ", ...links, more,
      retried > 0 && failure.tasks >= 0 ? ` (${counted(retried, "attempt")} failed so and were tried again)` : ""),
    tail({ name: "Traceback of the first", text: failure.traceback || `${failure.kind}: ${failure.message}`, note: "" }),
    ...failure.tails.map(tail),
  ];
}

/**
 * Show the end of a text, with a heading and what is to be known about it.
 *
 * @param {import("./model.js").Tail} one
 */
export function tail(one) {
  const text = el("pre", { tabindex: 0, "aria-label": one.name }, one.text);
  return el("div", { class: "tail" },
    el("h3", {}, one.name, el("small", {}, one.note && ` ${one.note}`)),
    one.text || !one.note ? text : null);
}
