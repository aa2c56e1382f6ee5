"""What progress says: the lines, as text with or without colours.

A line an app, whose columns stand below each other; then the whole run; then the
failure that came last. Columns in which nothing is to be said are not there. All is
made anew four times a second, so it must be quick: only names and failures can have
other characters than ASCII, and only they are measured.

An executor that has tasks, and fewer workers than it wants, has a line of its own: a
job may wait for hours in the queue of a cluster.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield import TaskState
from jackfield.errors import printable

if TYPE_CHECKING:
    from collections import Counter

    from jackfield.events import Running
    from jackfield_monitoring.progress.counts import AppCounts, Counts, Newest

BAR: Final = 20
"""Columns of a bar, if there is room."""

SHORTEST_BAR: Final = 6
"""Columns for which a bar is still worth its place."""

LONGEST_NAME: Final = 28
"""Columns of an app's name."""

MOST_APPS: Final = 12
"""Apps that are asked how long they need, where no app is shown itself."""

LONG_S: Final = 10.0
"""Seconds after which a task that runs is named."""

MOST_LONG: Final = 3
"""Lines for such tasks, at most."""

MOST_LACKING: Final = 2
"""Lines for executors that lack workers, at most."""

LONGEST_FAILURE: Final = 500
"""Characters of a failure that are shown at most."""

_GAP: Final = "  "
_COLOURS: Final = {"bad": 31, "good": 32, "odd": 33, "busy": 36, "dim": 2}


class Look(NamedTuple):
    """How lines are to look.

    Attributes:
        width: Columns that a line may have.
        height: Lines that there may be.
        colours: Whether there are colours.
        plain: Whether there is nothing but ASCII.
    """

    width: int = 80
    height: int = 12
    colours: bool = False
    plain: bool = False


class Column(NamedTuple):
    """What is said of all apps in one column.

    Attributes:
        name: What this is about.
        colour: A key of ``_COLOURS``, or ``""``.
        cells: A text for each app, ``""`` where nothing is to be said.
        width: Of the longest text.
    """

    name: str
    colour: str
    cells: Sequence[str]
    width: int


def lines(counts: Counts, look: Look, seconds: float, now: float) -> list[str]:
    """Return all lines that fit, without line ends.

    Args:
        counts: The numbers.
        look: How the lines are to look.
        seconds: For how long the run has gone on.
        now: The time, on the monotonic clock.
    """
    running = counts.running()
    # A third of the lines, so that there is room for apps.
    long = counts.longest(now, LONG_S)[: min(MOST_LONG, look.height // 3)]
    lacking = list(map(executor, counts.lacking.items()))[:MOST_LACKING]
    lacking = lacking[: look.height // 4]
    room = look._replace(height=look.height - len(long) - len(lacking))
    shown = _chosen(counts, room, now)
    made = _app_lines(counts, shown, look, running, now)
    whole = _whole(counts, shown, running.total(), seconds, now)
    made.append(_shown("".join(whole), look.width, look))
    for one in long:
        text = _shown(running_task(one, now), look.width, look)
        made.append(_coloured(text, "busy", look))
    for line in lacking:
        made.append(_coloured(_shown(line, look.width, look), "odd", look))
    if counts.newest is not None:
        text = _shown(failure(counts.newest), look.width, look)
        made.append(_coloured(text, "bad", look))
    return made[-max(1, look.height) :]


def sentence(counts: Counts, seconds: float, now: float) -> str:
    """Return the whole run in one line, for logs."""
    busiest = counts.busiest(MOST_APPS, now)
    whole = _whole(counts, busiest, counts.running().total(), seconds, now)
    return "; ".join(["".join(whole), *map(executor, counts.lacking.items())])


def failure(newest: Newest) -> str:
    """Return what the newest failure is, in one line that may be long."""
    text = f"newest failure: task {newest.task} ({newest.app[:LONGEST_NAME]}): "
    return printable(text + newest.text[:LONGEST_FAILURE])


def executor(lacking: tuple[str, str]) -> str:
    """Return why an executor has fewer workers than it wants, in one line."""
    label, reason = lacking
    return printable(f"{label}: {reason[:LONGEST_FAILURE]}")


def running_task(one: Running, now: float) -> str:
    """Return which task runs, where and for how long."""
    seconds = now - (now if one.began is None else one.began)
    where = f" on {one.worker}" if one.worker else ""
    return f"{duration(seconds)}  task {one.task} ({one.app[:LONGEST_NAME]}){where}"


def duration(seconds: float) -> str:
    """Return a number of seconds as minutes and seconds: ``1:05``, ``2:00:07``."""
    minutes, second = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{second:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def width_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width_of_one, text))


def clipped(text: str, width: int, end: str = "…") -> str:
    """Return a text that takes ``width`` columns at most; ``end`` tells of a cut."""
    if width_of(text) <= width:
        return text
    taken, room = 0, max(0, width - len(end))
    for at, character in enumerate(text):
        taken += _width_of_one(character)
        if taken > room:
            return text[:at] + end[:width]
    return text


def _width_of_one(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Me":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _shown(text: str, width: int, look: Look) -> str:
    """Return anybody's text as it may be shown, cut where there is no more room."""
    text = printable(text[: 4 * look.width])  # it may be a megabyte
    if look.plain:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    return clipped(text, width, "..." if look.plain else "…")


def _coloured(text: str, colour: str, look: Look) -> str:
    if not look.colours or not colour or not text or text.isspace():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


# -- the whole run


def _whole(
    counts: Counts, apps: Sequence[AppCounts], running: int, seconds: float, now: float
) -> Iterator[str]:
    rates, whole = counts.whole, counts.totals()
    yield f"{duration(seconds)}{_GAP}"
    if not whole.total:
        yield "no tasks yet"
        return
    yield f"{whole.done:,} of {whole.total:,} done"
    waiting = whole.left - running
    if whole.memoized:
        yield f", {whole.memoized:,} {TaskState.MEMOIZED.value}"
    if whole.failed:
        yield f", {whole.failed:,} failed"
    if whole.dependency_failed:
        yield f", {whole.dependency_failed:,} {TaskState.DEPENDENCY_FAILED.value}"
    if whole.cancelled:
        yield f", {whole.cancelled:,} cancelled"
    if running:
        yield f", {running:,} running"
    if waiting > 0:
        yield f", {waiting:,} waiting"
    if whole.left and (rate := _rate(rates, now)):
        yield f", {rate}"
    left = rates.seconds_left(now)
    if left is not None:  # but the slowest app may need longer than all on average
        left = max([left, *(app.seconds_left(now) or 0.0 for app in apps)])
        yield f", ~{duration(left)} left"
    if counts.lost:
        yield f" (the apps lack {counts.lost:,} events)"


def _rate(app: AppCounts, now: float) -> str:
    """Return how many tasks end, in the unit that makes a number above 1."""
    rate = app.rate(now)
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        number = rate * seconds
        if number >= 1.0:
            return f"{number:,.0f}/{unit}" if number > 9.95 else f"{number:.1f}/{unit}"
    return ""


# -- the apps


def _chosen(counts: Counts, look: Look, now: float) -> list[AppCounts]:
    """Return the apps for which there are lines."""
    room = look.height - 2 - (counts.newest is not None)  # one says how many more
    if len(counts) == room + 1:
        room += 1  # the line that says "1 more" can say which
    return counts.busiest(max(0, room), now)


def _app_lines(
    counts: Counts,
    shown: Sequence[AppCounts],
    look: Look,
    running: Counter[str],
    now: float,
) -> list[str]:
    if not shown:
        return []
    most = min(look.width, max(8, min(LONGEST_NAME, look.width // 3)))
    names = [_shown(app.name, most, look) for app in shown]
    widths = [width_of(name) for name in names]
    widest = max(widths)
    fitting = _fitting(_columns(shown, running, now), look.width - widest)
    columns = [
        [
            name + " " * (widest - width)
            for name, width in zip(names, widths, strict=True)
        ],
        *_bars(shown, fitting, look.width - widest, look),
        *(_aligned(column, look) for column in fitting),
    ]
    made = [_GAP.join(row).rstrip() for row in zip(*columns, strict=True)]
    if len(counts) > len(shown):
        more = clipped(f"and {len(counts) - len(shown):,} more apps", look.width)
        made.append(_coloured(more, "dim", look))
    return made


def _columns(
    apps: Sequence[AppCounts], running: Counter[str], now: float
) -> Iterator[Column]:
    """Give the columns in which something is said."""
    done = [f"{app.done:,}/{app.total:,}" for app in apps]
    yield Column("done", "", done, max(map(len, done)))
    for name, colour, numbers, word in (
        ("failed", "bad", [app.failed for app in apps], "failed"),
        (
            "not run",
            "odd",
            [app.dependency_failed for app in apps],
            TaskState.DEPENDENCY_FAILED.value,
        ),
        ("cancelled", "odd", [app.cancelled for app in apps], "cancelled"),
        ("running", "busy", [running[app.name] for app in apps], "running"),
        ("memoized", "dim", [app.memoized for app in apps], "memoized"),
    ):
        if any(numbers):
            cells = [f"{number:,} {word}" if number else "" for number in numbers]
            yield Column(name, colour, cells, max(map(len, cells)))
    rates = [_rate(app, now) if app.left else "" for app in apps]
    if any(rates):
        yield Column("rate", "dim", rates, max(map(len, rates)))
    times = [app.seconds_left(now) for app in apps]
    left = ["" if time is None else f"~{duration(time)}" for time in times]
    if any(left):
        yield Column("left", "dim", left, max(map(len, left)))


_LEAST_FIRST: Final = (
    "rate", "memoized", "left", "running", "cancelled", "not run", "failed", "done",
)  # fmt: skip


def _fitting(columns: Iterator[Column], room: int) -> list[Column]:
    """Return the columns that have room; those that can be done without go first.

    The rates go if that makes room for bars, which tell more at a glance.
    """
    fitting = list(columns)
    without_rates = [column for column in fitting if column.name != "rate"]
    bar = len(_GAP) + SHORTEST_BAR
    if _width(without_rates) + bar <= room < _width(fitting) + bar:
        return without_rates
    for name in _LEAST_FIRST:
        if _width(fitting) <= room:
            break
        fitting = [column for column in fitting if column.name != name]
    return fitting


def _width(columns: Sequence[Column]) -> int:
    return sum(len(_GAP) + column.width for column in columns)


def _aligned(column: Column, look: Look) -> list[str]:
    width, colour = column.width, column.colour
    return [_coloured(cell.rjust(width), colour, look) for cell in column.cells]


def _bars(
    apps: Sequence[AppCounts], columns: Sequence[Column], room: int, look: Look
) -> list[list[str]]:
    """Return a column of bars, if there is room for one beside the others."""
    width = min(BAR, room - _width(columns) - len(_GAP))
    return [[_bar(app, width, look) for app in apps]] if width >= SHORTEST_BAR else []


def _bar(app: AppCounts, width: int, look: Look) -> str:
    """Return a bar: what has ended well, what has not, and what is left."""
    full, bad, empty = ("#", "x", "-") if look.plain else ("━", "━", "─")
    ended = app.ended * width // app.total
    wrong = min(ended, -(-(app.failed + app.not_run) * width // app.total))
    return (
        _coloured(full * (ended - wrong), "good", look)
        + _coloured(bad * wrong, "bad", look)
        + _coloured(empty * (width - ended), "dim", look)
    )
