// @ts-check
/**
 * The dashboard: a list of runs, the page of one, two of them side by side.
 *
 * Where one is stands in the address: `#run=003&task=7`, `#compare=001,003`; so the
 * browser's own keys go back and forth, and an address can be kept.
 */

import { joined, readColumns } from "./columns.js";
import { comparison } from "./compare.js";
import { count, duration, el, keepFocus, moment } from "./dom.js";
import { makeModel } from "./model.js";
import { RunPage } from "./page.js";

/** Milliseconds between two readings of columns, at least. */
const COLUMNS_MS = 400;

/** How many times as long as reading columns took is waited until the next time. */
const REST = 4;

/**
 * Ask the server.
 *
 * @param {string} path
 * @returns {Promise<Response>}
 */
async function ask(path) {
  const answer = await fetch(path);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(told.error);
}

/** The run that is looked at, and what keeps it up to date. */
class LiveRun {
  /**
   * @param {string} run
   * @param {(text: string) => void} tell
   */
  constructor(run, tell) {
    this.base = `/api/runs/${run}`;
    this.tell = tell;
    /** @type {import("./columns.js").Columns | null} */
    this.columns = null;
    this.closed = false;
    this.busy = false;
    this.again = false;
    this.rested = 0;
    this.page = new RunPage(
      async (task) => (await ask(`${this.base}/tasks/${task}`)).json(),
      (task) => remember(run, task));
    this.events = new EventSource(`/api/events?run=${run}`);
    this.events.addEventListener("change", () => void this.refresh());
    this.events.addEventListener("error", () => {
      // Where there is no such run, the page itself says so.
      if (this.page.overview) this.tell("not connected: the dashboard may have ended");
    });
    void this.refresh(); // where there is no such run, no event comes
  }

  close() {
    this.closed = true;
    this.events.close();
    this.page.closeTask();
  }

  /** Read what is new; one time after the other, however often something changes. */
  async refresh() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      await this.read();
    } catch (error) {
      this.failed(error);
    }
    this.busy = false;
    if (this.again && !this.closed) {
      this.again = false;
      void this.refresh();
    }
  }

  async read() {
    const overview = await (await ask(`${this.base}/overview`)).json();
    if (this.closed) return;
    const back = keepFocus(this.page.element);
    this.page.showOverview(overview);
    back();
    document.title = `${overview.counts[7] ? `✕ ${overview.counts[7]} · ` : ""}${overview.name}`;
    const live = overview.state === "running";
    this.tell(live ? `live · ${moment(Date.now() / 1000).slice(11)}` : "");
    if (overview.stored) await this.readColumns(overview);
    document.documentElement.dataset.ready ??= performance.now().toFixed(0);
  }

  /** @param {import("./model.js").Overview} overview */
  async readColumns(overview) {
    const wait = this.rested - performance.now();
    if (wait > 0) {
      setTimeout(() => !this.closed && void this.refresh(), wait);
      return;
    }
    const began = performance.now();
    const { settled = 0, unit = 0 } = this.columns?.head ?? {};
    const from = settled ?? (this.columns?.tables.tasks.id.at(-1) ?? -1) + 1;
    const answer = await ask(`${this.base}/columns?from=${from}&unit=${unit}`);
    const read = readColumns(new Uint8Array(await answer.arrayBuffer()));
    if (this.closed) return;
    this.columns = this.columns ? joined(this.columns, read) : read;
    const back = keepFocus(this.page.element);
    this.page.show(overview, this.columns);
    back();
    this.rested = performance.now() + Math.max(COLUMNS_MS, REST * (performance.now() - began));
    openAddressed(this.page);
  }

  /** @param {unknown} error */
  failed(error) {
    if (this.closed) return;
    const text = error instanceof Error ? error.message : String(error);
    this.tell(this.page.overview ? text : "");
    if (!this.page.overview) this.page.head.replaceChildren(el("h1", {}, "This run cannot be shown"), el("p", { class: "note" }, text));
    else this.page.notes.replaceChildren(el("p", { class: "note" }, text));
    document.documentElement.dataset.ready ??= performance.now().toFixed(0);
  }
}

// -- Where one is

/** @returns {URLSearchParams} */
function address() {
  return new URLSearchParams(location.hash.slice(1));
}

/**
 * Write into the address which task is shown.
 *
 * @param {string} run
 * @param {number | null} task
 */
function remember(run, task) {
  const wanted = `#run=${run}${task === null ? "" : `&task=${task}`}`;
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}

/** @param {RunPage} page */
function openAddressed(page) {
  const task = address().get("task");
  const shown = page.panel.element.open ? String(page.panel.task) : null;
  if (task !== null && /^\d+$/.test(task) && task !== shown) page.openTask(Number(task));
}

// -- The list of runs

/**
 * @typedef {{run: string, name: string, state: string, problem: string, began: number,
 *   took: number | null, tasks: number | null, failed: number, stored: boolean}} Listed
 */

/** @param {Set<string>} chosen */
async function listOfRuns(chosen) {
  const { runs, problem, directory } = await (await ask("/api/runs")).json();
  const compare = el("button", {
    type: "button", disabled: chosen.size !== 2,
    click: () => { location.hash = `compare=${[...chosen].sort().join(",")}`; },
  }, "Compare two");
  const told = el("span", { class: "hint", "aria-live": "polite" }, left(chosen.size));
  const choose = (/** @type {string} */ run, /** @type {boolean} */ on) => {
    if (on) chosen.add(run);
    else chosen.delete(run);
    compare.disabled = chosen.size !== 2;
    told.textContent = left(chosen.size);
  };
  const rows = runs.map((/** @type {Listed} */ run) => listed(run, chosen.has(run.run), (on) => choose(run.run, on)));
  const table = el("table", { class: "runs" },
    el("thead", {}, el("tr", {}, ...["", "run", "what ran", "state", "tasks", "failed", "took", "began"].map((name, i) =>
      el("th", { scope: "col", class: i < 4 ? "text" : null }, name)))),
    el("tbody", {}, ...rows));
  return el("div", {}, el("h1", {}, "Runs"), el("p", { class: "dim" }, el("bdi", {}, directory)),
    problem ? el("p", { class: "note" }, problem) : null,
    rows.length || problem ? null : el("p", { class: "calm" }, "There are no runs here yet. This page shows them as they come."),
    rows.length > 1 ? el("div", { class: "tools" }, compare, told) : null,
    rows.length ? el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Runs" }, table) : null);
}

/**
 * Say what is left to do until two runs are chosen.
 *
 * @param {number} chosen
 */
function left(chosen) {
  if (chosen > 2) return `Only two can be compared, and ${chosen} are ticked.`;
  return ["Tick two runs.", "Tick another one.", ""][chosen];
}

/**
 * @param {Listed} run
 * @param {boolean} chosen
 * @param {(on: boolean) => void} choose
 */
function listed(run, chosen, choose) {
  const box = el("input", { type: "checkbox", "aria-label": `Choose run ${run.run} to compare`, change: () => choose(box.checked) });
  box.checked = chosen;
  return el("tr", {}, el("td", {}, box),
    el("th", { scope: "row", class: "text" }, el("a", { href: `#run=${run.run}` }, run.run)),
    el("td", { class: "text what" }, el("bdi", {}, run.name.replace(/ · run \d+$/, "")),
      el("small", {}, ` ${run.problem || (run.stored ? "" : "without history")}`)),
    el("td", { class: "text" }, el("span", { class: `badge run-${run.state}` }, run.state)),
    el("td", { class: "tasks" }, run.tasks === null ? "–" : count(run.tasks)),
    run.failed ? el("td", { class: "state s7" }, `✕ ${count(run.failed)}`) : el("td", { class: "none" }, "·"),
    el("td", { class: "took" }, duration(run.took)), el("td", { class: "began" }, moment(run.began)));
}

// -- Two runs

/** @param {string} run */
async function sideOf(run) {
  const overview = await (await ask(`/api/runs/${run}/overview`)).json();
  if (!overview.stored) return { overview, model: null };
  const answer = await ask(`/api/runs/${run}/columns`);
  return { overview, model: makeModel(overview, readColumns(new Uint8Array(await answer.arrayBuffer()))) };
}

// -- What is shown

class Shown {
  constructor() {
    this.main = /** @type {HTMLElement} */ (document.getElementById("main"));
    this.told = el("span", { class: "live", "aria-live": "off" });
    /** @type {LiveRun | null} */
    this.live = null;
    /** @type {EventSource | null} */
    this.events = null;
    /** @type {Set<string>} */
    this.chosen = new Set();
    this.shownRun = "";
    addEventListener("hashchange", () => void this.go());
  }

  async go() {
    const wanted = address();
    const run = wanted.get("run") ?? "";
    if (this.live && run === this.shownRun) {
      if (wanted.get("task") === null) this.live.page.closeTask();
      else openAddressed(this.live.page);
      return;
    }
    this.live?.close();
    this.events?.close();
    this.live = this.events = null;
    this.shownRun = run;
    this.told.textContent = "";
    scrollTo(0, 0);
    const compared = (wanted.get("compare") ?? "").split(",");
    if (/^\d+$/.test(run)) this.showRun(run);
    else if (compared.length === 2 && compared.every((one) => /^\d+$/.test(one))) await this.showTwo(compared[0], compared[1]);
    else this.showList();
  }

  /** @param {...(Node | string)} names */
  crumbs(...names) {
    return el("nav", { class: "crumbs", "aria-label": "Where you are" }, el("a", { href: "#" }, "All runs"), ...names, this.told);
  }

  /** @param {string} run */
  showRun(run) {
    this.live = new LiveRun(run, (text) => { this.told.textContent = text; });
    this.main.replaceChildren(this.crumbs(`Run ${run}`), this.live.page.element);
  }

  showList() {
    document.title = "Runs · Jackfield";
    this.events = new EventSource("/api/events");
    const { events } = this;
    events.addEventListener("change", async () => {
      const shown = await listOfRuns(this.chosen).catch((error) => el("p", { class: "note" }, error.message));
      if (events !== this.events) return;
      const back = keepFocus(this.main);
      this.main.replaceChildren(shown);
      back();
      document.documentElement.dataset.ready ??= performance.now().toFixed(0);
    });
  }

  /**
   * @param {string} a
   * @param {string} b
   */
  async showTwo(a, b) {
    document.title = `Runs ${a} and ${b}`;
    const body = el("div", {}, el("h1", {}, `Runs ${a} and ${b}`), el("p", { class: "calm" }, "Loading…"));
    this.main.replaceChildren(this.crumbs(el("a", { href: `#run=${a}` }, `Run ${a}`), el("a", { href: `#run=${b}` }, `Run ${b}`)), body);
    try {
      const [left, right] = await Promise.all([sideOf(a), sideOf(b)]);
      body.lastElementChild?.replaceWith(comparison(left, right));
    } catch (error) {
      body.lastElementChild?.replaceWith(el("p", { class: "note" }, error instanceof Error ? error.message : String(error)));
    }
    document.documentElement.dataset.ready ??= performance.now().toFixed(0);
  }
}

void new Shown().go();
