"""What is noted of tasks for observers, as long as there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackfield.abc import Measure, Work
    from jackfield.events import News
    from jackfield.graph.task import Task
    from jackfield.stream import EventStream


class Observation:
    """The streams to which events of tasks and of transfers go.

    Plugins may be registered while tasks run, so this is looked at for each event. If
    there are several streams, they are the same.

    Attributes:
        tasks: The stream for changes of tasks' states; ``None`` while no plugin
            observes them.
        transfers: The stream for the progress of transfers; ``None`` while no plugin
            observes it.
        runs: The stream for notes of tasks, attempts and workers; ``None`` while no
            plugin observes them.
        complete: Whether submitters wait where otherwise notes would be lost.
        measure: What executors are to measure of attempts.
    """

    def __init__(self, *, complete: bool = False, measure: Measure = "times") -> None:
        self.tasks: EventStream | None = None
        self.transfers: EventStream | None = None
        self.runs: EventStream | None = None
        self.complete: bool = complete
        self.measure: Measure = measure

    @property
    def stream(self) -> EventStream | None:
        """The stream, if there is one."""
        return self.tasks or self.transfers or self.runs

    def tell(self, news: News) -> None:
        """Note what an executor tells; see ``ExecutorContext.tell``."""
        if self.runs is not None:
            self.runs.note_news(news)

    def launch(self, tasks: Iterable[Task], works: Iterable[Work]) -> None:
        """Note that tasks are about to be handed over; have the works measured."""
        now, measure = monotonic(), self.measure
        for task in tasks:
            task.launched = now
        for work in works:
            work.measure = measure
