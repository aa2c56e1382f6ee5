from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from jackfield_cli import main

if TYPE_CHECKING:
    import pytest

Install = Callable[..., None]

OURS = {
    one.name
    for one in entry_points(group="jackfield.commands")
    if one.value.startswith("jackfield_cli.")
}

COMMAND = """
    import click
    import jackfield as jf

    @jf.hookimpl
    def jackfield_register_commands(cli):
        @cli.command(help="Say something.")
        def {name}():
            click.echo("{name} of " + __name__)
"""


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def listed(*args: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Run ``plugins --json``; return kind and name to what is told of the plugin."""
    result = run(*args, "plugins", "--json")
    assert result.exit_code == 0, result.output
    return {(one["kind"], one["name"]): one for one in json.loads(result.stdout)}


def test_the_version_is_printed() -> None:
    result = run("--version")

    assert result.exit_code == 0
    assert result.output.startswith("jackfield, version ")


def test_help_lists_our_commands_and_those_of_plugins(install: Install) -> None:
    install("lab", "[jackfield.plugins]\nlab = lab\n", lab=COMMAND.format(name="greet"))

    result = run("--help")

    assert result.exit_code == 0
    for name in (*OURS, "greet"):
        assert f"\n  {name}" in result.output
    assert "Say something." in result.output


def test_our_commands_are_entry_points_like_anybodys() -> None:
    assert {"config", "doctor", "new", "plugins", "run"} == OURS


def test_the_command_of_an_entry_point_runs(install: Install) -> None:
    install(
        "lab", "[jackfield.commands]\ngreet = lab\n", lab=COMMAND.format(name="greet")
    )

    result = run("greet")

    assert (result.exit_code, result.output) == (0, "greet of lab\n")
    assert "Say something." in run("--help").output


def test_only_the_command_that_is_wanted_is_imported(install: Install) -> None:
    broken = "raise SystemExit('no')"
    install(
        "lab",
        "[jackfield.commands]\ngreet = lab\nb = b\n[jackfield.plugins]\nc = c\n",
        lab=COMMAND.format(name="greet"),
        b=broken,
        c=broken,
    )

    result = run("greet")

    assert (result.exit_code, result.output) == (0, "greet of lab\n")


def test_an_entry_point_that_is_broken_is_told_where_its_command_is_wanted(
    install: Install,
) -> None:
    install(
        "lab", "[jackfield.commands]\ngreet = lab\n", lab="import lab_that_is_missing"
    )

    wanted, helped = run("greet"), run("--help")

    assert wanted.exit_code == 1
    assert "Error: Plugin 'greet' (lab 1.0) cannot be used" in wanted.stderr
    assert helped.exit_code == 0
    assert "jackfield: Plugin 'greet' (lab 1.0) cannot be used" in helped.stderr
    assert "\n  memo " in helped.stdout
    assert "greet" not in helped.stdout


def test_an_entry_point_adds_the_command_that_it_is_named_for(install: Install) -> None:
    install(
        "lab", "[jackfield.commands]\nhello = lab\n", lab=COMMAND.format(name="greet")
    )

    result = run("hello")

    assert result.exit_code == 1
    assert "jackfield_register_commands adds no command 'hello'" in result.stderr
    assert run("greet").exit_code == 2


def test_a_module_may_serve_several_entry_points(install: Install) -> None:
    two = COMMAND.format(name="greet") + (
        "    @cli.command()\n        def leave():\n            click.echo('bye')\n"
    ).replace("    @cli", "        @cli", 1)
    install("lab", "[jackfield.commands]\ngreet = lab\nleave = lab\n", lab=two)

    assert run("greet").output == "greet of lab\n"
    assert run("leave").output == "bye\n"


def test_a_module_may_be_a_general_plugin_too(install: Install) -> None:
    install(
        "lab",
        "[jackfield.commands]\ngreet = lab\n[jackfield.plugins]\nlab = lab\n",
        lab=COMMAND.format(name="greet"),
    )

    helped = run("--help")

    assert run("greet").output == "greet of lab\n"
    assert helped.stdout.count("greet") == 1
    assert helped.stderr == ""


def test_two_entry_points_of_one_name_are_both_told(install: Install) -> None:
    for name in ("lab", "rival"):
        text = COMMAND.format(name="greet")
        install(name, f"[jackfield.commands]\ngreet = {name}\n", **{name: text})

    result = run("greet")

    assert result.exit_code == 1
    assert "Two plugins are named 'greet'" in result.stderr
    assert "lab 1.0" in result.stderr
    assert run("plugins").exit_code == 0


def test_a_command_of_an_entry_point_can_be_blocked() -> None:
    blocked = run("--no-plugin", "memo", "memo", "key")

    assert blocked.exit_code == 1
    assert "it is blocked, by JACKFIELD_PLUGINS or --no-plugin" in blocked.stderr
    assert "\n  memo " not in run("--no-plugin", "memo", "--help").output


def test_a_plugins_command_runs(install: Install) -> None:
    install("lab", "[jackfield.plugins]\nlab = lab\n", lab=COMMAND.format(name="greet"))

    result = run("greet")

    assert (result.exit_code, result.output) == (0, "greet of lab\n")


def test_an_unknown_command_is_told() -> None:
    result = run("plugns")

    assert result.exit_code == 2
    assert "No such command 'plugns'; did you mean 'plugins'?" in result.output


def test_a_command_whose_name_is_taken_is_told_and_left_out(install: Install) -> None:
    install(
        "lab",
        "[jackfield.plugins]\na = lab_a\nb = lab_b\nc = lab_c\n",
        lab_a=COMMAND.format(name="greet"),
        lab_b=COMMAND.format(name="greet"),
        lab_c=COMMAND.format(name="plugins"),
    )

    result = run("greet")

    assert result.stdout == "greet of lab_a\n"
    assert "The command 'greet' of plugin 'b' (lab 1.0)" in result.stderr
    assert "The command 'plugins' of plugin 'c' (lab 1.0)" in result.stderr
    assert result.stderr.count("is left out: the name is taken.") == 2


def test_broken_plugins_are_told_where_their_commands_are_missed(
    install: Install,
) -> None:
    install(
        "lab",
        "[jackfield.plugins]\na = lab_a\nb = lab_b\nc = lab_c\n",
        lab_a="import lab_that_is_missing",
        lab_b="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_register_commands(cli):
                raise RuntimeError("no commands today")
        """,
        lab_c=COMMAND.format(name="greet"),
    )

    result = run("greet")

    assert result.stdout == "greet of lab_c\n"
    assert "jackfield: Plugin 'a' (lab 1.0) cannot be used" in result.stderr


def test_our_own_commands_load_no_plugins(install: Install) -> None:
    install("lab", "[jackfield.plugins]\nlab = lab\n", lab="raise SystemExit('no')")

    assert listed()["plugin", "lab"]["loaded"] is False
    assert "lab" not in sys.modules


def test_the_list_has_every_entry_point() -> None:
    one = listed()["executor", "threads"]

    assert one == {
        "kind": "executor",
        "name": "threads",
        "distribution": "jackfield",
        "version": one["version"],
        "loaded": False,
        "hooks": [],
        "problem": None,
        "blocked": False,
        "absent": False,
    }


def test_the_table_groups_by_kind(install: Install) -> None:
    install("lab", "[jackfield.profiles]\nmy-lab = lab:x\n", lab="x = {}")

    lines = run("plugins").output.splitlines()

    assert lines[0] == "configuration"
    assert "executor" in lines
    assert lines[lines.index("profile") + 1].split() == ["my-lab", "lab", "1.0"]


def test_a_check_tells_what_is_broken_and_fails(install: Install) -> None:
    install("lab", "[jackfield.executors]\nlab = lab\n", lab="import lab_missing")

    result = run("plugins", "--check")

    assert result.exit_code == 1
    told = " ".join(result.output.split())
    assert "lab lab 1.0 PROBLEM: importing lab raised Module" in told
    assert "jackfield_create_executor" in result.output


def test_a_check_of_what_works_ends_well() -> None:
    assert run("plugins", "--check").exit_code == 0


def test_a_blocked_plugin_is_listed_and_no_problem(install: Install) -> None:
    install("lab", "[jackfield.executors]\nlab = lab\n", lab="import lab_missing")

    result = run("--no-plugin", "lab", "--no-plugin", "other", "plugins", "--check")

    assert result.exit_code == 0
    assert (
        "BLOCKED:  it is blocked, by JACKFIELD_PLUGINS or --no-plugin" in result.output
    )
    assert "JACKFIELD_PLUGINS" not in os.environ


def test_a_blocked_plugin_adds_no_command(install: Install) -> None:
    install("lab", "[jackfield.plugins]\nlab = lab\n", lab=COMMAND.format(name="greet"))

    assert run("--no-plugin", "lab", "greet").exit_code == 2
    assert "greet" not in run("--no-plugin", "lab", "--help").output


def test_blocking_adds_to_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-threads")

    found = listed("--no-plugin", "processes")

    assert found["executor", "threads"]["blocked"]
    assert found["executor", "processes"]["blocked"]
    assert os.environ["JACKFIELD_PLUGINS"] == "-threads"


def imported_by(code: str) -> set[str]:
    """Run code in a new interpreter; return the names of all modules that it has."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_the_command_line_imports_what_it_needs_and_no_more() -> None:
    modules = imported_by("import jackfield_cli")

    assert "click" in modules
    assert not {"jackfield_cli.run", "jackfield_cli.config", "jackfield"} & modules

    modules = imported_by(
        "import jackfield_cli\njackfield_cli.main(['plugins'], standalone_mode=False)"
    )

    assert "jackfield_cli.plugins" in modules
    assert not {"jackfield_cli.run", "jackfield_cli.memo", "cloudpickle"} & modules


def test_a_kernel_imports_no_command() -> None:
    modules = imported_by("import jackfield\nwith jackfield.load(): pass")

    assert not {name for name in modules if name.partition(".")[0] == "jackfield_cli"}
    assert "click" not in modules
