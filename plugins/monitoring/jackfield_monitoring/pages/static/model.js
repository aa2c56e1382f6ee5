// @ts-check
/**
 * What is known of a run, in a form that can be drawn at once.
 *
 * A run of a million tasks is some arrays of numbers; there is no object for each task.
 * "Bars" are attempts, sorted by the lane of their worker and, in it, by their begin.
 */

import { NONE, firstAtLeast } from "./columns.js";

/** States by the numbers that stores and columns have for them. */
export const STATES = [
  "waiting", "ready", "submitted", "joining", "finishing",
  "succeeded", "memoized", "failed", "dependency-failed", "cancelled",
];
export const [WAITING, READY, SUBMITTED, JOINING, FINISHING] = [0, 1, 2, 3, 4];
export const [SUCCEEDED, MEMOIZED, FAILED, DEPENDENCY_FAILED, CANCELLED] = [5, 6, 7, 8, 9];

/** The state of an attempt that has not ended. */
export const RUNNING = SUBMITTED;

/**
 * Tell in a word how an attempt is.
 *
 * @param {number} state
 */
export function attemptWord(state) {
  return state === RUNNING ? "running" : STATES[state];
}

/** Lanes that are made up, at the most, for attempts whose worker nobody knows. */
const MOST_UNPLACED = 1000;

/**
 * @typedef {Object} Failure
 * @property {number} id
 * @property {string} kind
 * @property {string} message
 * @property {string} shape The message without what varies.
 * @property {string} traceback
 * @property {number} n How often it was seen, retried attempts among them.
 * @property {number} tasks How many tasks have ended with it.
 * @property {number | null} first The first task that failed so.
 * @property {number | null} at When the newest ended, in seconds since the epoch.
 * @property {string} app
 * @property {"" | "dependency-failed" | "cancelled"} noNews What became of the tasks, if they did not fail by themselves.
 * @property {Tail[]} tails
 *
 * @typedef {{name: string, text: string, note: string}} Tail
 *
 * @typedef {Object} Transfer
 * @property {number | null} task
 * @property {string} url
 * @property {string} way
 * @property {string} state
 * @property {number | null} attempts
 * @property {number | null} moved
 * @property {number | null} size
 * @property {number | null} took
 * @property {string} verified
 * @property {string} error
 *
 * @typedef {Object} Overview What the page gets at once, before the columns.
 * @property {string} name
 * @property {string} state
 * @property {string} problem
 * @property {string} advice How to keep a history, where there is none.
 * @property {boolean} stored
 * @property {number} now Seconds that the run had taken when this was read.
 * @property {number} began Seconds since the epoch.
 * @property {[string, string][]} facts
 * @property {number[]} counts How many tasks each state has.
 * @property {{name: string, kind: string}[]} apps
 * @property {{label: string, workers: number}[]} executors
 * @property {{name: string, executor: number, host: string, pid: number | null, began: number | null, ended: number | null, reason: string}[]} workers
 * @property {[number, number, number, number][]} tally App, state, tasks, seconds.
 * @property {{steps: number[], n: number[]}} edges See `appEdges`.
 * @property {Failure[]} failures
 * @property {boolean} moreFailures Whether there are more groups of failures.
 * @property {{n: number, moved: number, failed: number, shown: Transfer[]}} transfers
 * @property {{lost: number, reasons: string[]}} gaps
 * @property {string[]} left What was left out, a sentence each.
 * @property {string[]} failureLines What `run.json` tells of failures.
 *
 * @typedef {Object} Lane
 * @property {string} name
 * @property {number} executor
 * @property {number} first The first of its bars.
 * @property {number} last One after its last bar.
 * @property {number} busy Seconds.
 * @property {number} alive Seconds.
 * @property {string} told What else is known of its worker.
 * @property {boolean} own Whether its worker is one of the kernel's own.
 *
 * @typedef {Object} Model
 * @property {number} unit Seconds that a unit of time has.
 * @property {number} end When the last thing happened, in units.
 * @property {import("./columns.js").Table} tasks
 * @property {import("./columns.js").Table} attempts Those that run took until now.
 * @property {import("./columns.js").Table} edges
 * @property {number[]} running Rows of the attempts that run, the longest before others.
 * @property {Uint32Array} rowOf Of each attempt, the row of its task, or `NONE`.
 * @property {Lane[]} lanes One for each worker, in the overview's order, and those made up.
 * @property {Lane[]} shown Those of the timeline: the kernel's own only where they did something.
 * @property {{begins: Uint32Array, ends: Uint32Array, attempts: Uint32Array, apps: Uint16Array, bad: Uint8Array, open: Uint8Array}} bars
 * @property {number} unplaced Attempts whose worker is not known.
 */

/**
 * Return which apps depend on which: app, app that depends on it, how often.
 *
 * @param {Overview} overview There each pair is one number, less the one before.
 * @returns {[number, number, number][]}
 */
export function appEdges(overview) {
  const { steps, n } = overview.edges;
  const apps = overview.apps.length;
  let pair = 0;
  return steps.map((step, i) => {
    pair += step;
    return [Math.floor(pair / apps), pair % apps, n[i]];
  });
}

/**
 * Make the model of a run.
 *
 * @param {Overview} overview
 * @param {import("./columns.js").Columns} columns
 * @returns {Model}
 */
export function makeModel(overview, columns) {
  const { tasks, edges } = columns.tables;
  let { attempts } = columns.tables;
  const unit = columns.head.unit / 1e6;
  const rowOf = rowsOf(tasks.id, attempts.task);
  const ends = new Uint32Array(attempts.began.length);
  let end = 0;
  for (let i = 0; i < ends.length; i++) {
    ends[i] = attempts.began[i] + attempts.took[i];
    if (ends[i] > end) end = ends[i];
  }
  const { submitted } = tasks;
  for (let i = 0; i < submitted.length; i++) if (submitted[i] !== NONE && submitted[i] > end) end = submitted[i];
  end = Math.max(end, 1, Math.floor(overview.now / unit));
  const running = rowsRunning(attempts);
  if (running.length) {
    attempts = { ...attempts, took: attempts.took.slice() };
    for (const i of running) {
      ends[i] = end;
      attempts.took[i] = end - attempts.began[i];
    }
  }
  const lanes = makeLanes(overview, end * unit);
  const { laneOf, unplaced } = placed(overview, attempts, ends, lanes);
  const bars = makeBars(tasks, attempts, rowOf, ends, laneOf, lanes);
  for (const lane of lanes) {
    for (let i = lane.first; i < lane.last; i++) lane.busy += bars.ends[i] - bars.begins[i];
    lane.busy *= unit;
  }
  const shown = lanes.filter((lane) => !lane.own || lane.first < lane.last);
  return { unit, end, tasks, attempts, edges, running, rowOf, lanes, shown, bars, unplaced };
}

/**
 * Find the attempts that run, those that began first before the others.
 *
 * @param {import("./columns.js").Table} attempts
 */
function rowsRunning({ state, began }) {
  const found = [];
  for (let i = 0; i < state.length; i++) if (state[i] === RUNNING) found.push(i);
  return found.sort((a, b) => began[a] - began[b]);
}

/**
 * Find the row of each attempt's task; both are sorted by the task's number.
 *
 * @param {Uint32Array} ids
 * @param {Uint32Array} wanted
 */
function rowsOf(ids, wanted) {
  const rows = new Uint32Array(wanted.length);
  let row = 0;
  for (let i = 0; i < wanted.length; i++) {
    while (row < ids.length && ids[row] < wanted[i]) row++;
    rows[i] = ids[row] === wanted[i] ? row : NONE;
  }
  return rows;
}

/**
 * Tell whether an executor is one of the kernel's own, whose labels begin with "_". Its
 * workers are no part of what the user has to pay for.
 *
 * @param {Overview} overview
 * @param {number} executor
 */
export function isOwn(overview, executor) {
  return overview.executors[executor]?.label.startsWith("_") ?? false;
}

/**
 * @param {Overview} overview
 * @param {number} now
 * @returns {Lane[]}
 */
function makeLanes(overview, now) {
  return overview.workers.map((worker) => {
    const born = worker.began ?? 0;
    const gone = worker.ended ?? now;
    const place = worker.host ? ` on ${worker.host}` : "";
    const pid = worker.pid ? `, process ${worker.pid}` : "";
    const end = worker.reason ? `. It has gone: ${worker.reason}` : "";
    return {
      name: worker.name, executor: worker.executor, first: 0, last: 0, busy: 0,
      alive: Math.max(0, gone - born), told: `${place}${pid}${end}`,
      own: isOwn(overview, worker.executor),
    };
  });
}

/**
 * Find the lane of each attempt. For those whose worker is unknown, lanes are made up,
 * as few as can hold them without overlap.
 *
 * @param {Overview} overview
 * @param {import("./columns.js").Table} attempts
 * @param {Uint32Array} ends
 * @param {Lane[]} lanes Gets the lanes that are made up.
 */
function placed(overview, attempts, ends, lanes) {
  const laneOf = attempts.worker.slice();
  const known = lanes.length;
  const homeless = sortedBy(attempts.began, counting(laneOf.length).filter((i) => laneOf[i] >= known));
  /** @type {Map<number, {lane: number, free: number}[]>} */
  const made = new Map();
  for (const i of homeless) {
    const executor = attempts.executor[i];
    const own = made.get(executor) ?? [];
    made.set(executor, own);
    let place = own.find((one) => one.free <= attempts.began[i]);
    if (!place) {
      if (own.length >= MOST_UNPLACED) place = own[i % MOST_UNPLACED];
      else {
        place = { lane: lanes.length, free: 0 };
        own.push(place);
        lanes.push({
          name: `${overview.executors[executor]?.label ?? "?"} · ${own.length}`, executor,
          first: 0, last: 0, busy: 0, alive: 0, told: " (its executor tells no workers)",
          own: isOwn(overview, executor),
        });
      }
    }
    laneOf[i] = place.lane;
    place.free = Math.max(place.free, ends[i]);
  }
  return { laneOf, unplaced: homeless.length };
}

/**
 * Sort the attempts into bars, and tell the lanes which are theirs.
 *
 * @param {import("./columns.js").Table} tasks
 * @param {import("./columns.js").Table} attempts
 * @param {Uint32Array} rowOf
 * @param {Uint32Array} ends
 * @param {Uint32Array} laneOf
 * @param {Lane[]} lanes
 */
function makeBars(tasks, attempts, rowOf, ends, laneOf, lanes) {
  const n = ends.length;
  const order = sortedBy(laneOf, sortedBy(attempts.began, counting(n)));
  const bars = {
    begins: new Uint32Array(n), ends: new Uint32Array(n), attempts: order,
    apps: new Uint16Array(n), bad: new Uint8Array(n), open: new Uint8Array(n),
  };
  let lane = -1;
  for (let i = 0; i < n; i++) {
    const attempt = order[i];
    while (lane < laneOf[attempt]) {
      lane += 1;
      lanes[lane].first = lanes[lane].last = i;
    }
    lanes[lane].last = i + 1;
    bars.begins[i] = attempts.began[attempt];
    bars.ends[i] = ends[attempt];
    bars.open[i] = attempts.state[attempt] === RUNNING ? 1 : 0;
    bars.bad[i] = attempts.state[attempt] === FAILED ? 1 : 0;
    bars.apps[i] = rowOf[attempt] === NONE ? 0xffff : tasks.app[rowOf[attempt]];
  }
  for (lane += 1; lane < lanes.length; lane++) lanes[lane].first = lanes[lane].last = n;
  return bars;
}

/**
 * Return the numbers from 0 on.
 *
 * @param {number} n How many.
 */
function counting(n) {
  const made = new Uint32Array(n);
  for (let i = 0; i < n; i++) made[i] = i;
  return made;
}

/**
 * Sort places by the number that stands there, without changing the order of equals.
 * Loops count here, because loops over items are slow until the browser has compiled them.
 *
 * @param {Uint32Array} keys
 * @param {Uint32Array} order
 */
function sortedBy(keys, order) {
  let most = 0;
  for (let i = 0; i < keys.length; i++) if (keys[i] > most) most = keys[i];
  /** @type {Uint32Array} */
  let from = order;
  /** @type {Uint32Array} */
  let to = new Uint32Array(order.length);
  for (let shift = 0; shift < 32 && most >>> shift > 0; shift += 11) {
    const starts = new Uint32Array(2049);
    for (let i = 0; i < from.length; i++) starts[((keys[from[i]] >>> shift) & 2047) + 1]++;
    for (let bucket = 0; bucket < 2048; bucket++) starts[bucket + 1] += starts[bucket];
    for (let i = 0; i < from.length; i++) to[starts[(keys[from[i]] >>> shift) & 2047]++] = from[i];
    [from, to] = [to, from];
  }
  return from;
}

/**
 * Find the first bar of a lane that ends after a moment.
 *
 * @param {Model} model
 * @param {Lane} lane
 * @param {number} at Units.
 */
export function barAfter(model, lane, at) {
  return firstAtLeast(model.bars.ends, Math.max(0, Math.floor(at)), lane.first, lane.last);
}

/**
 * Find the row of a task, or -1.
 *
 * @param {Model} model
 * @param {number} task
 */
export function taskRow(model, task) {
  const row = firstAtLeast(model.tasks.id, task);
  return model.tasks.id[row] === task ? row : -1;
}

/**
 * Find the attempts of a task, as a range of rows.
 *
 * @param {Model} model
 * @param {number} task
 * @returns {[number, number]}
 */
export function attemptsOf(model, task) {
  return [
    firstAtLeast(model.attempts.task, task),
    firstAtLeast(model.attempts.task, task + 1),
  ];
}

/**
 * @typedef {Object} Times Seconds that attempts of an app took.
 * @property {number} n
 * @property {number} median
 * @property {number} longest
 * @property {number} total
 */

/**
 * Sum up what attempts took, by app: those that ended well, and those that failed. What
 * those will take that run is not known.
 *
 * @param {Model} model
 * @param {number} apps How many there are.
 * @returns {{good: Times[], bad: Times[]}}
 */
export function timesOf(model, apps) {
  const { attempts, rowOf, tasks, unit } = model;
  const keys = new Uint32Array(rowOf.length);
  const sizes = new Uint32Array(2 * apps + 2);
  for (let i = 0; i < keys.length; i++) {
    const unknown = rowOf[i] === NONE || attempts.state[i] === RUNNING || attempts.state[i] === CANCELLED;
    const app = unknown ? apps : tasks.app[rowOf[i]];
    keys[i] = 2 * app + (attempts.state[i] === FAILED ? 1 : 0);
    sizes[keys[i]]++;
  }
  const groups = Array.from(sizes, (size) => new Uint32Array(size));
  sizes.fill(0);
  for (let i = 0; i < keys.length; i++) groups[keys[i]][sizes[keys[i]]++] = attempts.took[i];
  const times = groups.map((group) => summed(group, unit));
  const all = Array.from({ length: apps }, (_, app) => app);
  return { good: all.map((app) => times[2 * app]), bad: all.map((app) => times[2 * app + 1]) };
}

/**
 * @param {Uint32Array} took
 * @param {number} unit
 * @returns {Times}
 */
function summed(took, unit) {
  took.sort();
  const n = took.length;
  let total = 0;
  for (const one of took) total += one;
  const median = n ? (took[(n - 1) >> 1] + took[n >> 1]) / 2 : NaN;
  return { n, median: median * unit, longest: n ? took[n - 1] * unit : NaN, total: total * unit };
}

/**
 * Count how many attempts ran at a time: the mean in each of some equal stretches.
 *
 * @param {Model} model
 * @param {number} stretches
 */
export function runningOver(model, stretches) {
  const { begins, ends } = model.bars;
  const whole = new Float64Array(stretches + 1); // what holds for whole stretches, as steps
  const parts = new Float64Array(stretches);
  const scale = stretches / model.end;
  for (let i = 0; i < begins.length; i++) {
    const [a, b] = [begins[i] * scale, Math.min(ends[i] * scale, stretches)];
    const [x, y] = [Math.min(Math.floor(a), stretches - 1), Math.min(Math.floor(b), stretches - 1)];
    if (x === y) parts[x] += b - a;
    else {
      parts[x] += x + 1 - a;
      parts[y] += b - y;
      whole[x + 1] += 1;
      whole[y] -= 1;
    }
  }
  let level = 0;
  for (let i = 0; i < stretches; i++) parts[i] += level += whole[i];
  return parts;
}

/**
 * @typedef {Object} Neighbours Who depends on whom, to be looked up in both directions.
 * @property {(task: number) => number[]} parents
 * @property {(task: number) => number[]} children
 */

/** @type {WeakMap<Model, Neighbours>} */
const known = new WeakMap();

/**
 * Index the edges of a run; once for each model.
 *
 * @param {Model} model
 * @returns {Neighbours}
 */
export function neighbours(model) {
  const found = known.get(model);
  if (found) return found;
  const { child, parent } = model.edges;
  const order = sortedBy(parent, counting(child.length));
  const sorted = order.map((i) => parent[i]);
  const made = {
    /** @param {number} task */
    parents: (task) => Array.from(parent.subarray(firstAtLeast(child, task), firstAtLeast(child, task + 1))),
    /** @param {number} task */
    children: (task) =>
      Array.from(order.subarray(firstAtLeast(sorted, task), firstAtLeast(sorted, task + 1)), (i) => child[i]),
  };
  known.set(model, made);
  return made;
}

/**
 * When a task's last attempt began and ended, in units; null if none is known.
 *
 * @param {Model} model
 * @param {number} task
 * @returns {{began: number, ended: number, row: number} | null}
 */
export function lastAttempt(model, task) {
  const [low, high] = attemptsOf(model, task);
  if (low === high) return null;
  const row = high - 1;
  const began = model.attempts.began[row];
  return { began, ended: began + model.attempts.took[row], row };
}

/**
 * Follow what the end of the run waited for: from the task that ended last to the one
 * among its inputs that ended last, and so on to the beginning.
 *
 * @param {Model} model
 * @returns {number[]} Numbers of tasks, the first to run at first.
 */
export function criticalPath(model) {
  const { attempts } = model;
  let last = -1;
  let latest = -1;
  for (let i = 0; i < attempts.task.length; i++) {
    const ended = attempts.began[i] + attempts.took[i];
    if (ended > latest) [latest, last] = [ended, attempts.task[i]];
  }
  const path = [];
  const { parents } = neighbours(model);
  for (let task = last; task >= 0 && path.length < model.tasks.id.length; ) {
    path.push(task);
    let next = -1;
    let ended = -1;
    for (const one of parents(task)) {
      const attempt = lastAttempt(model, one);
      if (attempt && attempt.ended > ended) [ended, next] = [attempt.ended, one];
    }
    task = next;
  }
  return path.reverse();
}
