// @ts-check
/**
 * Reads the columns that `columns.py` packs.
 *
 * The bytes are: the length of a head (4 bytes, little-endian), the head as JSON, and
 * the columns one after the other. A column of n numbers of 32 bits is four planes of n
 * bytes, the lowest bytes first, because planes that are alike compress well.
 */

/** Stands for "not known" in every column. */
export const NONE = 0xffffffff;

/**
 * @typedef {Object} Head
 * @property {number} from The first task that is in here.
 * @property {number | null} settled All tasks before this one have ended, and do not
 *     change any more; null if all tasks have.
 * @property {number} unit Microseconds that a time is counted in.
 * @property {{name: string, rows: number, columns: [string, string | null][]}[]} tables
 *     Of each column its name, and whether it holds differences to another column, which
 *     is before it and has this name, or ("") to its row before.
 *
 * @typedef {Record<string, Uint32Array>} Table
 * @typedef {{head: Head, tables: Record<string, Table>}} Columns
 */

/**
 * Turn bytes into columns.
 *
 * @param {Uint8Array} packed
 * @returns {Columns}
 */
export function readColumns(packed) {
  const length = new DataView(packed.buffer, packed.byteOffset).getUint32(0, true);
  const text = new TextDecoder().decode(packed.subarray(4, 4 + length));
  const head = /** @type {Head} */ (JSON.parse(text));
  let at = 4 + length;
  /** @type {Record<string, Table>} */
  const tables = {};
  for (const { name, rows, columns } of head.tables) {
    /** @type {Table} */
    const table = (tables[name] = {});
    for (const [column, near] of columns) {
      const base = near === null ? null : near === "" ? "before" : table[near];
      table[column] = readColumn(packed.subarray(at, at + 4 * rows), rows, base);
      at += 4 * rows;
    }
  }
  return { head, tables };
}

/**
 * @param {Uint8Array} planes
 * @param {number} rows
 * @param {null | "before" | Uint32Array} base What its numbers are differences to.
 */
function readColumn(planes, rows, base) {
  const column = new Uint32Array(rows);
  const [b, c, d] = [rows, 2 * rows, 3 * rows];
  let before = 0;
  for (let i = 0; i < rows; i++) {
    const value =
      planes[i] | (planes[b + i] << 8) | (planes[c + i] << 16) | (planes[d + i] << 24);
    const step = (value >>> 1) ^ -(value & 1);
    if (base === null) column[i] = value;
    else if (base === "before") column[i] = before = before + step >>> 0;
    else column[i] = base[i] + step;
  }
  return column;
}

/**
 * Turn the text of a report back into bytes.
 *
 * @param {string} text What gzip made of the bytes, in base64.
 * @returns {Promise<Uint8Array>}
 */
export async function unpackText(text) {
  const raw = atob(text);
  const zipped = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) zipped[i] = raw.charCodeAt(i);
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Put newer rows in the place of all that begin at a task, or after it.
 *
 * @param {Columns} older
 * @param {Columns} newer
 * @returns {Columns}
 */
export function joined(older, newer) {
  if (newer.head.from === 0 || newer.head.unit !== older.head.unit) return newer;
  /** @type {Record<string, Table>} */
  const tables = {};
  for (const { name, columns } of newer.head.tables) {
    const kept = firstAtLeast(older.tables[name][columns[0][0]], newer.head.from);
    /** @type {Table} */
    const table = (tables[name] = {});
    for (const [column] of columns) {
      const added = newer.tables[name][column];
      const both = new Uint32Array(kept + added.length);
      both.set(older.tables[name][column].subarray(0, kept));
      both.set(added, kept);
      table[column] = both;
    }
  }
  return { head: { ...newer.head, from: 0 }, tables };
}

/**
 * Find the first place in a sorted column whose value is no less than another.
 *
 * @param {Uint32Array} sorted
 * @param {number} value
 * @param {number} [from] The first place that is looked at.
 * @param {number} [to] One after the last place.
 * @returns {number} `to` if there is none.
 */
export function firstAtLeast(sorted, value, from, to) {
  let [low, high] = [from ?? 0, to ?? sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
