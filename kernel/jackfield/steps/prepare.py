"""What a task with futures, files or a memo key goes through before it is launched.

Runs without the scheduler's role, like ``launch``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.files import File
from jackfield.futures import KernelFuture
from jackfield.futures.future import succeeded, value_of
from jackfield.graph.arguments import Found, are_shallow, candidates, put_in, substitute
from jackfield.kept import Kept, read, with_each
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.graph.arguments import Opener
    from jackfield.graph.task import Task
    from jackfield.graph.transitions import Effects
    from jackfield.results.flights import Flights
    from jackfield.staging.mover import Mover
    from jackfield.steps.in_task import InTask
    from jackfield.steps.lazy import Lazy

_LISTS: Final = (list, tuple)


class Preparer(Part):
    """Makes tasks ready to be handed over.

    With ``deep``, futures are looked for in containers. Files are moved by the task
    itself if ``in_task`` says so, and otherwise by ``transfers``. ``memo`` returns what
    looks cached calls up; it is ``None`` where no app is cached. ``opener`` returns
    what asks plugins for the futures in values of other classes.
    """

    deep: bool
    in_task: InTask
    transfers: Callable[[], Mover]
    memo: Lazy[Flights] | None
    opener: Callable[[], Opener | None]
    wait_for_late_files: Callable[[Task, Effects], None]
    control: Callable[[Callable[[Effects], None]], None]

    def prepare(self, task: Task) -> bool:
        """Put values in and look the memo up; tell whether the task is still to run.

        Whatever a future, a plugin or an argument raises, the task is to fail with it;
        but after a ``NotAtHandError``, this is called again when the value is there.
        """
        work = task.work
        if work is None:
            return False
        late = self._put_values_in(task, work)
        late = late and self.in_task.left(task, late)
        if late:
            self._await_files(task, late)
            return False
        if task.spec.cache and self.memo is not None:
            if work.kept:  # the key is made of values
                read_kept(work)
            return (self.memo.made or self.memo()).begin(task)
        return True

    def _put_values_in(self, task: Task, work: Work) -> list[File]:
        """Replace futures and files; return remote files that results have brought."""
        late: list[File] = []
        kept: list[Kept] = []
        if task.parents is not None:
            task.parents = None
            work.args, work.kwargs = put_in(work.args, work.kwargs)
            for value in candidates(work.args, work.kwargs):
                if issubclass(type(value), Kept):
                    kept.append(value)
                else:
                    _note_files(value, late)
        elif task.found is not None:
            opener = self.opener()
            stays = opener is None and are_shallow(work.args, work.kwargs)
            replace = partial(_value, task.found, late, kept if stays else None)
            work.args, work.kwargs = substitute(
                work.args, dict(work.kwargs), replace, deep=self.deep, opener=opener
            )
            task.found = None
        if kept:
            work.kept = tuple(kept)
        return late

    def _await_files(self, task: Task, late: list[File]) -> None:
        """Have the remote files staged that results of other tasks have brought."""
        found = Found()
        for file in dict.fromkeys(late):
            fetched = self.transfers().fetch(file)
            found.files[file] = fetched
            found.futures[fetched] = None
        task.found = found
        self.control(partial(self.wait_for_late_files, task))


def read_kept(work: Work) -> None:
    """Put values in the place of kept results; raises what ``read`` does."""
    work.args, work.kwargs = with_each(work.args, work.kwargs, read)
    work.kept = ()


def _value(
    found: Found, late: list[File], kept: list[Kept] | None, placeholder: Any
) -> Any:
    """Return what stands for a future or a remote file; note files in results.

    ``kept`` is where results are noted that are kept, or ``None`` if their values are
    wanted.
    """
    future: Any = placeholder
    if not isinstance(placeholder, Future):
        # An output may have the URL of an input, but it has its local path already.
        file: File = placeholder
        if file.local_path is None:
            file = found.located.get(file, file)
            future = found.files.get(file)
        else:
            future = None
        if future is None:  # a file that is here, or that the task brings itself
            return file
    if isinstance(future, KernelFuture) and succeeded(future):
        value = value_of(future)
        if issubclass(type(value), Kept):
            if kept is not None:
                kept.append(value)
                return value
            read(value)
            value = future.result(0)
        _note_files(value, late)
        return value
    if not future.done():
        raise ValueError(
            f"{future!r} was put into an argument after the call: a task waits for "
            f"the futures that are there when it is submitted."
        )
    return future.result(0)


def _note_files(value: Any, late: list[File]) -> None:
    """Note the remote files in a result.

    They are looked for where a result is a file, or a list that begins with one: a
    walk through every result would cost more than it finds.
    """
    listed = value if type(value) in _LISTS else (value,)
    if listed and issubclass(type(listed[0]), File):
        files = [one for one in listed if issubclass(type(one), File)]
        late += [one for one in files if one.remote and one.local_path is None]
