"""``jackfield config check``, ``config trust``, and what a head of ``show`` tells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jackfield_cli import main

Install = Callable[..., object]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to stand in, and a home of the user's own."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "jackfield"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def write(text: str) -> Path:
    path = Path("jackfield.toml").absolute()
    path.write_text(text)
    return path


# -- check


def test_what_is_right_is_said_to_be_and_nothing_is_started() -> None:
    write(
        """
        [executors.cpu]
        plugin = "processes"
        workers = 2
        [executors.threads]
        [checkpoint]
        store = "sqlite:///results.db"
        sync = "power"
        [staging.https]
        headers = { Accept = "text/plain" }
        [staging.s3]
        endpoint_url = "https://s3.example.org"
        [plugins.journal]
        """
    )

    result = run("config", "check")

    assert (result.exit_code, result.output) == (0, "The configuration is right.\n")
    assert [*Path().iterdir()] == [Path("jackfield.toml")]


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (
            '[executors.cpu]\nplugin = "processes"\nworkres = 3',
            "executors.cpu.workres",
            "did you mean 'workers'?",
        ),
        ("[executors.threads]\nworkers = 0", "executors.threads.workers", "from 1 on"),
        ('[executors.a]\nplugin = "adapter"\nx = 1', "executors.a.x", "has no option"),
        ('[monitors.db]\nplugin = "sqlite"\nx = 1', "monitors.db.x", "has no option"),
        ('[executors.a]\nplugin = "proceses"', "executors.a", "mean 'processes'?"),
        (
            '[checkpoint]\nstore = "sqlite:///x.db"\nsynk = 1',
            "checkpoint.synk",
            "did you mean 'sync'?",
        ),
        (
            '[checkpoint]\nstore = "pickle:///x"\njournal = "wal"',
            "checkpoint.journal",
            "has no option 'journal'",
        ),
        ('[checkpoint]\nstore = "sqlit:///x"', "checkpoint", "did you mean 'sqlite'?"),
        ("[staging.htps]\nx = 1", "staging.htps", "did you mean 'https'?"),
        ("[staging.https]\nheaderz = 1", "staging.https.headerz", "mean 'headers'?"),
        ('[staging.ftp]\nhost = "x"', "staging.ftp.host", "is no option"),
        ("[staging.file]\nroots = 3", "staging.file.roots", "a list of directories"),
        ("[staging.zip]\nx = 1", "staging.zip.x", "is no option"),
        (
            '[staging.https.hosts."h"]\nmax_redirects = "3"',
            "staging.https.hosts.h.max_redirects",
            "expected int",
        ),
        ('[plugins]\nblock = ["jornal"]', "plugins.block", "mean 'journal'?"),
        ("[plugins.jornal]", "plugins.jornal", "did you mean 'journal'?"),
        ("[plugins.journal]\nsize = 1", "plugins.journal.size", "has no option 'size'"),
        (
            "[plugins.journal]\nmax_megabytes = -1",
            "plugins.journal.max_megabytes",
            "a number above 0",
        ),
    ],
)
def test_each_mistake_is_told_with_its_key_and_file(
    text: str, key: str, what: str
) -> None:
    path = write(text)

    result = run("config", "check")

    assert result.exit_code == 1
    [line] = [one for one in result.output.splitlines() if one[:10] != "jackfield:"]
    assert line.startswith(f"{key} (from {path}): ")
    assert what in line
    assert [*Path().iterdir()] == [Path("jackfield.toml")]


def test_all_mistakes_are_told_at_once() -> None:
    write("[executors.threads]\nworkers = 0\n[staging.https]\nheaderz = 1")

    assert len(run("config", "check").output.splitlines()) == 2


def test_a_profile_is_checked(install: Install) -> None:
    profile = "lab = {'executors': {'cpu': {'plugin': 'processes', 'wokers': 1}}}"
    install("my-lab", "[jackfield.profiles]\nlab = lab\n", lab=profile)
    install("your-lab", "[jackfield.profiles]\nlab2 = lab2:lab\n", lab2="lab = {}")

    result = run("config", "check", "--profile", "lab2")
    assert result.exit_code == 0, result.output
    write("")
    result = CliRunner().invoke(main, ["config", "check", "--profile", "lab"])

    assert result.exit_code == 1


def test_a_plugin_that_cannot_check_its_options_is_named(install: Install) -> None:
    code = (
        "import jackfield as jf\n"
        "@jf.hookimpl\n"
        "def jackfield_create_executor(kind, label, options): raise AssertionError\n"
    )
    install("lab-pool", "[jackfield.executors]\nlab = lab_pool\n", lab_pool=code)
    write('[executors.a]\nplugin = "lab"\nqueue = "x"')

    assert "plugin 'lab' cannot check its options" in run("config", "check").output


def test_checking_is_a_hook_of_any_plugin(install: Install) -> None:
    code = (
        "import jackfield as jf\n"
        "@jf.hookimpl\n"
        "def jackfield_create_executor(kind, label, options): raise AssertionError\n"
        "@jf.hookimpl\n"
        "def jackfield_check_options(kind, name, options):\n"
        "    assert kind == 'executor'\n"
        "    if 'queue' not in options:\n"
        "        raise jf.ConfigurationError(f'{name}: say which queue.')\n"
        "    return True\n"
    )
    install("lab-pool", "[jackfield.executors]\nlab = lab_pool2\n", lab_pool2=code)

    path = write('[executors.a]\nplugin = "lab"')
    output = run("config", "check").output
    assert output == f"executors.a (from {path}): a: say which queue.\n"

    write('[executors.a]\nplugin = "lab"\nqueue = "x"')
    assert run("config", "check").exit_code == 0


# -- show


def test_show_heads_with_the_files_read_and_where_it_looked(home: Path) -> None:
    path = write("retries = 1")
    home.mkdir(parents=True)
    (home / "config.toml").write_text("retry_delay = 2")

    lines = run("config", "show").output.splitlines()

    assert lines[0] == f"Files: {home}/config.toml, {path}"
    assert lines[1:4] == [
        "  looked for in /etc/xdg/jackfield/config.toml",
        f"  looked for in {home}/config.toml",
        f"  looked for in {path.parent}",
    ]


def test_show_tells_that_the_search_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    write("retries = 1")
    monkeypatch.setenv("JACKFIELD_CONFIG", "off")

    output = run("config", "show").output

    assert output.startswith("Files: none\n")
    assert "nowhere else, because JACKFIELD_CONFIG is off" in output


# -- trust


def test_a_word_is_given_once_and_can_be_taken_back(home: Path) -> None:
    path = write("shared_run_dir = true")
    assert "needs your word" in run("config", "show").output

    said = run("config", "trust", "jackfield.toml").output
    assert said == f"{path} is trusted: see {home}/trusted.\n"
    assert run("config", "show").exit_code == 0
    run("config", "trust", "jackfield.toml")
    assert (home / "trusted").read_text() == f"{path}\n"
    assert (home / "trusted").stat().st_mode & 0o077 == 0

    run("config", "trust", "--forget", "jackfield.toml")
    assert run("config", "show").exit_code == 1


def test_a_word_for_a_directory_is_for_all_below_it() -> None:
    write("shared_run_dir = true")
    below = Path("below")
    below.mkdir()

    run("config", "trust", "..")

    assert run("config", "show", "below").exit_code == 0


# -- The command line itself


def test_a_block_in_the_configuration_reaches_the_command_line(
    install: Install,
) -> None:
    code = (
        "import click, jackfield as jf\n"
        "@jf.hookimpl\n"
        "def jackfield_register_commands(cli):\n"
        "    cli.add_command(click.Command('greet', callback=lambda: print('hello')))\n"
    )
    install("lab-cli", "[jackfield.commands]\ngreet = lab_cli\n", lab_cli=code)
    assert run("greet").exit_code == 0

    write('[plugins]\nblock = ["greet"]')
    result = run("greet")

    assert result.exit_code == 1
    assert "it is blocked, by the configuration's [plugins] block" in result.output


def test_an_unknown_name_in_a_block_is_told() -> None:
    write('[plugins]\nblock = ["jornal"]')

    output = run("plugins").stderr

    assert "'jornal', is not installed; did you mean 'journal'?" in output


def test_a_configuration_that_is_wrong_does_not_take_the_commands_away() -> None:
    write("retrys = 1")

    result = run("plugins")

    assert result.exit_code == 0
    assert "allow and block do not count here. 'retrys'" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "jackfield"],
        [shutil.which("jackfield", path=str(Path(sys.executable).parent))],
    ],
)
def test_python_m_jackfield_is_the_command(command: list[str]) -> None:
    Path("script.py").write_text("import sys; print(sys.argv, __name__)")

    done = subprocess.run(
        [*command, "run", "script.py", "x"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == "['script.py', 'x'] __main__\n"


def test_a_check_of_plugins_looks_into_profiles(install: Install) -> None:
    install("lab-a", "[jackfield.profiles]\na = lab_a\n", lab_a="")
    install("lab-b", "[jackfield.profiles]\nb = lab_b:b\n", lab_b="b = {'retrys': 1}")
    code = "c = {'executors': {'x': {'plugin': 'threads', 'wokers': 1}}}"
    install("lab-c", "[jackfield.profiles]\nc = lab_c:c\n", lab_c=code)
    install("lab-d", "[jackfield.profiles]\nd = lab_d:d\n", lab_d="d = {'retries': 1}")

    result = run("plugins", "--check")

    assert result.exit_code == 1
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert "PROBLEM:  profile 'a' from lab-a 1.0 is of type module" in lines["a"]
    assert "did you mean 'retries'?" in lines["b"]
    assert "no option 'wokers'" in lines["c"]
    assert "PROBLEM" not in lines["d"]


def test_optional_packages_that_are_absent_are_no_problem(tmp_path: Path) -> None:
    """In an interpreter that finds none of them, as after a plain installation."""
    hide = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in sys.argv[1].split(','):\n"
        "            raise ModuleNotFoundError(f'No module {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from jackfield_cli import main\n"
        "main(['plugins', '--check'])\n"
    )
    absent = "aiohttp,s3fs,aiobotocore,botocore,keyring,numpy,pandas,paramiko"

    done = subprocess.run(
        [sys.executable, "-c", hide, absent],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "OPTIONAL:  it needs numpy, which is not installed" in done.stdout
    assert "pip install 'jackfield[keyring]'" in done.stdout
