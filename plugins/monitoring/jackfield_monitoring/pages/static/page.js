// @ts-check
/** The page of a run, top to bottom; the same in a report and in the dashboard. */

import { Apps } from "./apps.js";
import { coloursOf } from "./colours.js";
import { NONE } from "./columns.js";
import { bytes, count, counted, duration, el, keepFocus, moment, noun, share } from "./dom.js";
import { failureList } from "./failures.js";
import { appGraph, taskGraph } from "./graph.js";
import { CANCELLED, DEPENDENCY_FAILED, FAILED, MEMOIZED, STATES, SUBMITTED, SUCCEEDED, WAITING, isOwn, makeModel, timesOf } from "./model.js";
import { runningNow } from "./running.js";
import { TaskPanel, Tasks, list, transferTable } from "./tasks.js";
import { Timeline } from "./timeline.js";
import { usage, whereTimeWent } from "./where.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 */

/** What people read for the state of a run. */
const RUN_WORDS = {
  running: "running", done: "done", failed: "failed", lost: "lost", unknown: "not known",
};

/** How the states stand in the bar of all tasks. */
const BAR = [SUCCEEDED, MEMOIZED, FAILED, DEPENDENCY_FAILED, CANCELLED, 4, 3, SUBMITTED, 1, WAITING];

/** @param {Overview} overview */
function by({ facts }) {
  const found = facts.find(([name]) => name === "by");
  return found ? [" · ", el("bdi", {}, found[1])] : [];
}

/** The page of one run. `show` may be called again when more is known. */
export class RunPage {
  /**
   * @param {(task: number) => Promise<import("./tasks.js").Details | null>} fetchDetails
   * @param {(task: number | null) => void} went Told which task is shown.
   */
  constructor(fetchDetails, went) {
    /** @type {Set<number>} */
    this.unfolded = new Set();
    this.went = went;
    /** @type {Uint8Array} */
    this.colours = new Uint8Array();
    /** @type {Overview | null} */
    this.overview = null;
    /** @type {Map<number, number[]> | null} */
    this.byError = null;
    this.nearby = el("div", { class: "near", "aria-live": "polite" });
    this.head = el("header", { class: "top" });
    this.cards = el("div", { class: "cards" });
    this.notes = el("div", { class: "notes" });
    const open = (/** @type {number} */ task) => this.openTask(task);
    this.tasks = new Tasks(open);
    this.apps = new Apps(new Uint8Array(), (app, state) => this.tasks.choose(app, state));
    this.panel = new TaskPanel(fetchDetails, open, () => {
      went(null);
      this.back(); // the browser does that itself, but not to what has been drawn anew
    });
    this.back = () => {};
    this.element = el("div", { class: "run" }, this.head, this.cards, this.notes);
    /** @type {Record<string, HTMLElement>} */
    this.bodies = {};
    for (const [id, title] of [["failures", "Failures"], ["running", "Running"], ["apps", "Apps"], ["timeline", "Timeline"],
      ["graph", "Graph of the apps"], ["time", "Where the time went"], ["tasks", "Tasks"],
      ["transfers", "Transfers"], ["facts", "The run"]]) this.section(id, title);
    this.bodies.apps.append(this.apps.element);
    this.bodies.tasks.append(this.tasks.element);
    this.element.append(this.panel.element);
    /** @type {Model | null} */
    this.model = null;
    /** @type {Timeline | null} */
    this.timeline = null;
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  section(id, title) {
    const body = el("div", { class: "body" });
    this.bodies[id] = body;
    this.element.append(el("section", { id, hidden: true, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), body));
  }

  /**
   * Show or hide a section.
   *
   * @param {string} id
   * @param {Node | null} body
   */
  put(id, body) {
    const section = /** @type {HTMLElement} */ (this.bodies[id].parentElement);
    section.hidden = body === null;
    if (body && this.bodies[id].firstChild !== body) this.bodies[id].replaceChildren(body);
  }

  /**
   * Show what is known at once, before the columns have come.
   *
   * @param {Overview} overview
   */
  showOverview(overview) {
    this.overview = overview;
    this.colours = coloursOf(overview);
    this.showHead(overview);
    this.showCards(overview);
    this.showNotes(overview);
    this.put("failures", failureList(overview, (error) => this.tasksOf(error), (task) => this.openTask(task), this.unfolded));
    const any = overview.tally.length > 0;
    this.put("apps", any ? this.apps.element : null);
    this.apps.show(overview, this.model ? timesOf(this.model, overview.apps.length) : null, this.colours);
    this.put("graph", any ? this.graph(overview) : null);
    this.put("transfers", overview.transfers.n ? this.transfers(overview) : null);
    this.put("facts", el("div", {}, list(overview.facts), ...overview.left.map((left) => el("p", { class: "hint" }, left))));
    if (!this.model) this.put("running", null);
    for (const id of ["timeline", "time", "tasks"]) if (!this.model) this.put(id, any ? el("p", { class: "calm" }, "Loading…") : null);
  }

  /**
   * Show everything.
   *
   * @param {Overview} overview
   * @param {import("./columns.js").Columns} columns
   */
  show(overview, columns) {
    const model = (this.model = makeModel(overview, columns));
    this.byError = null;
    this.showOverview(overview);
    const any = model.tasks.id.length > 0;
    const bars = model.attempts.task.length > 0;
    if (!this.timeline) this.timeline = new Timeline(overview, model, this.colours, (task) => this.openTask(task));
    this.put("timeline", bars ? this.timeline.element : any ? el("p", { class: "calm" }, "Nothing has run yet.") : null);
    this.put("running", model.running.length ? runningNow(overview, model, this.colours, (task) => this.openTask(task)) : null);
    this.timeline.show(overview, model, this.colours);
    this.put("time", bars ? whereTimeWent(overview, model, this.colours, (task) => this.openTask(task)) : null);
    this.put("tasks", any ? this.tasks.element : null);
    this.tasks.show(overview, model);
  }

  // -- The top

  /** @param {Overview} overview */
  showHead(overview) {
    const word = RUN_WORDS[/** @type {keyof typeof RUN_WORDS} */ (overview.state)] ?? overview.state;
    this.head.replaceChildren(
      el("h1", {}, el("bdi", {}, overview.name), " ", el("span", { class: `badge run-${overview.state}` }, word)),
      el("p", { class: "dim" }, `began ${moment(overview.began)}`, ...by(overview)));
  }

  /** @param {Overview} overview */
  showCards(overview) {
    const { counts } = overview;
    const total = counts.reduce((a, b) => a + b, 0);
    const ended = counts.slice(SUCCEEDED).reduce((a, b) => a + b, 0);
    /** @type {[string, string, string][]} */
    const cards = [
      [noun(total, "task"), count(total), ""], ["failed", counts[FAILED] ? `✕ ${count(counts[FAILED])}` : "0", counts[FAILED] ? "bad" : ""],
      ["succeeded", count(counts[SUCCEEDED]), ""],
    ];
    if (counts[DEPENDENCY_FAILED]) cards.push([STATES[DEPENDENCY_FAILED], count(counts[DEPENDENCY_FAILED]), ""]);
    if (counts[MEMOIZED]) cards.push([STATES[MEMOIZED], count(counts[MEMOIZED]), ""]);
    if (counts[CANCELLED]) cards.push(["cancelled", count(counts[CANCELLED]), ""]);
    if (this.model?.running.length) cards.push([overview.state === "running" ? "running" : "were running", count(this.model.running.length), ""]);
    if (ended < total) cards.push(["not ended", count(total - ended), ""]);
    cards.push([overview.state === "running" ? "so far" : "elapsed", duration(overview.now), ""]);
    const workers = overview.workers.filter((one) => !isOwn(overview, one.executor)).length;
    if (workers) cards.push([noun(workers, "worker"), count(workers), ""]);
    if (this.model) {
      const { alive, busy } = usage(this.model);
      if (alive) cards.push(["busy", share(busy, alive), ""]);
    }
    const told = cards.map(([word, value, look]) => el("div", { class: `card ${look}` }, el("b", {}, value), el("span", {}, word)));
    this.cards.replaceChildren(...told, this.bar(overview, total));
  }

  /**
   * @param {Overview} overview
   * @param {number} total
   */
  bar({ counts }, total) {
    const shown = BAR.filter((state) => counts[state]);
    const words = shown.map((state) => `${count(counts[state])} ${STATES[state]}`).join(", ");
    const bar = el("div", { class: "stack all", role: "img", "aria-label": words || "no tasks", title: words });
    for (const state of shown) {
      const piece = el("i", { class: `s${state}` });
      piece.style.setProperty("flex-grow", String(counts[state] / total));
      bar.append(piece);
    }
    return bar;
  }

  /** @param {Overview} overview */
  showNotes(overview) {
    const notes = [];
    if (overview.state === "lost") {
      notes.push(el("p", { class: "note" }, "The program of this run is gone, and did not say how it ended: it was killed, or its machine stopped. " +
        `What is shown is how things stood ${moment(overview.began + overview.now)}, when it last wrote.`));
    }
    if (overview.problem) notes.push(el("p", { class: "note" }, el("bdi", {}, overview.problem)));
    else if (!overview.stored) notes.push(el("p", { class: "note plain" }, overview.advice));
    if (overview.gaps.lost) {
      const why = overview.gaps.reasons.join("; ");
      notes.push(el("p", { class: "note" }, `${counted(overview.gaps.lost, "record")} of this run could not be kept${why ? `: ${why}` : ""}. What is shown lacks them.`));
    }
    this.notes.replaceChildren(...notes);
  }

  // -- Parts that need the columns

  /**
   * List the tasks that ended with an error.
   *
   * @param {number} error
   */
  tasksOf(error) {
    if (!this.model) return [];
    if (!this.byError) {
      const found = (this.byError = new Map());
      const { error: errors, id } = this.model.tasks;
      for (let row = 0; row < errors.length; row++) {
        if (errors[row] === 0 || errors[row] === NONE) continue;
        const own = found.get(errors[row]);
        if (own) own.push(id[row]);
        else found.set(errors[row], [id[row]]);
      }
    }
    return this.byError.get(error) ?? [];
  }

  /** @param {Overview} overview */
  graph(overview) {
    return el("div", {}, appGraph(overview, this.colours, (app) => this.openApp(app)), this.nearby);
  }

  /**
   * Show what is near one task of an app: one that failed, or the one that took longest.
   *
   * @param {number} app
   */
  openApp(app) {
    const { model, overview } = this;
    if (!model || !overview) return;
    const task = this.example(model, app);
    if (task < 0) return;
    this.nearby.replaceChildren(
      el("h3", {}, el("bdi", {}, overview.apps[app].name), `: around task ${task}`),
      taskGraph(overview, model, task, (one) => this.openTask(one)),
      el("p", {}, el("button", { type: "button", click: () => this.tasks.choose(app, -1) }, "List its tasks"), " ",
        el("button", { type: "button", click: () => this.timeline?.only(app) }, "Show it alone in the timeline")));
  }

  /**
   * @param {Model} model
   * @param {number} app
   */
  example({ attempts, rowOf, tasks }, app) {
    let [best, longest] = [-1, -1];
    for (let i = 0; i < rowOf.length; i++) {
      if (rowOf[i] === NONE || tasks.app[rowOf[i]] !== app) continue;
      const weight = attempts.took[i] + (tasks.state[rowOf[i]] === FAILED ? 2 ** 33 : 0);
      if (weight > longest) [longest, best] = [weight, attempts.task[i]];
    }
    if (best < 0) {
      const row = tasks.app.indexOf(app);
      best = row < 0 ? -1 : tasks.id[row];
    }
    return best;
  }

  /** @param {Overview} overview */
  transfers({ transfers }) {
    const told = `${counted(transfers.n, "transfer")}, ${bytes(transfers.moved)} moved, ${count(transfers.failed)} failed.` +
      (transfers.n > transfers.shown.length ? ` Those that failed and those that took longest are shown, ${count(transfers.shown.length)} of them.` : "");
    return el("div", {}, el("p", { class: "hint" }, told), transferTable(transfers.shown, (task) => this.openTask(task)));
  }

  /**
   * Show the page of a task.
   *
   * @param {number} task
   */
  openTask(task) {
    if (!this.model || !this.overview) return;
    this.went(task);
    if (!this.panel.element.open) this.back = keepFocus(this.element);
    void this.panel.show(this.overview, this.model, task);
  }

  /** Close the page of a task, if one is open. */
  closeTask() {
    if (this.panel.element.open) this.panel.element.close();
  }
}
