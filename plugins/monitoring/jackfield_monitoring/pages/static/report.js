// @ts-check
/** Starts the page of a report: one file, in which all data lie as text. */

import { readColumns, unpackText } from "./columns.js";
import { el } from "./dom.js";
import { RunPage } from "./page.js";

/** @param {string} id */
function textOf(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** The task that the address names, or null. */
function addressed() {
  const found = /^#task=(\d+)$/.exec(location.hash);
  return found ? Number(found[1]) : null;
}

async function start() {
  const told = new TextDecoder().decode(await unpackText(textOf("overview")));
  const { overview, details, said, saidFrom } = JSON.parse(told);
  const brief = { call: "", facts: [], attempts: [], memo: [], transfers: [], tails: [] };
  const page = new RunPage(
    async (task) => details[task] ?? { ...brief, said: said[task] ?? "", asGroup: saidFrom !== null && task >= saidFrom },
    (task) => history.replaceState(null, "", task === null ? location.pathname + location.search : `#task=${task}`),
  );
  document.getElementById("main")?.append(page.element);
  page.showOverview(overview);
  if (overview.stored) page.show(overview, readColumns(await unpackText(textOf("columns"))));
  const go = () => {
    const task = addressed();
    if (task !== null) page.openTask(task);
  };
  addEventListener("hashchange", go);
  go();
  requestAnimationFrame(() => {
    document.documentElement.dataset.ready = performance.now().toFixed(0);
  });
}

/** @param {unknown} error */
function fail(error) {
  const why = "DecompressionStream" in window ? String(error) : "this browser is too old to unpack it";
  const told = el("p", { class: "note" }, `This report cannot be shown: ${why}.`);
  document.getElementById("main")?.append(told);
}

start().catch(fail);
