// @ts-check
/** Apps and states: how many tasks of each app are in each state, and what they took. */

import { FAILED, STATES } from "./model.js";
import { count, counted, duration, el, share } from "./dom.js";

/**
 * @typedef {import("./model.js").Overview} Overview
 * @typedef {import("./model.js").Times} Times
 */

const SHOWN = 25;

/** The order in which states are columns: what asks for attention comes first. */
const ORDER = [7, 8, 9, 0, 1, 2, 3, 4, 6, 5];

/**
 * @typedef {{app: number, name: string, kind: string, states: number[], total: number, seconds: number}} Row
 */

/**
 * Add up the rows of the matrix.
 *
 * @param {Overview} overview
 * @returns {Row[]}
 */
export function matrix(overview) {
  const rows = overview.apps.map(({ name, kind }, app) => ({
    app, name, kind, states: STATES.map(() => 0), total: 0, seconds: 0,
  }));
  for (const [app, state, n, busy] of overview.tally) {
    rows[app].states[state] += n;
    rows[app].total += n;
    rows[app].seconds += busy;
  }
  return rows.filter((row) => row.total > 0);
}

/** The table; it can be sorted by its columns and searched. */
export class Apps {
  /**
   * @param {Uint8Array} colours
   * @param {(app: number, state: number) => void} list Shows the tasks of a cell.
   */
  constructor(colours, list) {
    this.colours = colours;
    this.list = list;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {{good: Times[], bad: Times[]} | null} */
    this.times = null;
    this.by = "worst";
    this.all = false;
    this.search = el("input", {
      type: "search", placeholder: "Search apps", "aria-label": "Search apps",
      input: () => this.render(),
    });
    this.body = el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Apps by state" });
    this.more = el("p", { class: "hint" });
    this.element = el("div", { class: "apps" }, this.search, this.body, this.more);
  }

  /**
   * @param {Overview} overview
   * @param {{good: Times[], bad: Times[]} | null} times Absent before the columns came.
   * @param {Uint8Array} colours
   */
  show(overview, times, colours) {
    this.colours = colours;
    this.rows = matrix(overview);
    this.times = times;
    this.search.hidden = this.rows.length <= 12;
    this.render();
  }

  /** @param {Row} row */
  median(row) {
    return this.times ? this.times.good[row.app].median : row.seconds / row.total;
  }

  sorted() {
    const wanted = this.search.value.toLowerCase();
    const rows = this.rows.filter((row) => row.name.toLowerCase().includes(wanted));
    /** @type {Record<string, (row: Row) => number>} */
    const keys = {
      worst: (row) => row.states[FAILED] * 1e15 + row.seconds * 1e3 + row.total / 1e9,
      tasks: (row) => row.total,
      median: (row) => this.median(row) || 0,
      longest: (row) => this.times?.good[row.app].longest || 0,
      total: (row) => row.seconds,
    };
    const state = STATES.indexOf(this.by);
    const key = state >= 0 ? (/** @type {Row} */ row) => row.states[state] : keys[this.by];
    if (this.by === "name") return rows.sort((a, b) => (a.name < b.name ? -1 : 1));
    return rows.sort((a, b) => key(b) - key(a) || a.app - b.app);
  }

  render() {
    const rows = this.sorted();
    const shown = this.all ? rows : rows.slice(0, SHOWN);
    const states = ORDER.filter((state) => this.rows.some((row) => row.states[state]));
    const most = rows.reduce((a, row) => Math.max(a, row.seconds), 0);
    const whole = rows.reduce((a, row) => a + row.seconds, 0);
    this.body.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {},
        this.heading("app", "name"), this.heading("tasks", "tasks"),
        ...states.map((state) => this.heading(STATES[state], STATES[state])),
        this.heading(this.times ? "median" : "mean", "median"),
        this.heading("longest", "longest"), this.heading("time in all", "total"))),
      el("tbody", {}, ...shown.map((row) => this.row(row, states, most, whole)))));
    const hidden = rows.length - shown.length;
    this.more.replaceChildren(hidden > 0
      ? el("button", { type: "button", click: () => { this.all = true; this.render(); } }, `Show ${counted(hidden, "more app")}`)
      : "");
  }

  /**
   * @param {string} text
   * @param {string} by
   */
  heading(text, by) {
    const sorted = this.by === by;
    const sort = () => {
      this.by = by;
      this.render();
      /** @type {HTMLElement | null} */ (this.body.querySelector(`[data-by="${by}"]`))?.focus();
    };
    return el("th", { scope: "col", "aria-sort": sorted ? (by === "name" ? "ascending" : "descending") : null },
      el("button", { type: "button", class: "plain", "data-by": by, click: sort }, text));
  }

  /**
   * @param {Row} row
   * @param {number[]} states
   * @param {number} most
   * @param {number} whole
   */
  row(row, states, most, whole) {
    const place = this.colours[row.app];
    const bar = el("i", { class: `meter c${place}` });
    bar.style.setProperty("width", `${most ? (row.seconds / most) * 100 : 0}%`);
    return el("tr", {},
      el("th", { scope: "row" }, el("i", { class: `dot c${place}` }), el("bdi", { title: row.name }, row.name),
        row.kind === "python" || !row.kind ? "" : el("small", {}, ` ${row.kind}`)),
      el("td", {}, count(row.total)),
      ...states.map((state) => this.cell(row, state)),
      el("td", { title: this.badTimes(row) }, duration(this.median(row))),
      el("td", {}, duration(this.times?.good[row.app].longest)),
      el("td", { class: "time" }, el("span", {}, row.seconds ? `${duration(row.seconds)} · ${share(row.seconds, whole)}` : "–"), el("span", { class: "track" }, bar)));
  }

  /** @param {Row} row */
  badTimes(row) {
    const bad = this.times?.bad[row.app];
    return bad?.n ? `${counted(bad.n, "failed attempt")}: median ${duration(bad.median)}` : null;
  }

  /**
   * @param {Row} row
   * @param {number} state
   */
  cell(row, state) {
    const n = row.states[state];
    if (!n) return el("td", { class: "none" }, "·");
    const told = `${count(n)} ${STATES[state]}, app ${row.name}: list them`;
    const bad = state === FAILED ? this.times?.bad[row.app] : null;
    return el("td", { class: `state s${state}` },
      el("button", { type: "button", class: "plain", "aria-label": told, click: () => this.list(row.app, state) },
        state === FAILED ? `✕ ${count(n)}` : count(n)),
      bad?.n ? el("small", { title: "median of failed attempts" }, ` ${duration(bad.median)}`) : null);
  }
}
