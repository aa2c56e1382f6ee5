"""A configuration file that is found, and was not named, does nobody else's will."""

from __future__ import annotations

import grp
import os
import pwd
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jackfield as jf
from jackfield.config.finding import make_request
from jackfield.plugins import PluginManager

if TYPE_CHECKING:
    from jackfield.config import Resolved

NOBODY = 65534

only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make a file of another user"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own directory of configuration, for this test."""
    directory = tmp_path / "home" / "jackfield"
    directory.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(directory.parent))
    return directory


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Path:
    """An empty directory of the user's."""
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def resolve(directory: Path, environ: Mapping[str, str] | None = None) -> Resolved:
    return PluginManager().find_configuration(
        make_request(
            directory=directory,
            environ={**os.environ, **(environ or {})},
        )
    )


def write(directory: Path, text: str, name: str = "jackfield.toml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def give_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


# -- Whose a file is


@only_root
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jackfield.toml", "retries = 7"),
        ("pyproject.toml", "[tool.jackfield]\nretries = 7"),
        ("pyproject.toml", '[ tool . "jackfield" ]\nretries = 7'),
    ],
)
def test_a_file_of_another_user_is_refused_with_the_ways_out(
    project: Path, name: str, text: str
) -> None:
    path = write(project, text, name)
    give_away(path)

    with pytest.raises(jf.ConfigurationError) as caught:
        resolve(project)

    message = str(caught.value)
    assert f"{path} was found, and is not used: {path} belongs to" in message
    for way in (f"jackfield config trust {path}", "--config", "JACKFIELD_CONFIG=off"):
        assert way in message


@only_root
def test_another_users_pyproject_without_our_table_is_not_even_parsed(
    project: Path,
) -> None:
    give_away(write(project, "# jackfield\n[[[", "pyproject.toml"))

    assert resolve(project).files == []


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_a_file_that_others_may_write_is_refused(project: Path, mode: int) -> None:
    write(project, "retries = 7").chmod(mode)

    with pytest.raises(jf.ConfigurationError, match=f"others may write .*{mode:04o}"):
        resolve(project)


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_file_in_a_directory_that_others_may_write_is_refused(
    project: Path, mode: int
) -> None:
    write(project, "retries = 7")
    project.chmod(mode)

    with pytest.raises(jf.ConfigurationError, match=f"others may write {project} "):
        resolve(project)


@only_root
def test_a_file_that_a_foreign_group_may_write_is_refused(project: Path) -> None:
    path = write(project, "retries = 7")
    os.chown(path, 0, NOBODY)
    path.chmod(0o664)

    with pytest.raises(jf.ConfigurationError, match="others may write"):
        resolve(project)


@only_root
def test_a_link_to_a_file_of_another_user_is_refused(
    tmp_path: Path, project: Path
) -> None:
    theirs = write(tmp_path, "retries = 7", "theirs.toml")
    give_away(theirs)
    (project / "jackfield.toml").symlink_to(theirs)

    with pytest.raises(jf.ConfigurationError, match="belongs to"):
        resolve(project)


@pytest.mark.parametrize("what", ["a link to nothing", "a pipe", "a directory"])
def test_what_is_no_file_is_told_and_not_passed_over(project: Path, what: str) -> None:
    path = project / "jackfield.toml"
    if what == "a link to nothing":
        path.symlink_to("moved.toml")
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(jf.ConfigurationError, match="no file, so it sets nothing"):
        resolve(project)


@only_root
def test_a_list_that_lets_others_write_counts_as_the_groups_bits(
    tmp_path: Path,
) -> None:
    alone = [
        user
        for user in pwd.getpwall()
        if user.pw_uid
        and user.pw_gid in {one.gr_gid for one in grp.getgrall()}
        and grp.getgrgid(user.pw_gid).gr_name == user.pw_name
        and not grp.getgrgid(user.pw_gid).gr_mem
    ]
    if not alone:
        pytest.skip("no user of this machine has a group of their own")
    path = tmp_path / "settings"
    path.touch()
    os.chown(path, alone[0].pw_uid, alone[0].pw_gid)
    path.chmod(0o660)
    look = (
        "import grp, os, pwd; from pathlib import Path;"
        "from jackfield.places import doubt;"
        f"os.setegid({alone[0].pw_gid}); os.seteuid({alone[0].pw_uid});"
        "print(doubt(Path('settings')))"
    )

    def doubted() -> str:
        command = [sys.executable, "-c", look]
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    tmp_path.chmod(0o755)  # which is all that a look from within it needs
    before = doubted()
    entries = [(1, 6, -1), (2, 6, NOBODY), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)
    except OSError:
        pytest.skip("the file system has no such lists")

    assert before == "None\n"
    assert "others may write" in doubted()


@only_root
def test_the_search_ends_below_the_first_directory_of_somebody_else(
    project: Path,
) -> None:
    below = project / "mine" / "deep"
    below.mkdir(parents=True)
    write(project.parent, "retries = 8")
    write(project, "retries = 7")
    give_away(project)

    found = resolve(below)

    assert found.config.retries == 0
    assert found.looked[-1].startswith(f"no further: {project} belongs to")


@only_root
def test_standing_in_a_directory_of_somebody_else_its_file_is_refused_not_ignored(
    project: Path,
) -> None:
    write(project, "retries = 7")
    give_away(project)

    with pytest.raises(jf.ConfigurationError, match=f"{project} belongs to"):
        resolve(project)


@only_root
def test_no_code_of_another_users_file_runs(tmp_path: Path, home: Path) -> None:
    """The whole way: a shared scratch directory, and a plain ``load()`` below it."""
    scratch = tmp_path / "scratch"
    mine = scratch / "mine"
    mine.mkdir(parents=True)
    scratch.chmod(0o1777)
    ran = tmp_path / "ran"
    text = (
        '[executors.threads]\nplugin = "processes"\n'
        f'initializer = "os:mkdir"\ninitargs = ["{ran}"]\n'
    )
    give_away(write(scratch, text))
    code = "import jackfield as jf\nwith jf.load() as k: k.submit(len, 'a').result(60)"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=mine,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert not ran.exists()
    assert "belongs to" in done.stderr
    assert "\njackfield.errors.ConfigurationError: " in done.stderr
    assert not (mine / "runs").exists()


# -- The user's word


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[executors.p]\nplugin="processes"\ninitializer="m:f"', "p.initializer"),
        ('[executors.p]\nplugin="x"\nenv={PYTHONPATH="/x"}', "p.env.PYTHONPATH"),
        ('[executors.p]\nplugin="x"\nenv={LD_PRELOAD="/x"}', "p.env.LD_PRELOAD"),
        ('[checkpoint]\nstore="sqlite:///x"\ntrust="any"', "checkpoint.trust"),
        ('[checkpoint]\nstore="sqlite:///x"\ntrust="owner"', "checkpoint.trust"),
        ('[checkpoint]\nstore="sqlite:///x"\nkey_file="k"', "checkpoint.key_file"),
        ('[checkpoint]\nstore="sqlite:///x"\nshared=true', "checkpoint.shared"),
        ("shared_run_dir = true", "shared_run_dir"),
        ("[staging.https]\ninsecure = true", "staging.https.insecure"),
        ('[staging.https.hosts."h"]\ninsecure = true', "hosts.h.insecure"),
        ("[staging.sftp]\ninsecure_host_keys=true", "sftp.insecure_host_keys"),
        ('[staging.https]\nca_file = "mine.pem"', "staging.https.ca_file"),
        ("[staging.https]\nprivate_redirects = true", "https.private_redirects"),
    ],
)
def test_a_key_that_runs_code_or_lifts_a_protection_needs_the_users_word_once(
    project: Path, home: Path, text: str, key: str
) -> None:
    path = write(project, text)

    with pytest.raises(jf.ConfigurationError, match="needs your word") as caught:
        resolve(project)
    assert f"{key} needs" in str(caught.value)

    for word in (path, project, project.parent):
        (home / "trusted").write_text(f"{word}\n")
        assert resolve(project).files == [str(path)]


@pytest.mark.parametrize(
    "text",
    [
        '[checkpoint]\nstore="sqlite:///x"\ntrust="signed"\nshared=false',
        "[staging.https]\ninsecure = false",
        '[executors.p]\nplugin="processes"\nenv={OMP_NUM_THREADS="1"}',
    ],
)
def test_what_protects_needs_no_word(project: Path, text: str) -> None:
    path = write(project, text)

    assert resolve(project).files == [str(path)]


def test_a_word_for_another_directory_does_not_count(project: Path, home: Path) -> None:
    write(project, "shared_run_dir = true")
    (home / "trusted").write_text(f"{project.parent}/projec\n{project}/below\n")

    with pytest.raises(jf.ConfigurationError, match="needs your word"):
        resolve(project)


def test_a_list_that_others_may_write_does_not_count(project: Path, home: Path) -> None:
    write(project, "shared_run_dir = true")
    (home / "trusted").write_text(f"{project}\n")
    (home / "trusted").chmod(0o666)

    with pytest.raises(jf.ConfigurationError, match="needs your word"):
        resolve(project)


@only_root
def test_the_users_word_makes_a_colleagues_file_count(
    project: Path, home: Path
) -> None:
    path = write(project, "retries = 7")
    give_away(path)
    (home / "trusted").write_text(f"{path}\n")

    assert resolve(project).config.retries == 7


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_a_file_that_is_named_needs_no_other_word(project: Path, way: str) -> None:
    path = write(project, "shared_run_dir = true")
    path.chmod(0o666)

    if way == "argument":
        resolved = PluginManager().find_configuration(make_request(path, environ={}))
    else:
        resolved = resolve(project, {"JACKFIELD_CONFIG": str(path)})

    assert resolved.config.shared_run_dir
    assert resolved.files == [str(path)]


def test_a_variable_switches_the_search_off(project: Path, home: Path) -> None:
    write(project, "retries = 7").chmod(0o666)
    write(home, "retry_delay = 3", "config.toml")

    resolved = resolve(project, {"JACKFIELD_CONFIG": "off"})

    assert (resolved.config.retries, resolved.config.retry_delay) == (0, 3)


@only_root
def test_the_users_own_file_must_be_the_users_own(project: Path, home: Path) -> None:
    """As root with the home of somebody else, it would be theirs."""
    give_away(write(home, "retries = 7", "config.toml"))

    with pytest.raises(jf.ConfigurationError, match="belongs to"):
        resolve(project)


def test_the_runs_log_names_the_files_used(project: Path, home: Path) -> None:
    paths = [write(home, "retries = 1", "config.toml"), write(project, "retries = 2")]
    code = (
        "import jackfield as jf\nwith jf.load() as k: pass\n"
        "print((k.run_dir / 'jackfield.log').read_text())"
    )

    log = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout

    assert f"Configuration files: {paths[0]}, {paths[1]}\n" in log


# -- Groups

_DOUBT = """
import grp, os, pwd, sys
from pathlib import Path
from jackfield.places import doubt
path, gid = Path(sys.argv[1]), int(sys.argv[2])
os.chown(path, 1, gid)
path.chmod(0o664)
status = path.stat()
os.seteuid(1)
print(doubt(path, status) is None)
"""


@only_root
@pytest.mark.parametrize(("gid", "trusted"), [(1, True), (NOBODY, False)])
def test_the_users_own_group_is_nobody_else(
    tmp_path: Path, gid: int, trusted: bool
) -> None:
    """Where the umask is 002, all that the user makes can be written by that group."""
    if (grp.getgrgid(1).gr_name, grp.getgrgid(1).gr_mem) != (pwd.getpwuid(1)[0], []):
        pytest.skip("the system's second user has no group of its own")
    path = tmp_path / "jackfield.toml"
    path.touch()

    done = subprocess.run(
        [sys.executable, "-c", _DOUBT, path, str(gid)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == f"{trusted}\n"
