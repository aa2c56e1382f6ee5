# mypy: ignore-errors
# The code is as users write it: without types.
"""Print the keys and identities of a wide variety of calls, functions and values.

    python golden_main.py DIRECTORY

Runs in a directory of its own, where it writes files. The keys of apps' calls come
from a kernel, whose run directory is ``DIRECTORY``.
"""

import hashlib
import json
import sys

import golden_functions as f
import golden_helpers as h
import golden_values as v
from golden_maker import make, part_identity

import jackfield as jf

LIMIT_S = 60


class Plugin:
    """Answers for one class and for one function."""

    @jf.hookimpl
    def jackfield_hash_value(self, value):
        if isinstance(value, h.Stated):
            return b"stated" + part_identity([value.x, h.Base(1)])
        return None

    @jf.hookimpl
    def jackfield_hash_function(self, function):
        return b"many" if function.__name__ == "many" else None


def told(identity):
    labels = [f"{name.partition(' (')[0]} {d}" for name, d in identity.parts.items()]
    blind = [text.partition(" (")[0] for text in identity.blind]
    parts = hashlib.sha256(json.dumps([labels, blind]).encode()).hexdigest()
    return [identity.digest.hex(), len(labels), parts]


def functions(maker):
    found = {name: told(maker.function(one)) for name, one in f.FUNCTIONS.items()}
    for name in ("helped", "closed", "square"):
        one = f.FUNCTIONS[name]
        found[f"{name}, version"] = told(maker.function(one, version="3"))
        more = [h.clean, f.plain_app, f.bash]
        found[f"{name}, depends_on"] = told(maker.function(one, depends_on=more))
    return found


def values(maker):
    every = {**v.VALUES, **v.files(), **v.numpy_values(), **v.pandas_values()}
    return {name: maker.value("app", name, one).hex() for name, one in every.items()}


def calls(maker):
    helped = maker.function(f.helped)
    found = {}
    for args, kwargs, ignore in [
        ((1,), {}, ()),
        ((1, 2), {"z": 5}, ()),
        ((1, 2, 3, 4), {"w": [1, {"a": 2}], "v": None}, ()),
        ((), {"y": 2, "x": "a"}, ("y",)),
        ((f.plain_app,), {}, ()),
        (({"a": h.Derived(2)},), {}, ()),
    ]:
        key, manifest = maker.key("app", helped, args, kwargs, ignore)
        name = f"{args!r} {kwargs!r} {ignore!r}".partition(" object at")[0]
        parts = sorted((k.partition(" (")[0], d) for k, d in manifest().items())
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        found[name] = [key.hex(), len(parts), digest]
    written = maker.function(f.FUNCTIONS["bash"])
    out = jf.File("golden.txt")
    args, kwargs = (1,), {"outputs": [out], "stdout": out}
    found["written"] = maker.key("app", written, args, kwargs)[0].hex()
    return found


def apps(directory):
    def app(function, **options):
        return jf.python_app(cache=True, **options)(function)

    table = {"store": "memory"}
    config = {"run_dir": directory, "checkpoint": table}
    with jf.load(config, plugins=[Plugin()]) as kernel:
        made = {
            "python": app(f.helped)(1),
            "keywords": app(f.helped)(x=1, z=3, q="w"),
            "ignoring": app(f.helped, ignore_for_cache=["y"])(1, y=7),
            "version": f.version_app(1),
            "version of a lambda": app(f.square, version="2")(3),
            "depends_on": app(f.square, depends_on=[f.clean, f.bash])(3),
            "closure": app(f.closed)(2),
            "method": app(h.Derived(2).run)(),
            "partial": app(f.FUNCTIONS["partial"])(),
            "object": app(h.Called(2))(5),
            "bash": f.bash("a"),
            "bash with files": f.bash("a", outputs=[], stdout="golden.out"),
            "join": f.joining(2),
            "submitted": kernel.submit(f.simple, 3, cache=True),
            "apps inside": app(f.using_apps, version="1")(1),
            "file": app(f.simple)(jf.File("golden.txt")),
            "big": app(f.simple)(list(range(100_000)) + ["a"]),
            "taught": app(f.simple)(h.Taught("b")),
            "value by a plugin": app(f.simple)([h.Stated({"a": 1})]),
            "function by a plugin": app(f.many)(1),
        }
        for future in made.values():
            future.exception(LIMIT_S)
        return {name: future.memo.key for name, future in made.items()}


def main():
    directory = sys.argv[1]
    maker = make()
    found = {
        "values": values(maker),
        "values by stat": {
            name: make("stat").value("app", name, one).hex()
            for name, one in v.files().items()
        },
        "calls": calls(maker),
        "functions": functions(maker),
        "apps": apps(directory),
    }
    json.dump(found, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
