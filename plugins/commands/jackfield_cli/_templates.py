"""The distributions that ``jackfield new`` writes: their names, files and texts.

The texts are in ``templates/``: what all kinds share in ``common``, the plugin and its
tests in a directory for each kind. Names stand in them as ``$package`` does.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

from jackfield.plugins.scan import GROUPS
from jackfield.version import installed_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield.plugins.scan import Kind

LONGEST: Final = 24
"""Characters of a name: with more, the formatter would break lines elsewhere."""

PLAIN: Final = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

KIT: Final = "the conformance kit that Jackfield's own plugins pass, and the options."


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is particular to the distributions of one kind.

    Attributes:
        kind: Of its entry point.
        suffix: The end of its class's name.
        summary: What the distribution is, in a sentence.
        use: How it is used, for the README.
        tests: What is tested, for the README.
        target: What the entry point names in the module; ``""`` is the module itself.
        pattern: What a name must be, and that in words.
        reserved: Names that mean something else where it is used.
    """

    kind: Kind
    suffix: str
    summary: str
    use: str
    tests: str
    target: str = ""
    pattern: tuple[str, str] = (
        PLAIN,
        "small letters, digits and single dashes, from a letter on",
    )
    reserved: frozenset[str] = frozenset()


PATTERNS: Final[Mapping[str, Pattern]] = {
    "executor": Pattern(
        "executor",
        "Executor",
        "An executor for Jackfield: plugin = '$name'.",
        '```toml\n[executors.main]\nplugin = "$name"\nworkers = 4\n```',
        KIT,
    ),
    "staging": Pattern(
        "staging",
        "Provider",
        "Files with $name: URLs for Jackfield.",
        '```toml\n[staging.$name]\nroot = "/data/files"\n```\n\nthen '
        '`jf.File("$name://here/a.txt")` as input or output.',
        KIT,
        pattern=(
            PLAIN,
            "a URL scheme: small letters, digits and single dashes, from a letter on",
        ),
    ),
    "checkpoint": Pattern(
        "checkpoint",
        "Store",
        "A store for the results of Jackfield: $name:///PATH.",
        '```toml\n[checkpoint]\nstore = "$name:///results"\n```',
        KIT,
        pattern=(
            PLAIN,
            "a URL scheme: small letters, digits and single dashes, from a letter on",
        ),
    ),
    "memo": Pattern(
        "memo",
        "",
        "What makes two values of $name the same, for Jackfield.",
        "Values whose types come from the package `$name` may then be arguments of\n"
        "apps with `cache=True`.",
        "equal values are one call, others are not.",
        pattern=(
            r"[A-Za-z][A-Za-z0-9_]*",
            "the package whose values it identifies, as it is imported",
        ),
    ),
    "monitor": Pattern(
        "monitor",
        "Monitor",
        "A monitor for runs of Jackfield: plugin = '$name'.",
        '```toml\n[monitors.mine]\nplugin = "$name"\n```',
        "a real run is seen to its end, and the options.",
    ),
    "profile": Pattern(
        "profile",
        "",
        "A configuration for Jackfield to choose by name: '$name'.",
        '```python\nimport jackfield as jf\n\nwith jf.load("$name"):\n    ...\n```',
        "the configuration is accepted, and tasks run where it says.",
        target="PROFILE",
    ),
    "policy": Pattern(
        "optional",
        "Policy",
        "A policy for runs of Jackfield: a table [plugins.$name].",
        '```toml\n[plugins.$name]\ngive_up = ["ValueError"]\n```',
        "real runs go as it says, and the options.",
        target="$class",
        reserved=frozenset({"allow", "block"}),
    ),
    "command": Pattern(
        "command",
        "",
        "A command for Jackfield: jackfield $name.",
        "```console\njackfield $name --dir runs --limit 5\n```",
        "the command as it is called, and the options.",
    ),
    "observer": Pattern(
        "plugin",
        "Observer",
        "An observer, which every run of Jackfield loads.",
        "Each run then has `$name.txt` in its run directory. To do without:\n"
        '`[plugins] block = ["$name"]`.',
        "a real run is seen to its end.",
        target="$class",
    ),
}
"""Kinds of distributions, in the order in which help shows them."""


def why_not(kind: str, name: str) -> str:
    """Say why a distribution cannot have a name; ``""`` if it can."""
    rule, words = PATTERNS[kind].pattern
    if not re.fullmatch(rule, name):
        return f"{name!r} cannot be it: it must be {words}."
    if len(name) > LONGEST:
        return f"{name!r} is too long: at most {LONGEST} characters."
    if name in PATTERNS[kind].reserved:
        return f"{name!r} cannot be it: in a configuration it means something else."
    if kind == "memo" and keyword.iskeyword(name):
        return f"{name!r} is a word of Python, and no package."
    return ""


def written(kind: str, name: str) -> dict[str, str]:
    """Return the files of a distribution: path in its directory to text."""
    pattern = PATTERNS[kind]
    words = re.split(r"[-_]", name)
    names = {
        "kind": kind,
        "name": name,
        "distribution": distribution_of(name),
        "package": f"jackfield_{name.replace('-', '_').lower()}",
        "class": "".join(w[:1].upper() + w[1:] for w in words) + pattern.suffix,
        "group": GROUPS[pattern.kind],
        "version": installed_version(),
    }
    target = Template(pattern.target).substitute(names)
    module = f"{names['package']}.{kind}"
    names["target"] = f"{module}:{target}" if target else module
    for key in ("summary", "use", "tests"):
        names[key] = Template(getattr(pattern, key)).substitute(names)
    package = names["package"]
    texts = {
        ".github/workflows/tests.yml": "common/tests.yml",
        ".gitignore": "common/gitignore",
        "README.md": "common/README.md",
        "pyproject.toml": "common/pyproject.toml",
        f"{package}/__init__.py": "common/init.py",
        f"{package}/{kind}.py": f"{kind}/code.py",
        f"tests/test_{kind}.py": f"{kind}/test.py",
    }
    home = files("jackfield_cli") / "templates"
    made = {
        path: Template((home / f"{text}.in").read_text("utf-8")).substitute(names)
        for path, text in texts.items()
    }
    return made | {f"{package}/py.typed": ""}


def distribution_of(name: str) -> str:
    """Return the name of a distribution, which is that of its directory too."""
    return f"jackfield-{name.replace('_', '-').lower()}"
