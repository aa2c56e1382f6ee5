// @ts-check
/** The axis of times: ticks at round moments, with labels that never repeat. */

const STEPS = [
  ...[-6, -5, -4, -3, -2, -1].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)),
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
  3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
];

/**
 * Choose moments for an axis.
 *
 * @param {number} from Seconds.
 * @param {number} to Seconds.
 * @param {number} most How many there may be.
 * @returns {{at: number, label: string}[]}
 */
export function ticks(from, to, most) {
  const least = (to - from) / Math.max(1, most);
  const step = STEPS.find((one) => one >= least) ?? Math.ceil(least / 604800) * 604800;
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to && found.length < 100; i++) {
    found.push({ at: i * step, label: label(i * step, step) });
  }
  return found;
}

/**
 * Write a moment as finely as a step asks for: `350 ms`, `12.5 s`, `1:02:30`.
 *
 * @param {number} at Seconds.
 * @param {number} step Seconds.
 */
export function label(at, step) {
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (at < 1 && step < 0.5) {
    return at ? `${(at * 1000).toFixed(Math.max(0, decimals - 3))} ms` : "0";
  }
  if (at < 60) return at ? `${at.toFixed(decimals)} s` : "0";
  const whole = Math.floor(at + 1e-9);
  const rest = decimals ? (at - whole).toFixed(decimals).slice(1) : "";
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const minutes = h ? `${h}:${String(m).padStart(2, "0")}` : String(m);
  return `${minutes}:${String(s).padStart(2, "0")}${rest}`;
}
