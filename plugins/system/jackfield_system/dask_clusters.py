"""Ending the Dask clusters that this process has started, whatever they have met.

A cluster object keeps a list of its workers by what its scheduler tells it. When it is
told that a worker is gone which is not on the list, the task that listens ends with a
``KeyError``, and from then on the list is no longer true: the cluster *has lost track*.
That happens to whoever calls ``wait_for_workers`` of a cluster, or of a client that was
made from one: it puts a newer list in the place of the old one, and news that were on
their way are then told of workers that are not on it. So ask a client that was made
from the address.

``close`` of a cluster that has lost track ends its workers, and then raises that
``KeyError``. Its thread goes on, and it counts as closing: whoever closes it a second
time, as Dask does when the program ends, waits for the first time to be over.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

log: Final = logging.getLogger("jackfield.system")

CLOSE_S: Final = 60.0
"""Seconds that a cluster gets to close by itself."""

PART_S: Final = 20.0
"""Seconds that one of its parts gets then: Dask kills a worker after four of them."""


def client_of(cluster: Any) -> Any:
    """Return a client of a cluster, with which one may wait for its workers."""
    from distributed import Client

    return Client(  # type: ignore[no-untyped-call]  # it has no annotations
        cluster.scheduler_address,
        security=cluster.security,
        loop=cluster.loop,
        set_as_default=False,
    )


def has_lost_track(cluster: Any) -> bool:
    """Tell whether a cluster is running, and does not know its workers any more."""
    watch = cluster._watch_worker_status_task
    return bool(cluster.status.name == "running" and watch is not None and watch.done())


def close_cluster(cluster: Any) -> None:
    """Close a cluster and all that it has started, also if its own ``close`` fails."""
    try:
        if cluster.status.name != "closing":  # else that has failed before
            cluster.close(timeout=CLOSE_S)
    except Exception as error:
        log.debug("A cluster of Dask's did not close: %r", error)
    if cluster.status.name != "closed":
        cluster.sync(_end_all, cluster)
        cluster._loop_runner.stop()


async def _end_all(cluster: Any) -> None:
    """End each part by itself, then what listens to the scheduler."""
    from distributed.deploy.cluster import Cluster

    for part in [*cluster._created, cluster.scheduler]:
        if part is not None and part.status.name != "closed":
            try:
                await asyncio.wait_for(part.close(), PART_S)
            except Exception as error:
                log.debug("%r did not close: %r", part, error)
    watch = cluster._watch_worker_status_task
    if watch is not None:
        watch.cancel()
        await asyncio.wait([watch])
        with suppress(asyncio.CancelledError):
            watch.exception()  # or Dask's loop would complain that nobody has read it
        cluster._watch_worker_status_task = None
    cluster._SpecCluster__exit_stack.close()
    await Cluster._close(cluster)  # type: ignore[no-untyped-call]  # as above
