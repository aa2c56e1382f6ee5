// @ts-check
/**
 * The timeline: a lane for each worker, a bar for each attempt, all of a run.
 *
 * It is painted pixel by pixel. Each pixel adds up how much of it bars cover, so a
 * million bars that are thinner than a pixel give the same picture as if they had been
 * drawn one by one. Where there are more lanes than pixels, a row stands for several.
 */

import { barAfter, runningOver } from "./model.js";
import { COLOURED, SHADES, palette, pixel, shades } from "./colours.js";
import { label, ticks } from "./clock.js";
import { NONE } from "./columns.js";
import { count, counted, duration, el, short, styled } from "./dom.js";

const MOST_HEIGHT = 560;
const GUTTER = 104;
const AXIS = 22;
const STRIP = 14;
const CHART = 56;
const HEIGHTS = [22, 14, 9, 6, 4, 3, 2];

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Overview} Overview
 * @typedef {{bar: number, lane: number}} Found
 * @typedef {{cover: Float32Array, best: Float32Array, who: Uint8Array, bad: Uint8Array, open: Uint8Array}} Row
 */

/** A timeline, as an element for the page. */
export class Timeline {
  /**
   * @param {Overview} overview
   * @param {Model} model
   * @param {Uint8Array} colours Of each app, its place among the colours.
   * @param {(task: number) => void} open Called with the task that somebody opens.
   */
  constructor(overview, model, colours, open) {
    this.overview = overview;
    this.model = model;
    this.colours = colours;
    this.open = open;
    this.from = 0;
    this.to = model.end;
    /** Whether all of the run is seen; then what comes later is seen as well. */
    this.follows = true;
    this.each = false;
    /** The app that is shown alone, or -1. */
    this.app = -1;
    /** Bars of attempts that failed. @type {number[]} */
    this.failed = [];
    this.failures = 0;
    /** @type {Found | null} */
    this.chosen = null;
    this.waiting = 0;
    /** Milliseconds that the last picture took. */
    this.drawn = 0;
    /** @type {Float64Array | null} */
    this.running = null;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.spacer = el("div");
    this.scroller = el("div", {
      class: "lanes", tabindex: 0, role: "application", "aria-roledescription": "timeline",
      "aria-label": "Timeline of the workers", "aria-describedby": "timeline-keys",
    }, this.canvas, this.spacer);
    this.chart = el("canvas", { class: "chart", "aria-hidden": "true" });
    this.axis = el("canvas", { class: "axis", "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.legend = el("div", { class: "legend", role: "group", "aria-label": "Show one app alone" });
    this.eachButton = this.button("Each worker", "Give each worker a lane of its own", () => this.toggleEach());
    this.nextButton = this.button("Next failure", "Go to the next failure", () => this.nextFailure(1));
    this.element = this.composed();
    this.size = this.measure();
    this.listen();
    this.show(overview, model, colours);
  }

  composed() {
    return el("div", { class: "timeline" },
      el("div", { class: "tools" },
        this.button("+", "Zoom in", () => this.zoom(0.5)),
        this.button("−", "Zoom out", () => this.zoom(2)),
        this.button("All", "Show all of the run", () => this.fit()),
        this.nextButton, this.eachButton),
      this.legend, this.chart, this.axis, this.scroller, this.tip, this.said,
      el("p", { class: "hint", id: "timeline-keys" },
        "Drag to zoom in; Ctrl and the wheel zoom too. With the keyboard: + − 0, arrows, " +
        "f and F for the next and the last failure, n and p from bar to bar, Enter opens a task."));
  }

  /**
   * @param {string} text
   * @param {string} title
   * @param {() => void} act
   */
  button(text, title, act) {
    return el("button", { type: "button", title, "aria-label": title, click: act }, text);
  }

  /**
   * Show a run, or what has become of it.
   *
   * @param {Overview} overview
   * @param {Model} model
   * @param {Uint8Array} colours
   */
  show(overview, model, colours) {
    const moved = this.model.unit !== model.unit;
    if (moved || this.follows) [this.from, this.to] = [0, model.end];
    this.overview = overview;
    this.model = model;
    this.colours = colours;
    this.chosen = null;
    this.running = null;
    this.failed = [];
    model.bars.bad.forEach((bad, i) => bad && this.failed.push(i));
    this.failures = this.failed.length;
    this.nextButton.disabled = this.failures === 0;
    this.makeLegend();
    this.later();
  }

  makeLegend() {
    const places = new Map();
    this.colours.forEach((place, app) => places.set(place, [...(places.get(place) ?? []), app]));
    const items = [...places.entries()].sort(([a], [b]) => a - b).map(([place, apps]) => {
      const alone = place < COLOURED;
      const name = alone ? this.overview.apps[apps[0]].name : counted(apps.length, "other app");
      return el("button", {
        type: "button", class: `app c${place}`, disabled: !alone, "aria-pressed": String(alone && this.app === apps[0]),
        click: () => this.only(this.app === apps[0] ? -1 : apps[0]),
      }, el("i", {}), el("bdi", {}, short(name, 28)));
    });
    const failed = el("span", { class: "app bad" }, el("i", {}), "failed");
    const open = el("span", { class: "app open" }, el("i", {}), "running");
    this.legend.replaceChildren(...items, failed, this.model.running.length ? open : "");
  }

  /**
   * Show one app alone; -1 for all.
   *
   * @param {number} app
   */
  only(app) {
    this.app = app;
    this.makeLegend();
    this.later();
  }

  // -- Size and place

  measure() {
    const ratio = window.devicePixelRatio || 1;
    const width = this.scroller.clientWidth || 600;
    const gutter = width > 560 ? GUTTER : 0;
    const lanes = this.model.shown.length;
    const height = HEIGHTS.find((one) => one * lanes <= MOST_HEIGHT) ?? 2;
    const fits = height * lanes <= MOST_HEIGHT;
    this.eachButton.hidden = fits && height >= 6;
    const one = this.each ? Math.max(height, 14) : height;
    const together = this.each || fits ? 1 : Math.ceil((lanes * one) / MOST_HEIGHT);
    const rows = Math.max(1, Math.ceil(lanes / together));
    const whole = rows * one;
    return { ratio, width, gutter, one, together, rows, whole, high: Math.min(whole, MOST_HEIGHT) };
  }

  toggleEach() {
    this.each = !this.each;
    this.eachButton.setAttribute("aria-pressed", String(this.each));
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  /**
   * Make a canvas as large as it is to be, and give what draws on it.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {number} width
   * @param {number} height
   * @param {number} ratio
   */
  sized(canvas, width, height, ratio) {
    const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.setProperty("width", `${width}px`);
      canvas.style.setProperty("height", `${height}px`);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "11px system-ui, sans-serif";
    return context;
  }

  // -- Drawing

  draw() {
    if (!this.element.isConnected) return;
    const began = performance.now();
    this.size = this.measure();
    const { size } = this;
    this.scroller.style.setProperty("height", `${size.high}px`);
    this.spacer.style.setProperty("height", `${size.whole - size.high}px`);
    this.drawLanes(size);
    this.drawAxis(size);
    this.drawChart(size);
    this.drawn = performance.now() - began;
    this.element.dataset.drawn = this.drawn.toFixed(1);
    this.element.dataset.from = String(Math.round(this.from));
    this.element.dataset.to = String(Math.round(this.to));
  }

  /** @param {ReturnType<Timeline["measure"]>} size */
  drawLanes(size) {
    const context = this.sized(this.canvas, size.width, size.high, size.ratio);
    const wide = Math.max(1, Math.round((size.width - size.gutter) * size.ratio));
    const image = context.createImageData(wide, this.canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    const inks = this.inks();
    pixels.fill(inks.under);
    const row = {
      cover: new Float32Array(wide), best: new Float32Array(wide),
      who: new Uint8Array(wide), bad: new Uint8Array(wide), open: new Uint8Array(wide),
    };
    const top = this.scroller.scrollTop;
    const first = Math.floor(top / size.one);
    for (let i = first; i < size.rows && i * size.one < top + size.high; i++) {
      const lanes = this.model.shown.slice(i * size.together, (i + 1) * size.together);
      for (const lane of lanes) this.addLane(lane, row, wide, size.together);
      const y = Math.round((i * size.one - top) * size.ratio);
      const high = Math.round(size.one * size.ratio);
      this.paintRow(pixels, wide, y, high, this.canvas.height, row, inks, lanes.length);
    }
    context.fillStyle = styled("--page");
    context.fillRect(0, 0, size.width, size.high);
    context.putImageData(image, Math.round(size.gutter * size.ratio), 0);
    this.drawNames(context, size);
    this.drawChosen(context, size);
  }

  inks() {
    const under = styled("--lane");
    const colours = palette();
    const faint = pixel(under, styled("--ink"), 0.12);
    return {
      open: pixel(styled("--ink"), under, 0), under: pixel(under, under, 0), all: shades(under, colours), faint,
      bad: pixel(under, styled("--bad"), 1), hatch: pixel(styled("--bad"), styled("--page"), 0.72),
    };
  }

  /**
   * Add up what the bars of a lane cover.
   *
   * @param {import("./model.js").Lane} lane
   * @param {Row} row
   * @param {number} wide
   * @param {number} together How many lanes the row stands for.
   */
  addLane(lane, row, wide, together) {
    const { begins, ends, apps, bad, open } = this.model.bars;
    const { cover, best, who } = row;
    const { app, colours, from, to } = this;
    const scale = wide / (to - from);
    const edge = wide - 1;
    for (let i = barAfter(this.model, lane, from); i < lane.last && begins[i] < to; i++) {
      const place = app >= 0 && apps[i] !== app ? COLOURED + 1 : (colours[apps[i]] ?? COLOURED);
      const a = begins[i] > from ? (begins[i] - from) * scale : 0;
      let b = ends[i] < to ? (ends[i] - from) * scale : wide;
      if (b - a > 4) b -= 1; // so that neighbours can be told apart
      const x = a < edge ? a | 0 : edge;
      const y = b < edge ? b | 0 : edge;
      for (let at = x; at <= y; at++) {
        const part = x === y ? b - a + 0.02 : at === x ? x + 1 - a : at === y ? b - y : 1;
        cover[at] += part;
        if (part > best[at]) {
          best[at] = part;
          who[at] = place;
        }
      }
      if (open[i] && ends[i] <= to && together === 1) row.open.fill(1, Math.max(x, y - 1), y + 1);
      if (bad[i] === 0 || place > COLOURED) continue;
      // Where a row stands for several lanes, the end alone is marked: else all were red.
      const start = together > 1 ? Math.max(x, y - 2) : x;
      row.bad.fill(1, start, Math.max(start + 1, b - y > 0.3 ? y + 1 : y));
    }
  }

  /**
   * Paint a row, and make its sums ready for the next one. What runs has an edge at its
   * right. What failed is higher than
   * other bars, red and hatched; where there is room, its lower part has the app's colour.
   *
   * @param {Uint32Array} pixels
   * @param {number} wide
   * @param {number} top
   * @param {number} high
   * @param {number} bottom
   * @param {Row} row
   * @param {ReturnType<Timeline["inks"]>} inks
   * @param {number} lanes
   */
  paintRow(pixels, wide, top, high, bottom, row, inks, lanes) {
    const free = high >= 9 ? 2 : high >= 4 ? 1 : 0;
    const red = high >= 9 ? Math.round(high * 0.7) : high >= 4 ? high - 1 : high;
    const [y0, y1] = [Math.max(0, top), Math.min(bottom, top + high)];
    for (let x = 0; x < wide; x++) {
      if (row.cover[x] === 0) continue;
      const shade = Math.max(1, Math.round(Math.min(1, row.cover[x] / lanes) * SHADES));
      const ink = row.who[x] > COLOURED ? inks.faint : inks.all[row.who[x] * (SHADES + 1) + shade];
      const bad = row.bad[x];
      for (let y = y0; y < y1; y++) {
        if (row.open[x]) pixels[y * wide + x] = inks.open;
        else if (bad && y - top < red) pixels[y * wide + x] = high >= 6 && (x + y - top) % 6 < 2 ? inks.hatch : inks.bad;
        else if (y - top >= free && top + high - y > free) pixels[y * wide + x] = ink;
      }
    }
    row.cover.fill(0);
    row.best.fill(0);
    row.bad.fill(0);
    row.open.fill(0);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {ReturnType<Timeline["measure"]>} size
   */
  drawNames(context, size) {
    if (!size.gutter) return;
    context.fillStyle = styled("--dim");
    context.textBaseline = "middle";
    const top = this.scroller.scrollTop;
    const every = Math.max(1, Math.ceil(13 / size.one));
    for (let i = Math.floor(top / size.one / every) * every; i < size.rows; i += every) {
      const y = i * size.one - top + Math.max(size.one, 12) / 2;
      if (y > size.high - 4) break;
      const name = this.model.shown[i * size.together].name;
      context.fillText(short(name, 17), 0, y, size.gutter - 8);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {ReturnType<Timeline["measure"]>} size
   */
  drawChosen(context, size) {
    if (!this.chosen) return;
    const { begins, ends } = this.model.bars;
    const [a, b] = [this.x(begins[this.chosen.bar]), this.x(ends[this.chosen.bar])];
    const y = Math.floor(this.chosen.lane / size.together) * size.one - this.scroller.scrollTop;
    context.strokeStyle = styled("--ink");
    context.lineWidth = 2;
    context.strokeRect(Math.max(size.gutter, a) - 1, y + 0.5, Math.max(4, b - Math.max(size.gutter, a)) + 1, Math.max(4, size.one - 1));
  }

  /**
   * Where a moment is, in pixels from the left.
   *
   * @param {number} at Units.
   */
  x(at) {
    const { width, gutter } = this.size;
    return gutter + ((at - this.from) / (this.to - this.from)) * (width - gutter);
  }

  /**
   * Which moment is at a place, in units.
   *
   * @param {number} x Pixels from the left.
   */
  at(x) {
    const { width, gutter } = this.size;
    return this.from + ((x - gutter) / Math.max(1, width - gutter)) * (this.to - this.from);
  }

  /** @param {ReturnType<Timeline["measure"]>} size */
  drawAxis(size) {
    const context = this.sized(this.axis, size.width, AXIS + STRIP, size.ratio);
    context.clearRect(0, 0, size.width, AXIS + STRIP);
    context.textBaseline = "middle";
    const { unit } = this.model;
    const wide = size.width - size.gutter;
    for (const { at, label } of ticks(this.from * unit, this.to * unit, Math.max(2, Math.floor(wide / 110)))) {
      const x = Math.round(this.x(at / unit)) + 0.5;
      context.fillStyle = styled("--line");
      context.fillRect(x, 0, 1, AXIS + STRIP);
      context.fillStyle = styled("--dim");
      if (x + 50 < size.width) context.fillText(label, x + 5, AXIS / 2);
    }
    this.drawFailures(context, size);
  }

  /**
   * Show above the lanes where something failed, however small its bar is: a triangle
   * each while they are few, and a column for how many there are when they are many.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {ReturnType<Timeline["measure"]>} size
   */
  drawFailures(context, size) {
    if (!this.failures) return;
    const { begins, ends, apps } = this.model.bars;
    const marks = new Map();
    for (const i of this.failed) {
      if (ends[i] < this.from || begins[i] > this.to) continue;
      if (this.app >= 0 && apps[i] !== this.app) continue;
      const place = Math.round(this.x(Math.min(this.to, Math.max(this.from, ends[i]))) / 4);
      marks.set(place, (marks.get(place) ?? 0) + 1);
    }
    const many = marks.size > (size.width - size.gutter) / 16;
    const most = Math.max(...marks.values());
    context.fillStyle = styled("--bad");
    for (const [place, n] of marks) {
      if (many) {
        const high = Math.max(1.5, (n / most) * STRIP);
        context.fillRect(place * 4 - 2, AXIS + STRIP - high, 3, high);
        continue;
      }
      context.beginPath();
      context.moveTo(place * 4 - 4, AXIS + 2);
      context.lineTo(place * 4 + 4, AXIS + 2);
      context.lineTo(place * 4, AXIS + STRIP - 1);
      context.fill();
    }
    if (size.gutter) context.fillText(`✕ ${counted(this.failures, "attempt")}`, 0, AXIS + STRIP / 2);
  }

  /** @param {ReturnType<Timeline["measure"]>} size */
  drawChart(size) {
    const context = this.sized(this.chart, size.width, CHART, size.ratio);
    context.clearRect(0, 0, size.width, CHART);
    const wide = Math.max(1, Math.floor(size.width - size.gutter));
    const stretches = Math.max(1, Math.min(600, Math.floor(wide / 2)));
    if (!this.running || this.running.length !== stretches) this.running = runningOver(this.model, stretches);
    const most = Math.max(1, this.running.reduce((a, b) => Math.max(a, b), 0));
    const scale = (CHART - 14) / most;
    context.fillStyle = styled("--run");
    const step = wide / stretches;
    this.running.forEach((one, i) => {
      const high = one > 0 ? Math.max(1, one * scale) : 0;
      context.fillRect(size.gutter + i * step, CHART - high, step + 0.5, high);
    });
    context.fillStyle = styled("--dim");
    context.textBaseline = "top";
    const told = `running at a time, at most ${count(most > 9.95 ? Math.round(most) : Number(most.toFixed(1)))}`;
    context.fillText(told, size.gutter, 0);
    this.drawWindow(context, size, wide);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {ReturnType<Timeline["measure"]>} size
   * @param {number} wide
   */
  drawWindow(context, size, wide) {
    if (this.from <= 0 && this.to >= this.model.end) return;
    const a = size.gutter + (this.from / this.model.end) * wide;
    const b = size.gutter + (this.to / this.model.end) * wide;
    context.globalAlpha = 0.75;
    context.fillStyle = styled("--page");
    context.fillRect(size.gutter, 14, a - size.gutter, CHART);
    context.fillRect(b, 14, size.width - b, CHART);
    context.globalAlpha = 1;
    context.strokeStyle = styled("--ink");
    context.strokeRect(a - 0.5, 14.5, Math.max(2, b - a) + 1, CHART - 15);
  }

  // -- Moving

  /**
   * Show a stretch of time.
   *
   * @param {number} from Units.
   * @param {number} to Units.
   */
  look(from, to) {
    const { end } = this.model;
    const length = Math.min(end, Math.max(20, to - from));
    this.from = Math.max(0, Math.min(end - length, from));
    this.to = this.from + length;
    this.follows = length >= end;
    this.hideTip();
    this.later();
  }

  fit() {
    this.look(0, this.model.end);
  }

  /**
   * Zoom by a factor, around a place or the middle.
   *
   * @param {number} factor
   * @param {number} [around] Units.
   */
  zoom(factor, around) {
    const middle = around ?? (this.from + this.to) / 2;
    const length = Math.max(20, (this.to - this.from) * factor);
    const share = (middle - this.from) / (this.to - this.from);
    this.look(middle - length * share, middle + length * (1 - share));
  }

  /** @param {number} share Of what is seen. */
  pan(share) {
    const length = this.to - this.from;
    this.look(this.from + share * length, this.to + share * length);
  }

  // -- Choosing a bar

  /**
   * Find what is at a place.
   *
   * @param {number} x Pixels from the left.
   * @param {number} y Pixels from the top of what is seen.
   * @returns {Found | null}
   */
  find(x, y) {
    const size = this.size;
    if (x < size.gutter) return null;
    const row = Math.floor((y + this.scroller.scrollTop) / size.one);
    const slack = ((this.to - this.from) / Math.max(1, size.width - size.gutter)) * 1.5;
    const at = this.at(x);
    /** @type {Found | null} */
    let found = null;
    for (let lane = row * size.together; lane < Math.min(this.model.shown.length, (row + 1) * size.together); lane++) {
      const one = this.model.shown[lane];
      const bar = barAfter(this.model, one, at - slack);
      if (bar >= one.last || this.model.bars.begins[bar] > at + slack) continue;
      if (!found || this.model.bars.bad[bar] > this.model.bars.bad[found.bar]) found = { bar, lane };
    }
    return found;
  }

  /**
   * Tell what a bar is.
   *
   * @param {Found} found
   */
  told({ bar, lane }) {
    const { bars, attempts, unit } = this.model;
    const attempt = bars.attempts[bar];
    const app = this.overview.apps[bars.apps[bar]]?.name ?? "unknown app";
    const { name, told } = this.model.shown[lane];
    const word = bars.open[bar] ? "running for" : bars.bad[bar] ? "failed after" : "took";
    return {
      head: `${bars.bad[bar] ? "✕ " : ""}${short(app, 60)} · task ${attempts.task[attempt]}`,
      lines: [
        `${word} ${duration((bars.ends[bar] - bars.begins[bar]) * unit)}, from ${label(bars.begins[bar] * unit, unit * 100 || 0.001)}`,
        `on ${name}${told}`,
        this.why(attempt),
      ].filter(Boolean),
    };
  }

  /** @param {number} attempt */
  why(attempt) {
    const error = this.model.attempts.error[attempt];
    if (error === 0 || error === NONE) return "";
    const failure = this.overview.failures.find((one) => one.id === error);
    return failure ? short(`${failure.kind}: ${failure.message}`, 160) : "";
  }

  /**
   * Choose a bar, bring it into sight and say what it is.
   *
   * @param {Found} found
   */
  choose(found) {
    this.chosen = found;
    const { begins, ends } = this.model.bars;
    const [a, b] = [begins[found.bar], ends[found.bar]];
    const length = this.to - this.from;
    if (b < this.from || a > this.to) this.look((a + b - length) / 2, (a + b + length) / 2);
    const size = this.size;
    const y = Math.floor(found.lane / size.together) * size.one;
    if (y < this.scroller.scrollTop || y > this.scroller.scrollTop + size.high - size.one) {
      this.scroller.scrollTop = y - size.high / 2;
    }
    const { head, lines } = this.told(found);
    this.said.textContent = [head, ...lines].join(" · ");
    this.later();
  }

  /** @param {number} step 1 for the next one, -1 for the one before. */
  nextFailure(step) {
    const { bars, shown: lanes } = this.model;
    const { begins } = bars;
    const now = this.chosen ? begins[this.chosen.bar] : step > 0 ? -1 : this.model.end + 1;
    const here = this.chosen?.bar ?? -1;
    let best = -1;
    for (const i of this.failed) {
      if (i === here) continue;
      const beyond = (begins[i] - now) * step > 0 || (begins[i] === now && (i - here) * step > 0);
      const nearer = best < 0 || (begins[i] - begins[best]) * step < 0;
      if (beyond && nearer) best = i;
    }
    if (best < 0) this.said.textContent = step > 0 ? "There is no later failure." : "There is no earlier failure.";
    else this.choose({ bar: best, lane: lanes.findIndex((lane) => lane.first <= best && best < lane.last) });
  }

  /** @param {number} step */
  nextBar(step) {
    const { shown: lanes } = this.model;
    if (!this.chosen) {
      const lane = lanes.findIndex((one) => barAfter(this.model, one, this.from) < one.last);
      if (lane >= 0) this.choose({ bar: barAfter(this.model, lanes[lane], this.from), lane });
      return;
    }
    const bar = this.chosen.bar + step;
    const lane = lanes[this.chosen.lane];
    if (bar >= lane.first && bar < lane.last) this.choose({ bar, lane: this.chosen.lane });
  }

  /** @param {Found | null} found */
  openBar(found) {
    if (found) this.open(this.model.attempts.task[this.model.bars.attempts[found.bar]]);
  }

  // -- Events

  listen() {
    const { scroller, canvas } = this;
    new ResizeObserver(() => this.later()).observe(scroller);
    scroller.addEventListener("scroll", () => this.later());
    scroller.addEventListener("keydown", (event) => this.onKey(event));
    scroller.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    canvas.addEventListener("pointerleave", () => this.hideTip());
    canvas.addEventListener("dblclick", (event) => this.zoom(0.25, this.at(event.offsetX)));
    this.chart.addEventListener("pointerdown", (event) => this.onChart(event));
    this.chart.addEventListener("pointermove", (event) => event.buttons && this.onChart(event));
    for (const media of ["(prefers-color-scheme: dark)", "print"]) matchMedia(media).addEventListener("change", () => this.later());
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, () => void>} */
    const acts = {
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.fit(),
      ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
      ArrowUp: () => this.scroller.scrollBy(0, -60), ArrowDown: () => this.scroller.scrollBy(0, 60),
      f: () => this.nextFailure(1), F: () => this.nextFailure(-1),
      n: () => this.nextBar(1), p: () => this.nextBar(-1),
      Enter: () => this.openBar(this.chosen),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    if (event.ctrlKey) {
      event.preventDefault();
      const factor = Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.01);
      this.zoom(factor, this.at(event.clientX - this.canvas.getBoundingClientRect().left));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.pan((event.deltaX || event.deltaY) / 1000);
    }
  }

  /**
   * Follow a pointer that is down: a mouse chooses a stretch, a finger moves the time.
   *
   * @param {PointerEvent} event
   */
  onDown(event) {
    if (event.button !== 0) return;
    const [start, from, to] = [event.offsetX, this.from, this.to];
    const touch = event.pointerType !== "mouse" || event.shiftKey;
    const mark = el("div", { class: "mark" });
    let moved = false;
    this.canvas.setPointerCapture(event.pointerId);
    /** @param {PointerEvent} next */
    const move = (next) => {
      if (!moved && Math.abs(next.offsetX - start) < 4) return;
      moved = true;
      this.hideTip();
      if (touch) {
        const shift = this.at(start) - this.at(next.offsetX);
        this.look(from + shift, to + shift);
      } else this.drawMark(mark, start, next.offsetX);
    };
    /** @param {PointerEvent} last */
    const up = (last) => {
      this.canvas.removeEventListener("pointermove", move);
      this.canvas.removeEventListener("pointercancel", up);
      mark.remove();
      if (last.type === "pointercancel") return;
      if (!moved) this.openBar(this.find(last.offsetX, last.offsetY));
      else if (!touch) this.lookAtPixels(start, last.offsetX);
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
    this.canvas.addEventListener("pointercancel", up, { once: true });
  }

  /**
   * @param {HTMLElement} mark
   * @param {number} a
   * @param {number} b
   */
  drawMark(mark, a, b) {
    if (!mark.isConnected) this.scroller.append(mark);
    mark.style.setProperty("left", `${Math.min(a, b)}px`);
    mark.style.setProperty("width", `${Math.abs(a - b)}px`);
    mark.style.setProperty("height", `${Math.max(this.size.whole, this.size.high)}px`);
  }

  /**
   * @param {number} a
   * @param {number} b
   */
  lookAtPixels(a, b) {
    this.look(this.at(Math.min(a, b)), this.at(Math.max(a, b)));
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    if (event.buttons) return;
    const found = this.find(event.offsetX, event.offsetY);
    if (!found) return this.hideTip();
    const { head, lines } = this.told(found);
    this.tip.replaceChildren(el("b", {}, el("bdi", {}, head)), ...lines.map((line) => el("div", {}, el("bdi", {}, line))));
    this.tip.hidden = false;
    const bounds = this.element.getBoundingClientRect();
    const x = Math.min(event.clientX - bounds.left + 14, bounds.width - this.tip.offsetWidth - 4);
    this.tip.style.setProperty("left", `${Math.max(0, x)}px`);
    this.tip.style.setProperty("top", `${event.clientY - bounds.top + 18}px`);
  }

  hideTip() {
    this.tip.hidden = true;
  }

  /**
   * Bring what is seen to a place of the chart.
   *
   * @param {PointerEvent} event
   */
  onChart(event) {
    const { width, gutter } = this.size;
    const at = ((event.offsetX - gutter) / (width - gutter)) * this.model.end;
    const length = this.to - this.from;
    this.look(at - length / 2, at + length / 2);
  }
}
