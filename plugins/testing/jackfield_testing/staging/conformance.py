"""Conformance tests for staging providers. Needs pytest."""

from __future__ import annotations

from jackfield_testing.staging.content import (
    Cached,
    Content,
    Declared,
    Many,
)
from jackfield_testing.staging.end import Disk, Elsewhere, Leaks
from jackfield_testing.staging.faults import (
    Cancelled,
    Changes,
    Cut,
    Interrupted,
    Stalls,
)
from jackfield_testing.staging.out import Out
from jackfield_testing.staging.secrets import Secrets
from jackfield_testing.staging.trees import Trees


class StagingConformance(
    Content,
    Declared,
    Cached,
    Many,
    Cut,
    Interrupted,
    Changes,
    Stalls,
    Cancelled,
    Out,
    Trees,
    Secrets,
    Disk,
    Leaks,
    Elsewhere,
):
    """What the kernel relies on in a staging provider; tested through a kernel.

    Name a subclass ``Test...`` and give it a fixture ``site``, a place that the tests
    can reach behind the provider's back::

        class TestMine(StagingConformance):
            resumes = False

            @pytest.fixture
            def site(self, tmp_path: Path) -> Iterator[StagingSite]:
                root = tmp_path / "served"
                root.mkdir()
                with my_server(root) as port:
                    yield DirectorySite(root, f"mine://localhost:{port}/")

    A site without ``faults`` may serve many tests; one with them is made for each.
    What cannot be seen of a provider is said in class attributes.

    Attributes:
        stages_out: Whether outputs can be sent.
        replaces_whole: Whether a file that is replaced stays as it was until the new
            one is there.
        lists: Whether directories and patterns can be staged in.
        verified: What shows that a file is right if its user declares neither size
            nor digest: ``"etag"``, ``"size"`` or ``"none"``.
        notices_changes: Whether a file can be told from another of the same size and
            the same second.
        resumes: Whether an interrupted transfer goes on where it was.
        caches: Whether a file's version can be told without moving it, as the cache
            needs it.
        checks_options: Whether an option that it does not have is refused.
        login_in_url: Whether user and password may stand in the URL.
        other_processes: Whether it finds the same files in other processes.
        names: Awkward names; leave out which the server cannot have.
        large: Bytes of a large file.
        cycles: Kernels started and ended in the long form of the leak test
            (``-m slow``).
        short_cycles: The same in its short form.
    """
