// @ts-check
/**
 * Graphs in layers: one of the apps of a run, and one of a task and what is near it.
 *
 * A drawing has a few dozen nodes, or it tells nobody anything. What is beyond that is
 * folded together, and the page says so. Where apps depend on each other at random, lines
 * tell nothing either, and the graph of the apps is a table.
 */

import { FAILED, STATES, appEdges, lastAttempt, neighbours, taskRow } from "./model.js";
import { matrix } from "./apps.js";
import { count, counted, duration, el, pressable, short, svg } from "./dom.js";

/** Lines for each box beyond which a table is easier to read. */
const CROWDED = 2.5;

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 2 });

/** Apps that are drawn one by one. */
const MOST_APPS = 40;

/** Tasks in the neighbourhood of one. */
export const MOST_TASKS = 200;

/** Room below a drawing; above it is the margin, in which edges go back. */
const BELOW = 10;

/** Tasks beyond which none are added that are only connected through others. */
const ENOUGH_TASKS = 60;

/**
 * @typedef {Object} GraphNode
 * @property {string} title
 * @property {string} sub
 * @property {string} look Class names.
 * @property {string} told What it is in full.
 * @property {(() => void) | null} act
 *
 * @typedef {{from: number, to: number, n: number}} Edge
 */

/**
 * Give each node the layer that is one after the last of those that it depends on.
 * Edges that would close a circle are left out of this.
 *
 * @param {number} n
 * @param {Edge[]} edges
 */
function layersOf(n, edges) {
  /** @type {number[][]} */
  const out = Array.from({ length: n }, () => []);
  const missing = new Int32Array(n);
  for (const { from, to } of edges) {
    if (from === to) continue;
    out[from].push(to);
    missing[to] += 1;
  }
  const layers = new Int32Array(n);
  const done = new Uint8Array(n);
  const ready = [...missing.keys()].filter((node) => missing[node] === 0);
  for (let left = n; left > 0; left--) {
    let node = ready.pop();
    if (node === undefined) {
      // Only circles are left: one of their nodes has to go first.
      node = done.indexOf(0);
      missing[node] = 0;
    }
    done[node] = 1;
    for (const next of out[node]) {
      if (done[next]) continue;
      layers[next] = Math.max(layers[next], layers[node] + 1);
      if (--missing[next] === 0) ready.push(next);
    }
  }
  // What depends on nothing stands just before what it is for, and not far away.
  const targets = new Set(edges.map(({ to }) => to));
  for (const [node, next] of out.entries()) {
    if (targets.has(node) || next.length === 0) continue;
    layers[node] = Math.max(0, Math.min(...next.map((one) => layers[one])) - 1);
  }
  return layers;
}

/**
 * Order the nodes of each layer so that edges are short: by the mean place of what they
 * depend on, then of what depends on them, some times over.
 *
 * @param {Int32Array} layers
 * @param {Edge[]} edges
 * @returns {number[][]}
 */
function arranged(layers, edges) {
  /** @type {number[][]} */
  const rows = [];
  layers.forEach((layer, node) => (rows[layer] ??= []).push(node));
  for (let layer = 0; layer < rows.length; layer++) rows[layer] ??= [];
  const place = new Float64Array(layers.length);
  const settle = () => rows.forEach((row) => row.forEach((node, i) => (place[node] = i - row.length / 2)));
  settle();
  for (let round = 0; round < 6; round++) {
    const sums = new Float64Array(layers.length);
    const counts = new Float64Array(layers.length);
    for (const { from, to } of edges) {
      const [node, other] = round % 2 ? [from, to] : [to, from];
      sums[node] += place[other];
      counts[node] += 1;
    }
    for (const row of rows) row.sort((a, b) => mean(a) - mean(b) || a - b);
    settle();
    /** @param {number} node */
    function mean(node) {
      return counts[node] ? sums[node] / counts[node] : place[node];
    }
  }
  return rows;
}

/**
 * Draw a graph.
 *
 * @param {GraphNode[]} nodes
 * @param {Edge[]} edges
 * @param {{wide: number, high: number, across: number, down: number, margin: number, label: string}} size
 */
function drawn(nodes, edges, size) {
  const rows = arranged(layersOf(nodes.length, edges), edges);
  const most = rows.reduce((a, row) => Math.max(a, row.length), 1);
  const [stepX, stepY] = [size.wide + size.across, size.high + size.down];
  const [width, height] = [rows.length * stepX - size.across + 4, most * stepY - size.down + size.margin + BELOW];
  /** @type {[number, number][]} */
  const at = [];
  rows.forEach((row, layer) => {
    const top = size.margin + ((most - row.length) * stepY) / 2;
    row.forEach((node, i) => (at[node] = [2 + layer * stepX, top + i * stepY]));
  });
  const heaviest = edges.reduce((a, edge) => Math.max(a, edge.n), 1);
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": size.label });
  for (const edge of edges) picture.append(drawnEdge(edge, at, size, heaviest, nodes));
  for (const edge of edges) {
    const told = size.across > 45 && edge.n >= heaviest / 50;
    const number = told && edgeNumber(edge, at, size);
    if (number) picture.append(number);
  }
  nodes.forEach((node, i) => picture.append(drawnNode(node, at[i], size)));
  return el("div", { class: "graph wide", tabindex: 0, role: "region", "aria-label": size.label }, picture);
}

/**
 * @param {Edge} edge
 * @param {[number, number][]} at
 * @param {{wide: number, high: number, across: number}} size
 * @param {number} heaviest
 * @param {GraphNode[]} nodes
 */
function drawnEdge({ from, to, n }, at, { wide, high, across }, heaviest, nodes) {
  const [[a, b], [x, y]] = [at[from], at[to]];
  const middle = high / 2;
  const width = heaviest > 1 ? 1 + 3 * Math.sqrt(n / heaviest) : 1.3;
  const title = svg("title", {}, `${nodes[from].title} → ${nodes[to].title}: ${count(n)}`);
  const bend = Math.max(across / 2, Math.abs(x - a - wide) / 3);
  const path = from === to
    ? `M${a + wide * 0.35},${b} c-6,-14 ${wide * 0.3 + 12},-14 ${wide * 0.3},0`
    : x > a
      ? `M${a + wide},${b + middle} C${a + wide + bend},${b + middle} ${x - bend},${y + middle} ${x},${y + middle}`
      : `M${a + wide},${b + middle} C${a + wide + 40},${b - 30} ${x - 40},${y - 30} ${x},${y + middle}`;
  const light = n < heaviest / 50 ? " light" : "";
  return svg("path", { class: `edge${light}`, d: path, "stroke-width": width.toFixed(1) }, title);
}

/**
 * Write how often an edge is there: at its end, before the node.
 *
 * @param {Edge} edge
 * @param {[number, number][]} at
 * @param {{wide: number, high: number, across: number}} size
 */
function edgeNumber({ from, to, n }, at, { wide, high, across }) {
  const [a, [x, y]] = [at[from][0], at[to]];
  if (from === to || x - a > wide + across) return null;
  return x > a ? svg("text", { class: "n", x: x - 8, y: y + high / 2 - 5, "text-anchor": "end" }, short(count(n), 9)) : null;
}

/**
 * @param {GraphNode} node
 * @param {[number, number]} at
 * @param {{wide: number, high: number}} size
 */
function drawnNode(node, [x, y], { wide, high }) {
  const room = Math.floor((wide - 16) / 7);
  const small = high < 30;
  const made = svg("g", {
    class: `node ${node.look}`, transform: `translate(${x} ${y})`,
    tabindex: node.act ? 0 : null, role: node.act ? "button" : null, click: node.act,
  },
    svg("title", {}, node.told),
    svg("rect", { width: wide, height: high, rx: 5 }),
    svg("rect", { class: "stripe", width: 4, height: high, rx: 2 }),
    svg("text", { x: 10, y: small ? high / 2 + 4 : 16 }, short(small ? `${node.title} ${node.sub}` : node.title, room)),
    small ? null : svg("text", { class: "sub", x: 10, y: 31 }, short(node.sub, room + 3)));
  if (node.act) pressable(made);
  return made;
}

/**
 * Tell whether lines between boxes would hide one another.
 *
 * @param {GraphNode[]} nodes
 * @param {Edge[]} edges
 */
function crowded(nodes, edges) {
  return edges.filter(({ from, to }) => from !== to).length > CROWDED * nodes.length;
}

/**
 * Write a graph of many lines as a table: who is needed is a row, who needs it a column.
 * They come in the order of their layers, so that what lies below the diagonal goes back.
 *
 * @param {GraphNode[]} nodes
 * @param {Edge[]} edges
 * @param {string} label
 */
function grid(nodes, edges, label) {
  const order = arranged(layersOf(nodes.length, edges), edges).flat();
  const numbers = nodes.map(() => new Float64Array(nodes.length));
  for (const { from, to, n } of edges) numbers[from][to] += n;
  const most = edges.reduce((a, edge) => Math.max(a, edge.n), 1);
  const heads = order.map((to) => el("th", { scope: "col", title: nodes[to].told }, el("span", {}, el("bdi", {}, short(nodes[to].title, 18)))));
  const rows = order.map((from) => el("tr", {}, gridHead(nodes[from]), ...order.map((to) => {
    const n = numbers[from][to];
    const cell = el("td", { class: from === to ? "own" : null, title: n ? `${nodes[from].title} → ${nodes[to].title}: ${count(n)}` : null }, n ? COMPACT.format(n) : "");
    if (n) cell.style.setProperty("--much", `${Math.round(10 + 45 * Math.sqrt(n / most))}%`);
    return cell;
  })));
  return el("div", {}, el("p", { class: "hint" }, "A number says how often tasks of the column's app need one of the row's app."),
    el("div", { class: "graph wide whole", tabindex: 0, role: "region", "aria-label": label },
      el("table", { class: "grid" }, el("thead", {}, el("tr", {}, el("td", {}), ...heads)), el("tbody", {}, ...rows))));
}

/** @param {GraphNode} node */
function gridHead({ title, sub, look, told, act }) {
  const inner = [el("i", { class: "dot" }), el("bdi", {}, short(title, 24)), el("small", {}, ` ${sub}`)];
  return el("th", { scope: "row", class: `${look}`, title: told },
    act ? el("button", { type: "button", class: "node plain", click: act }, ...inner) : el("span", { class: "node" }, ...inner));
}

/**
 * Draw the apps of a run.
 *
 * @param {import("./model.js").Overview} overview
 * @param {Uint8Array} colours
 * @param {(app: number) => void} open
 */
export function appGraph(overview, colours, open) {
  const rows = matrix(overview);
  if (rows.length === 0) return el("p", { class: "calm" }, "There are no tasks yet.");
  const order = [...rows].sort((a, b) =>
    Number(b.states[FAILED] > 0) - Number(a.states[FAILED] > 0) || b.seconds - a.seconds || b.total - a.total);
  const single = rows.length <= MOST_APPS ? order : order.slice(0, MOST_APPS);
  const nodeOf = new Map(single.sort((a, b) => a.app - b.app).map((row, node) => [row.app, node]));
  const nodes = single.map((row) => appNode(row, colours[row.app], open));
  const folded = rows.filter((row) => !nodeOf.has(row.app));
  const pairs = appEdges(overview);
  fold(folded, pairs, nodes, nodeOf);
  const edges = edgesBetween(pairs, nodeOf);
  const circles = edges.some(({ from, to }) => from === to) || rows.length > 2;
  const size = { wide: 138, high: 40, across: 62, down: 14, margin: circles ? 34 : 10, label: "Which apps depend on which" };
  const picture = crowded(nodes, edges) ? grid(nodes, edges, size.label) : drawn(nodes, edges, size);
  if (folded.length === 0) return picture;
  const told = `${count(rows.length)} apps: the ${MOST_APPS} that failed or took most time are shown one by one; ` +
    `the other ${count(folded.length)} are folded together. The table of apps above finds each.`;
  return el("div", {}, el("p", { class: "hint" }, told), picture);
}

/**
 * @param {import("./apps.js").Row} row
 * @param {number} colour
 * @param {(app: number) => void} open
 * @returns {GraphNode}
 */
function appNode(row, colour, open) {
  const failed = row.states[FAILED];
  return {
    title: row.name,
    sub: failed ? `✕ ${count(failed)} of ${count(row.total)}` : count(row.total),
    look: `c${colour}${failed ? " bad" : ""}`,
    told: `${row.name}: ${counted(row.total, "task")}, ${count(failed)} failed, ${duration(row.seconds)} in all`,
    act: () => open(row.app),
  };
}

/**
 * Fold apps into few nodes: those that nothing but each other connects become one, and
 * when these are too many as well, the smallest of them become one.
 *
 * @param {import("./apps.js").Row[]} folded
 * @param {[number, number, number][]} edges
 * @param {GraphNode[]} nodes Gets the new nodes.
 * @param {Map<number, number>} nodeOf Gets the places of the apps.
 */
function fold(folded, edges, nodes, nodeOf) {
  const root = new Map(folded.map((row) => [row.app, row.app]));
  /** @param {number} app @returns {number} */
  const top = (app) => {
    let at = app;
    for (let up = root.get(at); up !== undefined && up !== at; up = root.get(at)) at = up;
    root.set(app, at);
    return at;
  };
  for (const [a, b] of edges) if (root.has(a) && root.has(b)) root.set(top(a), top(b));
  /** @type {Map<number, import("./apps.js").Row[]>} */
  const groups = new Map();
  for (const row of folded) groups.set(top(row.app), [...(groups.get(top(row.app)) ?? []), row]);
  const bySize = [...groups.values()].sort((a, b) => b.length - a.length);
  const kept = bySize.slice(0, 12);
  const rest = bySize.slice(12).flat();
  for (const group of rest.length ? [...kept, rest] : kept) {
    const tasks = group.reduce((sum, row) => sum + row.total, 0);
    for (const row of group) nodeOf.set(row.app, nodes.length);
    nodes.push({
      title: group.length === 1 ? group[0].name : counted(group.length, "app"), sub: counted(tasks, "task"), look: "folded",
      told: `Folded: ${group.slice(0, 12).map((row) => row.name).join(", ")}${group.length > 12 ? ", …" : ""}`, act: null,
    });
  }
}

/**
 * @param {[number, number, number][]} edges
 * @param {Map<number, number>} nodeOf
 * @returns {Edge[]}
 */
function edgesBetween(edges, nodeOf) {
  /** @type {Map<string, Edge>} */
  const found = new Map();
  for (const [parent, child, n] of edges) {
    const [from, to] = [nodeOf.get(parent), nodeOf.get(child)];
    if (from === undefined || to === undefined) continue;
    const key = `${from} ${to}`;
    const edge = found.get(key) ?? { from, to, n: 0 };
    edge.n += n;
    found.set(key, edge);
  }
  return [...found.values()];
}

/**
 * Collect what is near a task: those that it is connected with, those that these are,
 * and so on as long as there are not many; never more than `MOST_TASKS`.
 *
 * @param {import("./model.js").Model} model
 * @param {number} task
 */
export function near(model, task) {
  const { parents, children } = neighbours(model);
  const found = new Set([task]);
  let ring = [task];
  let more = false;
  for (let away = 1; ring.length && !more; away++) {
    const next = new Set(ring.flatMap((one) => [...parents(one), ...children(one)]).filter((one) => !found.has(one)));
    const room = (away === 1 ? MOST_TASKS : ENOUGH_TASKS) - found.size;
    more = next.size > room;
    ring = more && away > 1 ? [] : [...next].slice(0, room);
    for (const one of ring) found.add(one);
  }
  return { tasks: [...found].sort((a, b) => a - b), more };
}

/**
 * Draw what is near a task.
 *
 * @param {import("./model.js").Overview} overview
 * @param {import("./model.js").Model} model
 * @param {number} task
 * @param {(task: number) => void} open
 */
export function taskGraph(overview, model, task, open) {
  const { tasks, more } = near(model, task);
  const nodeOf = new Map(tasks.map((one, i) => [one, i]));
  const nodes = tasks.map((one) => taskNode(overview, model, one, one === task, open));
  /** @type {Edge[]} */
  const edges = [];
  const { parents } = neighbours(model);
  tasks.forEach((one, to) => {
    for (const parent of parents(one)) {
      const from = nodeOf.get(parent);
      if (from !== undefined) edges.push({ from, to, n: 1 });
    }
  });
  const size = { wide: 150, high: 22, across: 34, down: 6, margin: 8, label: `What is near task ${task}` };
  const told = tasks.length === 1 ? "It depends on no task, and none on it."
    : more ? `The nearest ${tasks.length} tasks; there are more.` : `${counted(tasks.length - 1, "task")} ${tasks.length === 2 ? "is" : "are"} connected with it.`;
  const hint = el("p", { class: "hint" }, told);
  if (tasks.length === 1) return el("div", {}, hint);
  const picture = drawn(nodes, edges, size);
  requestAnimationFrame(() => showMiddle(picture, ".self"));
  return el("div", {}, hint, picture);
}

/**
 * Scroll a picture, and nothing around it, until a part of it is in the middle.
 *
 * @param {HTMLElement} picture
 * @param {string} part
 */
function showMiddle(picture, part) {
  const [frame, found] = [picture.getBoundingClientRect(), picture.querySelector(part)?.getBoundingClientRect()];
  if (found) picture.scrollBy(found.x + found.width / 2 - frame.x - frame.width / 2, found.y + found.height / 2 - frame.y - frame.height / 2);
}

/**
 * @param {import("./model.js").Overview} overview
 * @param {import("./model.js").Model} model
 * @param {number} task
 * @param {boolean} self
 * @param {(task: number) => void} open
 * @returns {GraphNode}
 */
function taskNode(overview, model, task, self, open) {
  const row = taskRow(model, task);
  const state = row < 0 ? -1 : model.tasks.state[row];
  const app = row < 0 ? "unknown" : (overview.apps[model.tasks.app[row]]?.name ?? "unknown");
  const attempt = lastAttempt(model, task);
  const took = attempt ? duration((attempt.ended - attempt.began) * model.unit) : "";
  const sign = state === FAILED ? "✕ " : "";
  return {
    title: `${sign}${task}`, sub: app, look: `s${state}${self ? " self" : ""}`,
    told: `Task ${task}, ${app}: ${STATES[state] ?? "not known"} ${took}`,
    act: () => open(task),
  };
}
