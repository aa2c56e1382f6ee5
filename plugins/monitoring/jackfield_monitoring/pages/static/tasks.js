// @ts-check
/** The list of tasks, and the page of one task. */

import { FAILED, MEMOIZED, RUNNING, STATES, attemptWord, attemptsOf, lastAttempt, neighbours, taskRow } from "./model.js";
import { label } from "./clock.js";
import { NONE } from "./columns.js";
import { count, counted, duration, el, moment, short } from "./dom.js";
import { tail } from "./failures.js";
import { taskGraph } from "./graph.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 *
 * @typedef {Object} Details What a page of a task shows besides what columns know.
 * @property {[string, string][]} facts
 * @property {string} call
 * @property {string} said Why it has failed, or "".
 * @property {boolean} [asGroup] Whether that is what its group says, where nothing is told.
 * @property {{n: number, told: [string, string][], error: string, retry: string}[]} attempts
 * @property {[string, string][]} memo
 * @property {import("./model.js").Transfer[]} transfers
 * @property {import("./model.js").Tail[]} tails
 */

const PAGE = 25;

/** All tasks that have an app, a state, an error; so many at a time. */
export class Tasks {
  /** @param {(task: number) => void} open */
  constructor(open) {
    this.open = open;
    this.shown = PAGE;
    this.error = 0;
    const again = () => { this.shown = PAGE; this.error = 0; this.render(); };
    this.app = el("select", { "aria-label": "App", change: again });
    this.state = el("select", { "aria-label": "State", change: again });
    this.order = el("select", { "aria-label": "Order", change: again },
      el("option", { value: "newest" }, "newest first"), el("option", { value: "oldest" }, "oldest first"),
      el("option", { value: "longest" }, "longest first"));
    this.number = el("input", {
      type: "text", inputmode: "numeric", placeholder: "Number", "aria-label": "Number of a task", size: 9,
      keydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && this.jump(),
    });
    this.body = el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "List of tasks" });
    this.more = el("p", { class: "hint" });
    this.element = el("div", { class: "tasks" },
      el("div", { class: "tools" }, this.app, this.state, this.order, this.number,
        el("button", { type: "button", click: () => this.jump() }, "Open")),
      this.body, this.more);
  }

  jump() {
    const wanted = this.number.value.trim();
    if (/^\d+$/.test(wanted)) this.open(Number(wanted));
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   */
  show(overview, model) {
    this.overview = overview;
    this.model = model;
    const named = overview.apps.map(({ name }, app) => el("option", { value: app }, short(name, 50)));
    keep(this.app, [el("option", { value: -1 }, "all apps"), ...named]);
    keep(this.state, [el("option", { value: -1 }, "all states"),
      ...STATES.map((word, state) => el("option", { value: state }, word)).filter((_, state) => overview.counts[state])]);
    this.render();
  }

  /**
   * Show the tasks of an app that are in a state; -1 for all.
   *
   * @param {number} app
   * @param {number} state
   */
  choose(app, state) {
    this.app.value = String(app);
    this.state.value = String(state);
    this.error = 0;
    this.shown = PAGE;
    this.render();
    this.element.closest("section")?.scrollIntoView({ block: "start" });
    this.body.focus({ preventScroll: true });
  }

  rows() {
    const model = /** @type {Model} */ (this.model);
    const [app, state] = [Number(this.app.value), Number(this.state.value)];
    const found = [];
    for (let row = 0; row < model.tasks.id.length; row++) {
      if (app >= 0 && model.tasks.app[row] !== app) continue;
      if (state >= 0 && model.tasks.state[row] !== state) continue;
      found.push(row);
    }
    if (this.order.value === "newest") found.reverse();
    if (this.order.value === "longest") {
      const took = new Float64Array(model.tasks.id.length);
      for (let i = 0; i < model.rowOf.length; i++) {
        if (model.rowOf[i] !== NONE) took[model.rowOf[i]] = Math.max(took[model.rowOf[i]], model.attempts.took[i]);
      }
      found.sort((a, b) => took[b] - took[a]);
    }
    return found;
  }

  render() {
    if (!this.model) return;
    const rows = this.rows();
    const shown = rows.slice(0, this.shown);
    this.body.replaceChildren(rows.length === 0 ? el("p", { class: "calm" }, "No task is so.") : el("table", {},
      el("thead", {}, el("tr", {}, ...["task", "app", "state", "attempts", "began", "took", "worker"].map(heading))),
      el("tbody", {}, ...shown.map((row) => this.row(row)))));
    const left = rows.length - shown.length;
    const button = el("button", { type: "button", click: () => { this.shown += 4 * PAGE; this.render(); } }, `Show ${count(Math.min(left, 4 * PAGE))} more`);
    this.more.replaceChildren(`${counted(rows.length, "task")}. `, left > 0 ? button : "");
  }

  /** @param {number} row */
  row(row) {
    const { tasks, attempts, unit, lanes } = /** @type {Model} */ (this.model);
    const task = tasks.id[row];
    const [low, high] = attemptsOf(/** @type {Model} */ (this.model), task);
    const last = high > low ? high - 1 : -1;
    const state = tasks.state[row];
    const runs = last >= 0 && attempts.state[last] === RUNNING;
    return el("tr", {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "link", click: () => this.open(task) }, String(task))),
      el("td", { class: "text" }, el("bdi", {}, short(this.overview?.apps[tasks.app[row]]?.name ?? "?", 40))),
      el("td", { class: `text state s${state}` }, `${state === FAILED ? "✕ " : ""}${runs ? "running" : STATES[state]}`),
      el("td", {}, high - low ? String(high - low) : "·"),
      el("td", {}, last < 0 ? "·" : label(attempts.began[last] * unit, 0.1)),
      el("td", {}, last < 0 ? "·" : duration(attempts.took[last] * unit)),
      el("td", { class: "text" }, last < 0 ? "·" : el("bdi", {}, lanes[attempts.worker[last]]?.name ?? "·")));
  }
}

/** Columns that hold words and not numbers. */
const TEXTS = new Set(["app", "state", "worker", "way", "verified", "URL"]);

/**
 * Make the head of a column.
 *
 * @param {string} name
 */
export function heading(name) {
  if (!name) return el("td", {});
  return el("th", { scope: "col", class: TEXTS.has(name) ? "text" : null }, name);
}

/**
 * Give a select new options, and keep what is selected.
 *
 * @param {HTMLSelectElement} select
 * @param {HTMLOptionElement[]} options
 */
function keep(select, options) {
  const { value } = select;
  select.replaceChildren(...options);
  select.value = options.some((option) => option.value === value) ? value : "-1";
}

/** The page of a task: a panel over the page, which Escape closes. */
export class TaskPanel {
  /**
   * @param {(task: number) => Promise<Details | null>} fetchDetails
   * @param {(task: number) => void} open
   * @param {() => void} closed
   */
  constructor(fetchDetails, open, closed) {
    this.fetchDetails = fetchDetails;
    this.open = open;
    this.task = -1;
    this.title = el("h2", { id: "task-title", tabindex: -1 });
    this.body = el("div", { class: "inside" });
    this.element = el("dialog", { class: "panel", "aria-labelledby": "task-title", close: closed },
      el("header", {}, this.title, el("button", { type: "button", "aria-label": "Close", click: () => this.element.close() }, "✕")),
      this.body);
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
  }

  /**
   * Show a task.
   *
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} task
   */
  async show(overview, model, task) {
    this.task = task;
    const row = taskRow(model, task);
    this.title.replaceChildren(`Task ${task}`);
    if (row < 0) this.body.replaceChildren(el("p", { class: "calm" }, `This run has no task ${task}.`));
    else this.fill(overview, model, task, row, null, "");
    if (!this.element.open) this.element.showModal();
    this.title.focus();
    if (row < 0) return;
    let note = "";
    let details = null;
    try {
      details = await this.fetchDetails(task);
    } catch (error) {
      note = `More cannot be had: ${error instanceof Error ? error.message : error}`;
    }
    if (this.task === task) this.fill(overview, model, task, row, details, note);
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} task
   * @param {number} row
   * @param {Details | null} details
   * @param {string} note
   */
  fill(overview, model, task, row, details, note) {
    const state = model.tasks.state[row];
    const app = overview.apps[model.tasks.app[row]];
    this.title.replaceChildren(`Task ${task} · `, el("bdi", {}, short(app?.name ?? "?", 60)));
    this.body.replaceChildren(
      el("p", {}, el("span", { class: `badge s${state}` }, `${state === FAILED ? "✕ " : state === MEMOIZED ? "↺ " : ""}${STATES[state]}`)),
      ...(details?.said && !this.isToldByAttempt(model, task) ? [el("p", { class: "why" }, el("bdi", {}, details.said))] : []),
      ...(details?.call ? [el("pre", { class: "call", tabindex: 0, "aria-label": "Call" }, details.call)] : []),
      list([...this.times(overview, model, row, task), ...(details?.facts ?? [])]),
      ...this.attempts(overview, model, task, details),
      ...(details?.tails ?? []).map(tail),
      ...titled("Cache", details?.memo.length ? list(details.memo) : null),
      ...titled("Transfers", details?.transfers.length ? transferTable(details.transfers) : null),
      ...titled("What it depends on, and what on it", this.graph(overview, model, task)),
      note ? el("p", { class: "hint" }, note) : "");
  }

  /**
   * Tell whether the last attempt of a task has failed, so that it says what the task says.
   *
   * @param {Model} model
   * @param {number} task
   */
  isToldByAttempt(model, task) {
    const [low, high] = attemptsOf(model, task);
    return low < high && model.attempts.state[high - 1] === FAILED;
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} row
   * @param {number} task
   * @returns {[string, string][]}
   */
  times(overview, model, row, task) {
    const { tasks, unit } = model;
    const submitted = tasks.submitted[row];
    const attempt = lastAttempt(model, task);
    /** @type {[string, string][]} */
    const facts = [];
    if (submitted !== NONE) {
      facts.push(["submitted", `${label(submitted * unit, 0.001)} after the start · ${moment(overview.began + submitted * unit)}`]);
    }
    const [low] = attemptsOf(model, task);
    if (attempt && submitted !== NONE) facts.push(["waited", duration(Math.max(0, model.attempts.began[low] - submitted) * unit)]);
    const word = attempt && model.attempts.state[attempt.row] === RUNNING ? "running for" : "ran";
    if (attempt) facts.push([word, duration((attempt.ended - attempt.began) * unit)]);
    return facts;
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} task
   * @param {Details | null} details
   */
  attempts(overview, model, task, details) {
    const [low, high] = attemptsOf(model, task);
    if (low === high) return [];
    const made = [];
    for (let i = low; i < high; i++) {
      const said = details?.attempts[i - low]?.error || (i === high - 1 ? details?.said : "") || "";
      made.push(this.attempt(overview, model, i, i - low, details, said));
    }
    return titled(high - low === 1 ? "Attempt" : "Attempts", el("ol", { class: "attempts" }, ...made));
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} i
   * @param {number} place
   * @param {Details | null} details
   * @param {string} said
   */
  attempt(overview, model, i, place, details, said) {
    const { attempts, unit, lanes } = model;
    const more = details?.attempts[place];
    const state = attempts.state[i];
    const failure = overview.failures.find((one) => one.id === attempts.error[i]);
    const own = failure?.n === 1 || failure?.first === attempts.task[i];
    const last = lastAttempt(model, attempts.task[i])?.row === i;
    const newest = attempts.error.lastIndexOf(attempts.error[i], attemptsOf(model, attempts.task[i])[1] - 1) === i;
    const alike = own || (last && details?.asGroup);
    const why = !failure ? "" : said || `${failure.kind}: ${alike ? failure.message : failure.shape}`;
    const first = own || failure?.first == null ? "" : `, task ${failure.first}`;
    const where = lanes[attempts.worker[i]];
    return el("li", {},
      el("span", { class: `state s${state}` }, `${state === FAILED ? "✕ " : ""}${attemptWord(state)}`),
      ` ${state === RUNNING ? "for" : "after"} ${duration(attempts.took[i] * unit)}`,
      where ? el("span", {}, " on ", el("bdi", {}, where.name), el("small", {}, where.told)) : "",
      why ? el("p", { class: "why" }, el("bdi", {}, why)) : "",
      more?.retry ? el("p", { class: "hint" }, more.retry) : "",
      more?.told.length ? list(more.told) : "",
      failure?.traceback
        ? el("details", { open: newest }, el("summary", {}, own ? "Traceback" : `Traceback of the first that failed so${first}`),
          el("pre", { tabindex: 0, "aria-label": "Traceback" }, failure.traceback))
        : "");
  }

  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {number} task
   */
  graph(overview, model, task) {
    if (model.edges.child.length === 0) return null;
    const { parents, children } = neighbours(model);
    if (parents(task).length + children(task).length === 0) return null;
    return taskGraph(overview, model, task, this.open);
  }
}

/**
 * @param {string} title
 * @param {Node | null} body
 * @returns {Node[]}
 */
function titled(title, body) {
  return body ? [el("h3", {}, title), body] : [];
}

/**
 * Show a value; one of many lines is folded.
 *
 * @param {string} value
 */
function shown(value) {
  const lines = value.split("\n");
  const told = el("bdi", {}, value);
  return lines.length > 4 ? el("details", {}, el("summary", {}, `${lines.length} lines`), told) : told;
}

/**
 * Make a list of names and what they stand for.
 *
 * @param {[string, string][]} facts
 */
export function list(facts) {
  return el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, shown(value))]));
}

/**
 * Make a table of transfers.
 *
 * @param {import("./model.js").Transfer[]} transfers
 * @param {((task: number) => void) | null} [open]
 */
export function transferTable(transfers, open = null) {
  const head = ["way", "state", "bytes", "took", "attempts", "verified", "URL", ...(open ? ["task"] : [])];
  const rows = transfers.map((one) => el("tr", {},
    el("td", { class: "text" }, one.way),
    el("td", { class: `text${one.state === "failed" ? " state s7" : ""}` }, one.state === "failed" ? "✕ failed" : one.state),
    el("td", {}, bytesOf(one)), el("td", {}, duration(one.took)), el("td", {}, one.attempts === null ? "·" : String(one.attempts)),
    el("td", { class: "text" }, one.verified || "·"),
    el("td", { class: "text url" }, el("bdi", {}, one.url), one.error ? el("p", { class: "why" }, el("bdi", {}, one.error)) : ""),
    open ? el("td", {}, one.task === null ? "·" : el("button", { type: "button", class: "link", click: () => open(/** @type {number} */ (one.task)) }, String(one.task))) : ""));
  return el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Transfers" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head.map(heading))), el("tbody", {}, ...rows)));
}

/** @param {import("./model.js").Transfer} one */
function bytesOf(one) {
  const size = one.moved ?? one.size;
  return size === null ? "·" : count(size);
}
