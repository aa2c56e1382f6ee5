"""The report and the dashboard as people see them, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.monitoring.conftest import history, record
from tests.monitoring.test_dashboard import batch, serving, task

from jackfield import TaskState
from jackfield.events import (
    AttemptRecord,
    Batch,
    Failure,
    Load,
    Place,
    Running,
    WorkerEvent,
)
from jackfield_monitoring.pages.report import report_of, write
from jackfield_monitoring.runs import read
from jackfield_monitoring.store.reader import Store

if TYPE_CHECKING:  # it needs selenium; the fixture ``browser`` says if it is missing
    from tests.monitoring.browsing import Browser

# Keys, as the protocol of WebDriver numbers them.
TAB, ENTER, ESCAPE, ARROW_RIGHT = "\ue004", "\ue007", "\ue00c", "\ue014"

WIDTHS = """
return [document.documentElement.scrollWidth, document.documentElement.clientWidth]
"""
COLOUR = "return getComputedStyle(document.body).backgroundColor"
FOCUS = """
const focused = document.activeElement;
return focused.getAttribute('class') || focused.tagName;
"""

LANES = ".lanes canvas"

HOSTILE = [
    "<script>document.title = 'taken'</script>",
    "</script><img src=x onerror=\"document.title='taken'\">",
    "'; DROP TABLE task; --",
    "\u202egnp.exe",
    "nul\0byte",
    "lone \udc80 surrogate",
    "\x1b]0;title\x07\x1b[31mred",
    "{{constructor}}",
    "&lt;b&gt;",
]


def report(run: Path) -> Path:
    """Write the report of a run, and return the file."""
    path = run.parent.parent / "report.html"
    with Store(run) as store:
        write(path, report_of(read(run), store))
    return path


def fine(browser: Browser, *, allowed: tuple[str, ...] = ("file:", "data:")) -> None:
    """Check that the console is empty, and that nothing was asked of others."""
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith(allowed)]
    assert asked == []


def timeline(browser: Browser) -> dict[str, Any]:
    """Return what the timeline shows: ``from`` and ``to``."""
    found = browser.run(
        "return Object.fromEntries(Object.entries("
        "document.querySelector('.timeline').dataset))"
    )
    return {name: float(value) for name, value in found.items()}


def choose(browser: Browser, key: str) -> str:
    """Press a key on the timeline; return what it says then."""
    browser.focus(".lanes")
    before = browser.text(".said")
    browser.press(key)
    browser.wait(lambda: browser.text(".said") not in (before, ""))
    return browser.text(".said")


# -- The report


def test_a_hundred_thousand_tasks_are_soon_there(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    path = report(made_up(tasks=100_000, workers=64, apps=12))

    browser.open(path)
    ready = browser.run("return Number(document.documentElement.dataset.ready)")
    drawn = []
    for _ in range(5):
        before = timeline(browser)
        browser.run("document.querySelector('[title=\"Zoom in\"]').click()")
        browser.wait(lambda: timeline(browser)["to"] != before["to"])
        drawn.append(timeline(browser)["drawn"])

    print(
        f"100,000 tasks: ready after {ready:.0f} ms, redrawn in {sorted(drawn)[2]} ms"
    )
    assert "100,000" in browser.text(".cards")
    fine(browser)


def test_failures_come_first_and_lead_to_their_tasks(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=500, failed=0.1)))
    first = browser.run("return document.querySelector('section').id")

    browser.click(".failure summary")
    browser.wait(
        lambda: "Traceback (most recent call last)" in browser.text(".failure")
    )
    browser.click(".failure .links .link")
    browser.see("dialog[open]")

    assert first == "failures"
    assert "✕ failed" in browser.text("dialog")
    browser.wait(lambda: "step_" in browser.text("dialog .call"))
    assert browser.run("return location.hash").startswith("#task=")
    browser.press(ESCAPE)
    # The address follows the dialog, which tells of its end a moment later.
    browser.wait(lambda: not browser.count("dialog[open]"))
    browser.wait(lambda: browser.run("return location.hash") == "")
    fine(browser)


def test_the_timeline_tells_what_the_pointer_is_on(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=50, workers=2, depending=0)))

    browser.mouse(LANES).move_by_offset(0, -10).perform()
    tip = browser.wait(lambda: browser.text(".tip:not([hidden])"))

    assert "task" in tip
    assert "on cpu-0" in tip
    fine(browser)


def test_dragging_zooms_in_and_a_click_opens_a_task(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=200, workers=2, depending=0)))
    whole = timeline(browser)

    start = browser.mouse(LANES).move_by_offset(-100, -10)
    start.click_and_hold().move_by_offset(200, 0).release().perform()
    browser.wait(lambda: timeline(browser)["to"] < whole["to"])
    part = timeline(browser)
    assert part["to"] - part["from"] < (whole["to"] - whole["from"]) / 3

    browser.mouse(LANES).move_by_offset(0, -10).click().perform()
    browser.see("dialog[open]")
    fine(browser)


def test_the_timeline_is_moved_by_keys(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=1_000, failed=0.05)))
    whole = timeline(browser)

    browser.focus(".lanes")
    browser.press("+", "+")
    browser.wait(lambda: timeline(browser)["to"] < whole["to"])
    zoomed = timeline(browser)
    browser.press(ARROW_RIGHT)
    browser.wait(lambda: timeline(browser)["from"] > zoomed["from"])
    browser.press("0")
    browser.wait(lambda: timeline(browser)["to"] == whole["to"])
    said = choose(browser, "f")
    other = choose(browser, "f")
    again = choose(browser, "F")
    choose(browser, "n")
    browser.press(ENTER)

    assert said.startswith("✕")
    assert other != said == again
    browser.see("dialog[open]")
    fine(browser)


def test_everything_is_reached_by_the_tab_key_and_seen_to_be(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=100, failed=0.1, apps=3)))
    reached = []
    for _ in range(60):
        browser.press(TAB)
        reached.append(browser.run(FOCUS))
        outline = browser.run(
            "const e = document.activeElement; const s = getComputedStyle(e);"
            "return s.outlineStyle !== 'none' || e.matches('.node')"
        )
        assert outline, reached[-1]

    assert {"SUMMARY", "plain", "lanes", "link"} <= set(reached)
    assert any(str(name).startswith("graph") for name in reached)


def test_each_control_has_a_name(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=100, failed=0.1)))

    nameless = browser.run(
        "return [...document.querySelectorAll('button, input, select, [tabindex]')]"
        ".filter((one) => one.checkVisibility() && !one.textContent.trim())"
        ".filter((one) => !one.matches('[aria-label], [aria-labelledby]'))"
        ".map((one) => one.outerHTML)"
    )

    assert nameless == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_keeps_people_from_using_a_page(
    browser: Browser, made_up: Callable[..., Path], runs: Path, axe: str, colours: str
) -> None:
    run = made_up(tasks=300, failed=0.1, apps=6, unfinished=20)
    record(run, state="running", host="elsewhere")
    browser.open(report(run), prefers_color_scheme=colours)
    browser.run("document.querySelectorAll('summary').forEach((one) => one.click())")
    found = {"report": violations(browser, axe)}
    browser.click("#tasks .link")
    browser.see("dialog[open]")
    found["task"] = violations(browser, axe)
    made_up(1, tasks=50)
    with serving(runs) as server:
        for page in ("", "#run=000", "#compare=000,001"):
            browser.open(f"{server.url}{page}", prefers_color_scheme=colours)
            found[page] = violations(browser, axe)

    assert not any(found.values()), found


def violations(browser: Browser, axe: str) -> list[str]:
    """Return what axe-core finds that is more than a minor nuisance.

    It waits for animations to end: a panel that fades in has hardly any contrast.
    """
    script = """
    const done = arguments[0];
    const ends = document.getAnimations().filter(
      (one) => one.effect.getComputedTiming().endTime !== Infinity);
    const ended = Promise.allSettled(ends.map((one) => one.finished));
    const looked = ended.then(() => axe.run(document, {resultTypes: ["violations"]}));
    looked.then(({violations}) => done(
      violations.filter((one) => one.impact !== "minor").map(
        (one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`)));
    """
    browser.run(axe)
    found: list[str] = browser.driver.execute_async_script(script)
    return found


@pytest.mark.parametrize("apps", [1, 5, 500])
def test_a_telephone_needs_no_scrolling_sideways(
    browser: Browser, made_up: Callable[..., Path], apps: int
) -> None:
    browser.open(report(made_up(tasks=1_000, failed=0.02, apps=apps)), 360)
    browser.click(".failure summary")

    width, seen = browser.run(WIDTHS)

    assert width == seen == 360
    fine(browser)


LINES_OF_HEADS = """
const heads = document.querySelectorAll('#apps thead button');
return Math.max(...Array.from(heads, (one) => {
  const text = document.createRange();
  text.selectNodeContents(one);
  return text.getClientRects().length;
}))
"""


def test_no_word_in_the_head_of_a_table_is_torn(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=1_000, failed=0.2)), 360)

    assert "dependency-failed" in browser.text("#apps thead")
    assert browser.run(LINES_OF_HEADS) <= 2  # at the hyphen


def test_nouns_agree_with_their_numbers(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=1, workers=1, failed=0.0, memoized=0.0)))

    cards = browser.run(
        "return Array.from(document.querySelectorAll('.card span'), "
        "(one) => one.textContent)"
    )
    assert "task" in cards
    assert "worker" in cards


def test_it_is_dark_for_those_who_like_it_dark(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    path = report(made_up(tasks=20))
    browser.open(path, prefers_color_scheme="light")
    light = browser.run(COLOUR)
    browser.open(path, prefers_color_scheme="dark")
    dark = browser.run(COLOUR)

    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(19, 23, 27)")
    fine(browser)


def test_nothing_moves_for_those_who_want_it_still(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    path = report(made_up(tasks=20))
    moves = "return getComputedStyle(document.querySelector('dialog')).animationName"
    moving = {}
    for wish in ("no-preference", "reduce"):
        browser.open(path, prefers_reduced_motion=wish)
        browser.click("#tasks .link")
        browser.see("dialog[open]")
        moving[wish] = browser.run(moves)

    assert moving == {"no-preference": "in", "reduce": "none"}


def test_five_hundred_apps_are_a_graph_that_can_be_read(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=3_000, apps=500)))

    assert 40 <= browser.count("#graph .node") <= 60
    assert "the other 460 are folded" in browser.text("#graph")
    browser.focus("#apps input[type=search]")
    browser.press("step_49")
    browser.wait(lambda: browser.count("#apps tbody tr") == 11)
    fine(browser)


def test_apps_that_depend_on_each_other_at_random_are_a_table(
    browser: Browser, runs: Path
) -> None:
    apps = 40
    pairs = {
        (f"app_{a}", f"app_{b}"): 1 + a * b
        for a in range(apps) for b in range(apps) if (a * 7 + b * 3) % 5 == 0
    }  # fmt: skip
    told = [task(n, app=f"app_{n}") for n in range(apps)]
    history(runs / "000", [Batch(0.0, 9.0, tasks=told, app_edges=pairs)])
    read_cells = """
    const [head, ...rows] = document.querySelectorAll("#graph tr");
    const name = (one) => one.querySelector("bdi").textContent;
    const columns = Array.from(head.querySelectorAll("th"), name);
    return rows.flatMap((row) => Array.from(row.querySelectorAll("td"), (cell, i) =>
      [name(row), columns[i], cell.textContent])).filter(([, , n]) => n);
    """
    browser.open(report(runs / "000"))
    found = browser.run(read_cells)
    browser.click("#graph tbody .node")
    browser.wait(lambda: "around task" in browser.text("#graph .near"))

    shown = {(a, b): n for a, b, n in found}
    assert set(shown) == set(pairs)
    assert {pair: n for pair, n in shown.items() if pairs[pair] < 100} == {
        pair: str(n) for pair, n in pairs.items() if n < 100
    }
    assert shown["app_39", "app_39"] == "1.5K"
    assert browser.run("return document.querySelector('#graph').scrollWidth") <= 1280
    fine(browser)


def test_a_click_on_an_app_shows_what_is_near_one_of_its_tasks(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=5_000, depending=1.0, failed=0)))

    browser.run(
        "document.querySelector('#graph .node')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    browser.wait(lambda: "around task" in browser.text("#graph .near"))

    assert 5 < browser.count("#graph .near .node") <= 60
    assert "there are more" in browser.text("#graph .near")
    fine(browser)


def test_names_are_text_whatever_is_in_them(browser: Browser, runs: Path) -> None:
    place = Place("<w>\u202e", "<h>", 1, 1.0, 2.0)
    tasks, attempts, edges = [], [], {}
    for number, name in enumerate([*HOSTILE, "x" * 1_000_000]):
        failure = Failure(name, name, f"Traceback\n{name}")
        more = {"app": name, "label": name, "call": name, "failure": failure}
        tasks.append(task(number, TaskState.FAILED, attempts=1, **more))
        attempts.append(AttemptRecord(number, 1, name, 1.0, 2.0, place, failure, None))
        edges[HOSTILE[0], name] = 1
    told = Batch(0.0, 3.0, tasks=tasks, attempts=attempts, app_edges=edges)
    history(runs / "000", [told], "failed")

    browser.open(report(runs / "000"))
    browser.run("document.querySelectorAll('summary').forEach((one) => one.click())")
    browser.click("#tasks .link")
    browser.see("dialog[open]")
    text = browser.text()

    assert "taken" not in browser.driver.title
    assert (
        browser.run("return document.querySelectorAll('img, main script').length") == 0
    )
    assert HOSTILE[0] in text
    assert "'; DROP TABLE task; --" in text
    for char in ("\0", "\x1b", "\u202e", "\udc80"):
        assert char not in text
    width, seen = browser.run(WIDTHS)
    assert width == seen
    fine(browser)


def test_ends_of_runs_look_calm(browser: Browser, made_up: Callable[..., Path]) -> None:
    browser.open(report(made_up(0, tasks=97, failed=0, depending=0, seed=3)))

    assert "✕" not in browser.text(".cards")
    fine(browser)


def test_a_report_prints_all_that_matters(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    browser.open(report(made_up(tasks=100, failed=0.1)))
    browser.cdp("Emulation.setEmulatedMedia", media="print")

    shown = browser.run(
        "return [...document.querySelectorAll('section')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.id)"
    )

    assert shown[:3] == ["failures", "apps", "timeline"]
    assert "tasks" not in shown


def test_paper_is_white_for_those_too_who_want_it_dark(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    path = report(made_up(tasks=100, failed=0.1))
    colours = """
    return Array.from(document.querySelectorAll("body, .card, .card.bad b, .sub, th"),
      (one) => [one.className, getComputedStyle(one).color,
        getComputedStyle(one).backgroundColor]);
    """
    found = []
    for scheme in ("light", "dark"):
        browser.open(path, prefers_color_scheme=scheme)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.cdp("Emulation.setEmulatedMedia", media="print", features=wanted)
        found.append(browser.run(colours))
        browser.cdp("Emulation.setEmulatedMedia", media="")

    assert found[0] == found[1]
    assert len(found[0]) > 5


def test_a_page_of_paper_is_wide_enough(
    browser: Browser, made_up: Callable[..., Path]
) -> None:
    path = report(made_up(tasks=3_000, workers=64, apps=200, failed=0.1))
    browser.open(path, width=720)  # as wide as A4 without its margins
    browser.cdp("Emulation.setEmulatedMedia", media="print")

    wide, there_is = browser.run(WIDTHS)

    assert wide <= there_is
    assert "other apps" in browser.text(".legend")
    shown = "return document.querySelector(arguments[0]).checkVisibility()"
    assert browser.run(shown, ".legend button:disabled")
    assert not browser.run(shown, "#apps input")


# -- The dashboard


def test_a_run_that_goes_on_is_followed(browser: Browser, runs: Path) -> None:
    waiting, began = batch(task(0, TaskState.WAITING)), int(time.time())
    writer = history(runs / "000", [waiting], state=None, began=began)
    (runs / "000/run.json").unlink()
    place = Place("w-0", "lovelace", 1, 1.0, 2.0)
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000")
        assert "live" in browser.text(".live")
        for number in range(1, 4):
            record = AttemptRecord(number, 1, "cpu", 1.0, 2.0, place, None, None)
            writer.write([Batch(0.0, 3.0, tasks=[task(number)], attempts=[record])])
            browser.wait(lambda n=number: f"{n}succeeded" in browser.text(".cards"))  # type: ignore[misc]  # a default binds it
        browser.wait(lambda: f"{4}tasks" in browser.text(".cards"))
        browser.wait(lambda: browser.count("#tasks tbody tr") == 4)
        writer.end("done", 5_000_000, [])
        browser.wait(lambda: browser.text(".badge") == "done")
        browser.run("location.hash = ''")
        browser.wait(lambda: browser.text("h1") == "Runs")
        fine(browser, allowed=(server.url, "data:"))


def test_the_focus_stays_while_a_run_goes_on(browser: Browser, runs: Path) -> None:
    began = int(time.time())
    first = batch(task(0), task(1))
    writer = history(runs / "000", [first], state=None, began=began)
    (runs / "000/run.json").unlink()
    link = "#tasks tbody tr:nth-child(2) .link"  # of task 0: the newest come first
    focused = "return document.activeElement.textContent"

    def submitted(number: int) -> None:
        writer.write([batch(task(number))])
        browser.wait(lambda: browser.count("#tasks tbody tr") == number + 1)

    with serving(runs) as server:
        browser.open(f"{server.url}#run=000")
        browser.focus(link)
        submitted(2)
        assert browser.run(focused) == "0"
        browser.press(ENTER)
        browser.see("dialog[open]")
        submitted(3)
        assert browser.run("return document.activeElement.closest('dialog') !== null")
        browser.press(ESCAPE)
        browser.wait(lambda: not browser.count("dialog[open]"))
        browser.wait(lambda: browser.run(focused) == "0")

        browser.focus("nav a")
        browser.press(ENTER)
        browser.focus(".runs a")
        made = history(runs / "001", [first], state=None, began=began)
        browser.wait(lambda: browser.count(".runs tbody tr") == 2)
        assert browser.run(focused) == "000"
        fine(browser, allowed=(server.url, "data:"))
    for one in (writer, made):
        one.end("done", 5_000_000, [])


def test_what_runs_now_is_shown_until_it_ends(browser: Browser, runs: Path) -> None:
    now = [Running(n, 1, "fit", f"w-{n}", "lovelace", 1, 3.0 - n) for n in range(2)]
    live = [task(n, TaskState.SUBMITTED, attempts=1) for n in range(3)]
    told = Batch(0.0, 9.0, tasks=live, loads=[Load("cpu", 2, 3, running=now)])
    writer = history(runs / "000", [told], state=None, began=int(time.time()))
    (runs / "000/run.json").unlink()
    rows = (
        "return [...document.querySelectorAll('#running tbody th')]"
        ".map((one) => one.textContent)"
    )
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000")
        browser.wait(lambda: browser.run(rows) == ["1", "0"])
        assert "2running" in browser.text(".cards")
        choose(browser, "n")
        assert "running for" in browser.text(".said")
        writer.write(
            [Batch(0.0, 9.5, tasks=[task(1)], loads=[Load("cpu", 2, 2, running=now)])]
        )
        browser.wait(lambda: browser.run(rows) == ["0"])
        writer.end("done", 10_000_000, [])
        browser.wait(lambda: not browser.count("#running:not([hidden])"))
        fine(browser, allowed=(server.url, "data:"))


def test_two_runs_are_compared(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    made_up(0, tasks=300, apps=3)
    made_up(1, tasks=300, apps=4, seed=1)
    with serving(runs) as server:
        browser.open(server.url)
        for place, left in enumerate(["Tick another one.", ""]):
            browser.click(f"tbody tr:nth-child({place + 1}) input[type=checkbox]")
            assert browser.text(".tools .hint") == left
        browser.run("document.querySelector('.tools button').click()")
        browser.wait(lambda: "Runs 000 and 001" in browser.text("h1"))
        browser.wait(lambda: browser.count("tbody tr") == 4)

        assert "B took" in browser.text()
        assert "in both" in browser.text()
        browser.run("history.back()")
        browser.wait(lambda: browser.text("h1") == "Runs")
        fine(browser, allowed=(server.url, "data:"))


def test_what_failed_in_one_run_may_have_been_tried_again_in_the_other(
    browser: Browser, runs: Path
) -> None:
    failure = Failure("OSError", "the disk went away", "")

    def attempt(n: int, failure: Failure | None, retry: float | None) -> AttemptRecord:
        place = Place("cpu-0", "h", 1, n, n + 0.5)
        return AttemptRecord(0, n, "cpu", n, n + 0.5, place, failure, retry)

    bad = [task(0, TaskState.FAILED, failure=failure)]
    good = [task(0, TaskState.SUCCEEDED, attempts=3)]
    ends = [attempt(1, failure, 0.0), attempt(2, failure, 0.0), attempt(3, None, None)]
    failed = [attempt(1, failure, None)]
    history(runs / "000", [Batch(0.0, 5.0, tasks=bad, attempts=failed)], "failed")
    history(runs / "001", [Batch(0.0, 5.0, tasks=good, attempts=ends)], "done")
    with serving(runs) as server:
        browser.open(f"{server.url}#compare=000,001")
        browser.wait(lambda: browser.count(".lines li"))
        assert browser.text(".lines li").startswith("in both: ✕ 1 and ↻ 2 OSError: ")
        fine(browser, allowed=(server.url, "data:"))


def test_a_list_of_runs_shows_all_of_each_on_a_telephone(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    made_up(0, tasks=20)
    counts = {"succeeded": 1_000_000, "failed": 123_456}
    record(made_up(1, tasks=20), state="failed", elapsed=97 * 60.0, counts=counts)
    cut = """
    return Array.from(document.querySelectorAll(".runs th, .runs td"))
      .filter((one) => one.scrollWidth > one.clientWidth + 1)
      .map((one) => one.textContent);
    """
    with serving(runs) as server:
        browser.open(server.url, 360)
        browser.wait(lambda: browser.count(".runs tbody tr") == 2)
        assert browser.run(cut) == []
        width, window = browser.run(WIDTHS)
        assert width <= window
        assert browser.run("return document.querySelector('.wide').scrollWidth") <= 360
        fine(browser, allowed=(server.url, "data:"))


def test_another_task_in_the_address_is_shown(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    made_up(0, tasks=20)
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000&task=3")
        for number in (3, 5, 12):
            browser.run(f"location.hash = 'run=000&task={number}'")
            browser.wait(lambda n=number: f"Task {n} · " in browser.text("dialog h2"))  # type: ignore[misc]  # a default binds it
        browser.press(ESCAPE)
        browser.wait(lambda: browser.run("return location.hash") == "#run=000")
        fine(browser, allowed=(server.url, "data:"))


def test_what_was_cut_short_is_not_said_to_be_faster(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    made_up(0, tasks=50)
    record(made_up(1, tasks=50, unfinished=20), state="running", host="elsewhere")
    with serving(runs) as server:
        browser.open(f"{server.url}#compare=000,001")
        browser.wait(lambda: "B was cut short" in browser.text())
        assert "times as long" not in browser.text()
        browser.open(f"{server.url}#run=001")
        browser.wait(lambda: "The program of this run is gone" in browser.text(".note"))
        assert browser.text(".badge") == "lost"


def test_a_message_is_read_beside_whatever_name(browser: Browser, runs: Path) -> None:
    name = "x" * 400
    failure = Failure("ValueError", "a short message", "")
    told = [task(0, TaskState.FAILED, app=name, failure=failure)]
    history(runs / "000", [Batch(0.0, 3.0, tasks=told)], "failed")
    share = """
    const [what, all] = [".what", "summary"].map(
      (one) => document.querySelector(`.failure ${one}`).getBoundingClientRect().width);
    return what / all;
    """
    browser.open(report(runs / "000"))

    assert browser.run(share) > 0.5


def test_a_comparison_shows_failures_first_and_no_more_apps_than_can_be_read(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    for number in range(2):
        made_up(number, tasks=2_000, apps=100, seed=number)
    with serving(runs) as server:
        browser.open(f"{server.url}#compare=000,001")
        assert browser.text("section:nth-of-type(2) h2") == "Failures"
        assert browser.count("tbody tr") == 25
        browser.click("#compare-apps + div > button")
        browser.wait(lambda: browser.count("tbody tr") == 100)
        assert browser.count("#compare-apps + div > button") == 0


def test_apps_of_one_name_and_two_kinds_are_compared_each(
    browser: Browser, runs: Path
) -> None:
    for number in range(2):
        tasks = [task(0), task(1, kind="bash"), task(2, kind="bash")]
        history(runs / f"{number:03}", [Batch(0.0, 9.0, tasks=tasks)])
    cells = """
    return Array.from(document.querySelectorAll("tbody tr"), (row) =>
        [row.children[0].textContent, row.children[1].textContent].join(" "))
    """
    with serving(runs) as server:
        browser.open(f"{server.url}#compare=000,001")
        assert sorted(browser.run(cells)) == ["fit (bash) 2", "fit 1"]


def test_a_task_stands_in_the_middle_of_what_is_near_it(
    browser: Browser, runs: Path
) -> None:
    chain = [task(n, depends_on=(n - 1,) if n else ()) for n in range(40)]
    history(runs / "000", [Batch(0.0, 9.0, tasks=chain)])
    apart = """
    const picture = document.querySelector("dialog .graph");
    const self = picture?.querySelector(".self")?.getBoundingClientRect();
    const frame = picture?.getBoundingClientRect();
    return self && Math.abs(self.x + self.width / 2 - frame.x - frame.width / 2);
    """
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000&task=20")
        browser.wait(lambda: (browser.run(apart) or 1e9) < 20)


def test_own_workers_that_did_nothing_have_no_lane(
    browser: Browser, runs: Path
) -> None:
    born = [
        WorkerEvent(executor, f"{executor}-{n}", "lovelace", 1, True, "", 0.5)
        for executor in ("cpu", "_internal")
        for n in range(9)
    ]
    ran = [
        AttemptRecord(
            0, n, executor, 1.0, 3.0,
            Place(f"{executor}-3", "lovelace", 1, 1.0 + n, 1.5 + n), None, None,
        )
        for n, executor in enumerate(["cpu", "_internal"], 1)
    ]  # fmt: skip
    told = Batch(0.0, 9.0, tasks=[task(0)], attempts=ran, workers=born)
    history(runs / "000", [told])
    tall = f"return document.querySelector('{LANES}').clientHeight"
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000")
        browser.see(LANES)
        height = browser.run(tall)
        assert "kernel-3" in browser.text("#tasks tbody")
        told = Batch(0.0, 9.0, tasks=[task(0)], attempts=ran[:1], workers=born)
        history(runs / "001", [told])
        browser.open(f"{server.url}#run=001")
        browser.see(LANES)
        assert height * 9 == browser.run(tall) * 10


def test_a_damaged_history_is_a_sentence_in_the_page(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    damaged = made_up(0, tasks=20) / "monitor.db"
    damaged.write_bytes(b"nothing of the sort" * 100)
    made_up(1, tasks=20)
    with serving(runs) as server:
        browser.open(f"{server.url}#run=000")
        assert "damaged" in browser.text(".note")
        assert "Task 3 failed: no" in browser.text("#failures")
        browser.run("location.hash = 'run=001'")
        browser.wait(lambda: browser.count("#tasks tbody tr"))
        browser.run("location.hash = 'run=999'")
        browser.wait(lambda: "cannot be shown" in browser.text("h1"))
        assert browser.count("section:not([hidden])") == 0
        assert browser.text(".live") == ""


def test_a_page_of_somebody_else_gets_nothing(
    browser: Browser, made_up: Callable[..., Path], runs: Path
) -> None:
    made_up(tasks=5)
    with serving(runs) as server, serving(runs) as other:
        browser.open(server.url)
        got = browser.driver.execute_async_script(
            "const done = arguments[1];"
            "fetch(arguments[0] + 'api/runs', {mode: 'no-cors'})"
            ".then((a) => a.text()).then(done, (error) => done(String(error)))",
            other.url,
        )

    assert "TypeError" in got
