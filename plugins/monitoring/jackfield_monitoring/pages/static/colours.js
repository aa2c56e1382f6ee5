// @ts-check
/**
 * The colours of apps, and how the timeline mixes them.
 *
 * Ten apps, those that took most time, have colours that people with any of the usual
 * kinds of colour blindness tell apart; all others share one grey. Red is for failures
 * alone, and failures also have a shape of their own.
 */

import { styled } from "./dom.js";

export const COLOURED = 10;

/** Shades from the background to the full colour. */
export const SHADES = 24;

/**
 * Give each app its place among the colours; the last place is that of all others.
 *
 * @param {import("./model.js").Overview} overview
 * @returns {Uint8Array}
 */
export function coloursOf(overview) {
  const seconds = new Float64Array(overview.apps.length);
  const tasks = new Float64Array(overview.apps.length);
  for (const [app, , n, busy] of overview.tally) {
    seconds[app] += busy;
    tasks[app] += n;
  }
  const order = [...seconds.keys()].sort((a, b) => seconds[b] - seconds[a] || tasks[b] - tasks[a] || a - b);
  const places = new Uint8Array(seconds.length).fill(COLOURED);
  order.slice(0, COLOURED).forEach((app, place) => (places[app] = place));
  return places;
}

/**
 * Read the colours as the style sheet has them now: apps, then others.
 *
 * @returns {string[]}
 */
export function palette() {
  return Array.from({ length: COLOURED + 1 }, (_, place) => styled(`--app-${place}`));
}

/**
 * Turn `#rrggbb` into its three numbers.
 *
 * @param {string} colour
 * @returns {[number, number, number]}
 */
function parts(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/**
 * Mix two colours, as a pixel of a canvas on a little-endian machine.
 *
 * @param {string} under
 * @param {string} over
 * @param {number} weight Of the second one, from 0 to 1.
 */
export function pixel(under, over, weight) {
  const [a, b] = [parts(under), parts(over)];
  const [r, g, blue] = a.map((one, i) => Math.round(one + (b[i] - one) * weight));
  return (0xff000000 | (blue << 16) | (g << 8) | r) >>> 0;
}

/**
 * Make the shades of all colours: `SHADES + 1` pixels for each place.
 *
 * @param {string} under
 * @param {string[]} colours
 */
export function shades(under, colours) {
  const made = new Uint32Array(colours.length * (SHADES + 1));
  colours.forEach((colour, place) => {
    for (let shade = 0; shade <= SHADES; shade++) {
      // What is there at all is to be seen.
      const weight = shade === 0 ? 0 : 0.18 + (0.82 * shade) / SHADES;
      made[place * (SHADES + 1) + shade] = pixel(under, colour, weight);
    }
  });
  return made;
}
