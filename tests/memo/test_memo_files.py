"""What a File is: its name, and its content or its size and time of change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jackfield import File
from jackfield.errors import MemoKeyError
from jackfield_memo import files as memo_files
from jackfield_memo.key_maker import PythonKeyMaker

DAY_S = 86_400


def of(identity: PythonKeyMaker, value: object) -> str:
    return identity.value("app", "argument 'x'", value).hex()


@pytest.fixture
def by_time() -> PythonKeyMaker:
    return PythonKeyMaker(
        value_hooks=lambda kind: (), function_hooks=lambda: (), files="stat"
    )


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_file_counts_by_content(identity: PythonKeyMaker, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = of(identity, File(path))
    age(path, DAY_S)
    touched = of(identity, File(path))
    path.write_bytes(b"two")
    status = path.stat()
    changed = of(identity, File(path))

    assert touched == first
    assert changed != first
    assert status.st_size == 3


def test_a_file_counts_by_its_name_as_well(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"one")

    assert of(identity, File(tmp_path / "a")) != of(identity, File(tmp_path / "b"))


def test_a_file_may_count_by_size_and_time(
    by_time: PythonKeyMaker, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, (5, 5))
    first = of(by_time, File(path))
    path.write_bytes(b"two")
    os.utime(path, (5, 5))
    same_time = of(by_time, File(path))
    os.utime(path, (6, 6))

    assert same_time == first
    assert of(by_time, File(path)) != first


def test_a_file_that_is_not_there_differs_from_an_empty_one(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    missing = of(identity, File(path))
    path.touch()

    assert of(identity, File(path)) != missing


def test_a_path_counts_as_a_name_only(identity: PythonKeyMaker, tmp_path: Path) -> None:
    path = tmp_path / "a"
    missing = of(identity, path)
    path.touch()

    assert of(identity, path) == missing


def test_a_change_within_one_tick_is_noticed(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    found = set()
    for number in range(50):
        path.write_bytes(b"%03d" % number)
        os.utime(path, (1000, 1000))  # a clock that stands still
        found.add(of(identity, File(path)))

    assert len(found) == 50


def test_an_old_file_is_read_once(identity: PythonKeyMaker, tmp_path: Path) -> None:
    # The time of change cannot be set, so the file has to be really that old: one of
    # Python's own is. That it is not read again shows where it cannot be read.
    path = Path(os.__file__)
    first = of(identity, File(path))
    status = path.stat()

    known = memo_files._digests[status.st_dev, status.st_ino]

    assert known[1] == hashlib.sha256(path.read_bytes()).digest()
    assert of(identity, File(path)) == first


def test_a_fresh_files_digest_is_not_kept(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    of(identity, File(path))
    status = path.stat()

    assert (status.st_dev, status.st_ino) not in memo_files._digests


def test_a_directory_counts_with_all_that_is_in_it(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    root = tmp_path / "d"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a").write_bytes(b"one")
    first = of(identity, File(root))
    (root / "up").symlink_to(root)
    with_link = of(identity, File(root))
    (root / "sub" / "a").write_bytes(b"two")
    changed = of(identity, File(root))
    (root / "sub" / "a").rename(root / "sub" / "b")
    renamed = of(identity, File(root))

    assert len({first, with_link, changed, renamed}) == 4


def test_a_pipe_is_refused_and_not_waited_for(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(MemoKeyError, match="neither a file nor a directory"):
        of(identity, File(pipe))


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"secret")
    path.chmod(0)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys\n"
        "from jackfield import File\n"
        "from jackfield.errors import MemoKeyError\n"
        "from jackfield_memo.key_maker import PythonKeyMaker\n"
        "i = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())\n"
        "if os.getuid() == 0:\n"
        "    os.chdir(os.path.dirname(sys.argv[1]))\n"
        "    os.setuid(65534)\n"
        "try:\n"
        "    i.value('app', 'x', File(os.path.basename(sys.argv[1])))\n"
        "except MemoKeyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=True,
    )

    assert "the file cannot be read" in done.stdout


# -- Remote files


def test_a_remote_file_without_a_digest_is_refused(identity: PythonKeyMaker) -> None:
    with pytest.raises(MemoKeyError, match=r"remote and not staged.*sha256="):
        of(identity, File("https://example.org/a"))


def test_a_remote_file_counts_by_its_declared_digest(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    content = b"one"
    digest = hashlib.sha256(content).hexdigest()
    local = tmp_path / "copy"
    local.write_bytes(content)
    remote = File("https://example.org/a", sha256=digest)

    assert of(identity, remote) == of(identity, remote.at(local))
    assert of(identity, remote) == of(identity, File(remote.url).at(local))
    other = File("https://example.org/a", sha256="00" * 32)
    assert of(identity, remote) != of(identity, other)


def test_where_the_local_copy_is_does_not_matter(
    identity: PythonKeyMaker, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"one")
    remote = File("https://example.org/a")

    one, other = remote.at(tmp_path / "a"), remote.at(tmp_path / "b")

    assert of(identity, one) == of(identity, other)
