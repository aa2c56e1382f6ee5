"""Dask clusters end whole, whatever their own ``close`` meets."""

from __future__ import annotations

import logging
import threading
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_system import dask_clusters
from jackfield_system.dask_clusters import close_cluster
from jackfield_testing.engines import have_lose_track
from jackfield_testing.footprint import WAIT_S, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

skip_without("distributed", extra="dask")

pytestmark = pytest.mark.xdist_group("engines")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Give a cluster of one worker; see that it has ended, and left nothing."""
    from dask import config
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # that one stays
    before, threads = descendants(), set(threading.enumerate())
    with config.set({"distributed.nanny.pre-spawn-environ": {}}):
        one: Any = LocalCluster(  # type: ignore[no-untyped-call]  # it has no annotations
            n_workers=1,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        )
    yield one
    assert one.status.name == "closed"
    assert settled(lambda: descendants() <= before, WAIT_S)

    def ended() -> bool:
        more = set(threading.enumerate()) - threads
        # Dask keeps some for what takes long.
        return not [one for one in more if "Offload" not in one.name]

    assert settled(ended, WAIT_S), threading.enumerate()


def test_one_that_has_met_nothing_is_closed(cluster: Any) -> None:
    close_cluster(cluster)
    close_cluster(cluster)


def test_one_that_has_lost_track_of_its_workers_is_closed(cluster: Any) -> None:
    have_lose_track(cluster)

    close_cluster(cluster)


def test_one_that_somebody_has_closed_in_vain_is_closed(cluster: Any) -> None:
    have_lose_track(cluster)
    with pytest.raises(KeyError):
        cluster.close()

    close_cluster(cluster)


def test_one_whose_worker_is_not_to_be_stopped_is_closed(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own ``close`` waits for ever here, for what somebody else has locked."""
    monkeypatch.setattr(dask_clusters, "CLOSE_S", 0.5)
    cluster.sync(cluster._lock.acquire)

    close_cluster(cluster)
