"""Runs works where executors have threads of the script's process as workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.abc import this_thread
from jackfield.errors import TaskExitError, one_line, traceback_of
from jackfield_system.measuring import begin, place

if TYPE_CHECKING:
    from jackfield.abc import Outcome, Work


def _without_first_frame(error: Exception) -> Exception:
    # The traceback begins with the frame of ``run_work``, and a frame keeps its
    # variables alive: as long as somebody held the error, the task's arguments could
    # not be freed. This is a function of its own so that ``run_work`` has no variable
    # with the traceback in it: a frame and a traceback that refer to each other are a
    # cycle, which only the garbage collector can free.
    traceback = traceback_of(error)
    BaseException.with_traceback(error, traceback and traceback.tb_next)
    return error


def run_work(work: Work) -> Outcome:
    """Call a work's function here and return what to report; never raises.

    To be called on the thread that is the worker. ``SystemExit`` and other exceptions
    that would end a thread or a program are reported as ``TaskExitError``. Fills
    ``work.ran``, if that is wanted.
    """
    outer = this_thread.work
    this_thread.work = work
    measure = work.measure
    began = work.begun = None if measure is None else begin(measure)
    try:
        value = work.function(*work.args, **work.kwargs)
    except Exception as error:
        return work, _without_first_frame(error), None
    except BaseException as error:
        wrapped = TaskExitError(work.name, one_line(error))
        wrapped.__cause__ = error
        return work, wrapped, None
    finally:
        this_thread.work = outer
        if began is not None:
            work.ran = place(began)
    return work, None, value
