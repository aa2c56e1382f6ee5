r"""Run tasks in processes of this machine. Plugin name: ``processes``.

Right for Python code that computes: each worker is a process of its own, which can
crash, be stopped and be replaced without harm to the others. Options and guarantees:
``docs/executors-processes.md``.

::

     the driver                                            a worker, one of many
    +------------------------------+                      +----------------------+
    |  sys.stdout, sys.stderr      |                      |                      |
    |     ^                        |        pipes         |                      |
    |  output thread <-------------|----------------------|  stdout, stderr      |
    |                              |                      |                      |
    |  submit(), on any thread     |                      |                      |
    |     |           \            |                      |  main thread: runs   |
    |     v            \           |        socket        |  the tasks in order  |
    |  queue            +----------|------- tasks ------->|                      |
    |     |            /           |                      |  watchdog thread:    |
    |     v           /            |        socket        |  returns the tasks   |
    |  the loop's thread <---------|------ results -------|  behind a long one   |
    |     |    |     ^             |                      |                      |
    |     v    |     +- - - - - - -|- - progress page - - |                      |
    |  report()|                   |   (shared memory)    |                      |
    +----------|-------------------+                      +----------------------+
        socket | ^                                                   ^
        start, | | started,                                          | forks,
        kill   v | ended                                             | kills,
    +------------------------------+                                 | reaps
    |  the fork server             |---------------------------------+
    +------------------------------+

A thread that submits sends works to idle workers itself, which saves waking the loop's
thread. What no worker takes at once waits in the queue, until the loop has read a
worker's answer and sends it more. No lock and no queue is shared by two workers, so the
death of one cannot hold up another.

Who is who, from the outside in:

- ``executor``: what the kernel calls, and the loop's thread. ``options``: its options.
- ``pool``: which works wait and which worker holds which. ``messages`` turns works into
  bytes, ``cancellation`` stops tasks, ``exits`` settles what dead workers held.
- ``supervisor``: starts, hears, stops and replaces workers. ``spawn`` starts one,
  ``handle`` is what is known of one, ``resources`` measures memory and cores.
- ``output``: the thread that passes on what workers print and log.
- ``forkserver``: the process that forks the workers; ``forkserver_client`` asks it.
- ``needs``: which packages functions need; ``preload``: importing them for all workers.
- ``worker`` and ``setup``: what a worker runs; ``leftovers``: what tasks leave in it.
- ``wire`` and ``progress``: what driver and worker share: frames and the progress page.
- ``kept``: large results, which stay packed until somebody reads them. ``shared``: the
  memory in which they are, and large arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield.abc import Executor

JACKFIELD_SHOWN = (
    "workers",
    "least",
    "most",
    "init",
    "initializer",
    "max_tasks_per_worker",
    "max_memory_per_worker",
    "memory_limit_per_worker",
    "threads_per_worker",
    "nice",
    "max_shared",
)


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make a process executor.

    The other modules are imported only here, so that looking for plugins stays quick.
    """
    if kind != "processes":
        return None
    from jackfield_executors.processes.executor import ProcessExecutor
    from jackfield_executors.processes.options import parse_options

    return ProcessExecutor(parse_options(label, options))


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table."""
    from jackfield_executors.processes.options import parse_options

    parse_options(name, options)
    return True
