"""A cached app never answers from the memo once what it reads has changed.

Small programs that change what a function reaches, in one way each. After each change
the cached call is compared with the plain one, on threads and on processes, and with a
call that is not cached. The functions stand in a module, and once more in a script.
"""

# ruff: noqa: E501  (programs, some of which have long lines)

from __future__ import annotations

import builtins
import importlib
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import jackfield as jf

LIMIT_S = 60.0


class Program(NamedTuple):
    """A small program.

    Attributes:
        text: The module or the script; ``f(x)`` is called. ``{name}`` is its name.
        changes: What the script does then, one after the other; the module is ``m``.
        other: Another module, ``{name}_other``.
        same: Whether the changes leave the result as it was.
        plain: Whether calls that are not cached are compared, too.
        by_name: Whether names of its own are reached that are not written in it.
        unknown: Whether it cannot be told what it reaches, so that no call is a hit.
        local: Whether it holds what no other process can have.
    """

    text: str
    changes: tuple[str, ...]
    other: str = ""
    same: bool = False
    plain: bool = True
    by_name: bool = False
    unknown: bool = False
    local: bool = False


PROGRAMS = {
    "array": Program(
        "import numpy as np\nA = np.zeros(3)\ndef f(x): return float(A.sum()) + x\n",
        ("m.A[1] = 5", "m.A += 1", "m.A = m.A[:2]"),
    ),
    "large array": Program(
        "import numpy as np\nA = np.zeros(300_000)\n"
        "def f(x): return float(A.sum()) + x\n",
        ("m.A[150_000] = 5",),
    ),
    "large array that nobody writes to": Program(
        "import numpy as np\nA = np.zeros(300_000)\nA.flags.writeable = False\n"
        "def f(x): return float(A.sum()) + x\n",
        ("m.A = m.np.ones(300_000)", "m.A[7] = 9; m.A.flags.writeable = False"),
    ),
    "array in a dict of an object": Program(
        "import numpy as np\nclass Model:\n"
        "    def __init__(self): self.weights = {'a': np.ones(4)}\n"
        "MODEL = Model()\n"
        "def f(x): return float(MODEL.weights['a'].sum()) + x\n",
        ("m.MODEL.weights['a'][2] = 9", "m.MODEL.weights['b'] = m.np.ones(1)"),
        same=True,
    ),
    "view of an array": Program(
        "import numpy as np\nBASE = np.zeros(6)\nVIEW = BASE[::2]\n"
        "def f(x): return float(VIEW.sum()) + x\n",
        ("m.BASE[2] = 7",),
    ),
    "table": Program(
        "import pandas as pd\nT = pd.DataFrame({'a': [1, 2], 'b': [3, 4]})\n"
        "def f(x): return int(T['a'].sum()) + len(T.columns) + x\n",
        ("m.T.loc[0, 'a'] = 9", "m.T['c'] = 1", "m.T.pop('b')"),
    ),
    "column": Program(
        "import pandas as pd\nS = pd.Series([1, 2, 3])\n"
        "def f(x): return int(S.sum()) + x\n",
        ("m.S[0] = 9", "m.S.iloc[1] = 5"),
    ),
    "long list": Program(
        "L = list(range(500))\ndef f(x): return sum(L) + x\n",
        ("m.L[250] = -1", "m.L.append(3)", "m.L.pop(0); m.L.pop(0)"),
    ),
    "long dict": Program(
        "D = {n: {'v': [n]} for n in range(300)}\n"
        "def f(x): return sum(d['v'][0] for d in D.values()) + x\n",
        ("m.D[200]['v'][0] = 1000", "del m.D[7]", "m.D[5] = {'v': [9]}"),
    ),
    "bytes that change": Program(
        "B = bytearray(50_000)\ndef f(x): return sum(B) + x\n", ("m.B[40_000] = 3",)
    ),
    "order of a dict": Program(
        "D = {'a': 1, 'b': 2}\ndef f(x): return [*D, x]\n",
        ("m.D['a'] = m.D.pop('a')", "v = m.D.pop('b'); m.D['b'] = v"),
    ),
    "order of a long dict": Program(
        "D = {n: n for n in range(100)}\ndef f(x): return [*D][:3] + [x]\n",
        ("m.D[0] = m.D.pop(0)",),
    ),
    "order in an attribute": Program(
        "class C:\n    table = {'a': 1, 'b': 2}\ndef f(x): return [*C.table, x]\n",
        ("m.C.table['a'] = m.C.table.pop('a')", "m.C.table = {'a': 1, 'b': 2}"),
    ),
    "attribute of an enum's member": Program(
        "import enum\nclass K(enum.Enum):\n    A = 1\n    B = 2\n"
        "def f(x): return getattr(K.A, 'extra', 0) + x\n",
        ("m.K.A.extra = 5", "m.K.A.extra = 6", "del m.K.A.extra"),
    ),
    "what an attribute of an enum's member has": Program(
        "import enum\nclass K(enum.Enum):\n    A = 1\n"
        "    def __init__(self, n): self.tags = [n]\n"
        "def f(x): return sum(K.A.tags) + x\n",
        ("m.K.A.tags.append(5)", "m.K.A.tags = [7]"),
    ),
    "bases of a class": Program(
        "class A:\n    def v(self): return 1\n"
        "class B:\n    def v(self): return 2\n"
        "class C(A):\n    pass\n"
        "def f(x): return C().v() + x\n",
        ("m.C.__bases__ = (m.B,)", "m.C.__bases__ = (m.A,)"),
    ),
    "attribute of a function": Program(
        "def g(): return 1\ng.k = 1\ndef f(x): return g.k + x\n",
        ("m.g.k = 2", "m.g.k = 3"),
    ),
    "attribute of a function that has none": Program(
        "def g(): return 1\ndef f(x): return getattr(g, 'k', 0) + x\n",
        ("m.g.k = 2", "del m.g.k"),
    ),
    "list in an attribute of a function": Program(
        "def g(): return 1\ng.k = [1]\ndef f(x): return sum(g.k) + x\n",
        ("m.g.k.append(2)",),
    ),
    "attribute of the function itself": Program(
        "def f(x): return f.k + x\nf.k = 1\n", ("m.f.k = 2", "m.f.k = 3")
    ),
    "import by a written name": Program(
        "def f(x): return __import__('{name}_other').V + x\n",
        ("O.V = 5", "edit('V = 1', 'V = 9')"),
        other="V = 1\n",
    ),
    "import by a written name, with importlib": Program(
        "import importlib\n"
        "def f(x): return importlib.import_module('{name}_other').V + x\n",
        ("O.V = 5", "edit('V = 1', 'V = 9')"),
        other="V = 1\n",
    ),
    "import by a computed name": Program(
        "import importlib\nN = '{name}_oth'\n"
        "def f(x): return importlib.import_module(N + 'er').V + x\n",
        ("O.V = 5", "edit('V = 1', 'V = 9')"),
        other="V = 1\n",
        unknown=True,
    ),
    "__import__ by a computed name": Program(
        "N = '{name}_oth'\ndef f(x): return __import__(N + 'er').V + x\n",
        ("O.V = 5", "edit('V = 1', 'V = 9')"),
        other="V = 1\n",
        unknown=True,
    ),
    "import by a name that is bound": Program(
        "import importlib\nload = importlib.import_module\nN = '{name}_other'\n"
        "def f(x): return load(N).V + x\n",
        ("O.V = 5", "edit('V = 1', 'V = 9')"),
        other="V = 1\n",
        unknown=True,
    ),
    "sys.modules by a written name": Program(
        "import sys\nimport {name}_other\n"
        "def f(x): return sys.modules['{name}_other'].V + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
    ),
    "sys.modules by a computed name": Program(
        "import sys\nimport {name}_other\nN = '{name}_oth'\n"
        "def f(x): return sys.modules[N + 'er'].V + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
        unknown=True,
    ),
    "sys.modules by a name of its own": Program(
        "import sys as system\nfrom sys import modules\nimport {name}_other\n"
        "def f(x): return modules['{name}_other'].V + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
        by_name=True,
    ),
    "another module in sys.modules": Program(
        "def f(x):\n    import {name}_other as o\n    return o.V + x\n",
        (
            "swap(V=5)",
            "swap(V=6)",
        ),
        other="V = 1\n",
    ),
    "globals by a written name": Program(
        "def g(): return 1\ndef f(x): return globals()['g']() + x\n",
        ("m.g = lambda: 2", "m.g = lambda: 3"),
        by_name=True,
    ),
    "globals by a computed name": Program(
        "def g(): return 1\nN = 'g'\ndef f(x): return globals()[N]() + x\n",
        ("m.g = lambda: 2", "m.g = lambda: 3"),
        by_name=True,
    ),
    "eval": Program(
        "V = 1\ndef f(x): return eval('V') + x\n",
        ("m.V = 2", "m.V = 3"),
        by_name=True,
    ),
    "exec": Program(
        "V = 1\ndef f(x):\n    found = {}\n    exec('y = V', globals(), found)\n"
        "    return found['y'] + x\n",
        ("m.V = 2", "m.V = 3"),
        by_name=True,
    ),
    "eval in a helper": Program(
        "V = 1\ndef g(t): return eval(t)\ndef f(x): return g('V') + x\n",
        ("m.V = 2", "m.V = 3"),
        by_name=True,
    ),
    "computed attribute of a module": Program(
        "import {name}_other as o\nN = 'V'\ndef f(x): return getattr(o, N) + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
    ),
    "attribute of a module in its __dict__": Program(
        "import {name}_other as o\nN = 'V'\ndef f(x): return o.__dict__[N] + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
    ),
    "vars of a module": Program(
        "import {name}_other as o\nN = 'V'\ndef f(x): return vars(o)[N] + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
    ),
    "attrgetter": Program(
        "import operator\nimport {name}_other as o\nGET = operator.attrgetter('V')\n"
        "def f(x): return GET(o) + x\n",
        ("O.V = 5", "O.V = 6"),
        other="V = 1\n",
    ),
    "globals of a function": Program(
        "V = 1\ndef g(): pass\ndef f(x): return g.__globals__['V'] + x\n",
        ("m.V = 2", "m.V = 3"),
        by_name=True,
    ),
    "partial": Program(
        "import functools\ndef g(a, b): return a * b\nP = functools.partial(g, 2)\ndef f(x): return P(x) + 1\n",
        (
            "m.P = m.functools.partial(m.g, 3)",
            "m.P.keywords.update(); m.P.__setstate__((m.g, (5,), {}, None))",
        ),
    ),
    "partial kw": Program(
        "import functools\ndef g(a, b=1): return a * b\nP = functools.partial(g, b=2)\ndef f(x): return P(x) + 1\n",
        ("m.P.keywords['b'] = 7",),
    ),
    "descriptor": Program(
        "class D:\n    def __init__(self, n): self.n = n\n    def __get__(self, o, t): return self.n\nclass C:\n    d = D(1)\ndef f(x): return C().d + x\n",
        ("vars(m.C)['d'].n = 5", "m.D.__get__ = lambda s, o, t: 9"),
    ),
    "class attr inherited": Program(
        "class A:\n    v = 1\nclass B(A): pass\ndef f(x): return B.v + x\n",
        ("m.A.v = 2", "m.B.v = 3", "del m.B.v"),
    ),
    "metaclass": Program(
        "class M(type):\n    @property\n    def v(cls): return 1\nclass A(metaclass=M): pass\ndef f(x): return A.v + x\n",
        ("m.M.v = property(lambda c: 4)", "m.M.w = 1; m.M.v = 6"),
    ),
    "registry decorator": Program(
        "R = {}\ndef reg(g):\n    R[g.__name__] = g\n    return g\n@reg\ndef one(x): return x\ndef f(x): return sum(g(x) for g in R.values())\n",
        ("m.reg(lambda x: x * 5)", "m.R['one'] = lambda x: 3"),
    ),
    "generator": Program(
        "V = [1, 2]\ndef g():\n    for v in V: yield v\ndef f(x): return sum(g()) + x\n",
        ("m.V.append(3)", "m.g = lambda: [9]"),
    ),
    "init_subclass registry": Program(
        "class B:\n    all = []\n    def __init_subclass__(cls): B.all.append(cls)\nclass C(B):\n    n = 2\ndef f(x): return [c.n for c in B.all] + [x]\n",
        ("m.C.n = 7", "m.D = type('D', (m.B,), {'n': 5, '__module__': m.__name__})"),
    ),
    "singledispatch": Program(
        "import functools\n@functools.singledispatch\ndef g(x): return 1\ndef f(x): return g(x) + x\n",
        ("m.g.register(int, lambda x: 5)", "m.g.register(int, lambda x: 6)"),
    ),
    "closure": Program(
        "def make():\n    n = 1\n    def get(): return n\n    def put(v):\n        nonlocal n\n        n = v\n    return get, put\nget, put = make()\ndef f(x): return get() + x\n",
        ("m.put(5)", "m.put(6)"),
    ),
    "closure dict": Program(
        "def make():\n    n = {'v': 1}\n    def get(): return n['v']\n    def put(v): n['v'] = v\n    return get, put\nget, put = make()\ndef f(x): return get() + x\n",
        ("m.put(5)", "m.put(6)"),
    ),
    "bound method": Program(
        "class C:\n    def __init__(self): self.n = 1\n    def g(self, x): return self.n + x\nc = C()\ng = c.g\ndef f(x): return g(x)\n",
        ("m.c.n = 4", "m.C.g = lambda s, x: 0; m.g = m.c.g"),
    ),
    "builtin shadow": Program(
        "def f(x): return len([x])\n", ("m.len = lambda v: 7", "del m.len")
    ),
    "builtins patched": Program(
        "import builtins\ndef g(): return abs(-1)\ndef f(x): return g() + x\n",
        ("m.abs = lambda v: 7",),
    ),
    "namedtuple": Program(
        "import collections\nN = collections.namedtuple('N', 'a b', defaults=[1, 2])\ndef f(x): return N().b + x\n",
        ("m.N = m.collections.namedtuple('N', 'a b', defaults=[1, 5])",),
    ),
    "module attr via package": Program(
        "import {name}_other as o\ndef f(x): return o.h(x)\n",
        ("O.h = lambda x: 5", "O.K = 8; O.h = lambda x: 9"),
        other="K = 1\ndef h(x): return x + K\n",
    ),
    "star": Program(
        "from {name}_other import *\ndef f(x): return h(x)\n",
        ("O.K = 8", "m.h = lambda x: 9"),
        other="__all__ = ['h']\nK = 1\ndef h(x): return x + K\n",
    ),
    "slots object": Program(
        "class C:\n    __slots__ = ('n',)\nc = C()\nc.n = 1\ndef f(x): return c.n + x\n",
        ("m.c.n = 5", "m.c.n = 6"),
    ),
    "property": Program(
        "class C:\n    @property\n    def p(self): return self._n\n    _n = 1\nc = C()\ndef f(x): return c.p + x\n",
        ("m.C._n = 5", "m.c._n = 6", "m.C.p = 4"),
    ),
    "class in container": Program(
        "class A:\n    n = 1\nL = [A]\ndef f(x): return L[0].n + x\n",
        ("m.A.n = 4", "m.A.n = 5"),
    ),
    "function in object": Program(
        "class A: pass\na = A()\na.h = lambda x: x + 1\ndef f(x): return a.h(x)\n",
        (
            "m.a.h = lambda x: x + 5",
            "m.a.h.__defaults__ = (3,); m.a.h.__code__ = (lambda x: 9).__code__",
        ),
    ),
    "global set by other function": Program(
        "V = 1\ndef put(v):\n    global V\n    V = v\ndef f(x): return V + x\n",
        ("m.put(5)", "m.put(7)"),
    ),
    "defaultdict factory": Program(
        "import collections\nD = collections.defaultdict(lambda: 1)\ndef f(x): return D.get('a', D.default_factory()) + x\n",
        ("m.D.default_factory = lambda: 5", "m.D['a'] = 8"),
    ),
    "chainmap": Program(
        "import collections\nB = {'a': 1}\nD = collections.ChainMap({}, B)\ndef f(x): return D['a'] + x\n",
        ("m.B['a'] = 5", "m.D['a'] = 8"),
    ),
    "types ns": Program(
        "import types\nN = types.SimpleNamespace(a=1, b=[1])\ndef f(x): return N.a + sum(N.b) + x\n",
        ("m.N.a = 5", "m.N.b.append(4)"),
    ),
    "module alias var": Program(
        "import {name}_other as o\nM = {'k': o}\ndef f(x): return M['k'].K + x\n",
        ("O.K = 8", "O.K = 9"),
        other="K = 1\n",
    ),
    "match args": Program(
        "class P:\n    __match_args__ = ('a', 'b')\n    a = 1\n    b = 2\ndef f(x):\n    match P():\n        case P(v): return v + x\n",
        ("m.P.__match_args__ = ('b', 'a')",),
    ),
    "operator dunder": Program(
        "class P:\n    def __add__(self, o): return o + 1\nQ = P()\ndef f(x): return Q + x\n",
        ("m.P.__add__ = lambda s, o: o + 5", "m.P.__add__ = lambda s, o: 0"),
    ),
    "exception class": Program(
        "class E(Exception):\n    code = 1\ndef f(x):\n    try: raise E()\n    except E as e: return e.code + x\n",
        ("m.E.code = 5",),
    ),
    "re global": Program(
        "import re\nR = re.compile('a')\ndef f(x): return bool(R.match('b' * x))\n",
        ("m.R = m.re.compile('b')",),
    ),
    "deque maxlen nested": Program(
        "import collections\nQ = collections.deque([[1]], 5)\ndef f(x): return Q[0][0] + x\n",
        ("m.Q[0][0] = 5", "m.Q.appendleft([9])"),
    ),
    "mappingproxy": Program(
        "import types\nD = {'a': 1}\nP = types.MappingProxyType(D)\ndef f(x): return P['a'] + x\n",
        ("m.D['a'] = 5",),
    ),
    "iter global": Program(
        "import itertools\nL = [1, 2]\nI = (L, 3)\ndef f(x): return sum(I[0]) + x\n",
        ("m.L.append(5)",),
    ),
    "wraps": Program(
        "import functools\ndef deco(g):\n    @functools.wraps(g)\n    def w(x): return g(x) + K\n    return w\nK = 1\n@deco\ndef h(x): return x\ndef f(x): return h(x)\n",
        ("m.K = 5", "m.h.__wrapped__.__code__ = (lambda x: 9).__code__"),
    ),
    "staticmethod swap": Program(
        "class C:\n    @staticmethod\n    def s(): return 1\n    @classmethod\n    def c(cls): return 1\ndef f(x): return C.s() + C.c() + x\n",
        ("m.C.s = staticmethod(lambda: 5)", "m.C.c = classmethod(lambda c: 7)"),
    ),
    "own kind of array": Program(
        "import numpy as np\nclass A(np.ndarray):\n    tag = 1\n"
        "V = np.zeros(3).view(A)\nW = [V] * 80\n"
        "def f(x): return float(V.sum()) + W[0].tag + x\n",
        ("m.V[1] = 5", "m.W[70][2] = 3"),
    ),
    "attribute of an own kind of array": Program(
        "import numpy as np\nclass A(np.ndarray):\n    tag = 1\n"
        "V = np.zeros(3).view(A)\nW = [V] * 80\n"
        "def f(x): return V.tag, W[0].tag, x\n",
        ("m.V.tag = 7", "m.V.tag = [8]", "m.V.tag.append(9)"),
        local=True,
    ),
    "own kind of table": Program(
        "import pandas as pd\nclass T(pd.DataFrame):\n    pass\n"
        "V = T({'a': [1, 2]})\ndef f(x): return int(V['a'].sum()) + x\n",
        ("m.V.loc[0, 'a'] = 5",),
    ),
    "files in memory": Program(
        "import io\nB, S = io.BytesIO(b'a'), io.StringIO('b')\n"
        "def f(x): return B.getvalue(), S.getvalue(), x\n",
        ("m.B.write(b'bcd')", "m.S.write('xyz')"),
    ),
    "views of a dict": Program(
        "D = {'a': 1}\nK, V, I = D.keys(), D.values(), D.items()\n"
        "def f(x): return sorted(K), sum(V), len(I), x\n",
        ("m.D['b'] = 2", "m.D['a'] = 5"),
        local=True,
    ),
    "target of a weak reference": Program(
        "import weakref\nclass C:\n    n = 1\nHELD = C()\nW = weakref.ref(HELD)\n"
        "def f(x): return W().n + x\n",
        ("m.HELD.n = 5", "m.C.n = 3; del m.HELD.n"),
        local=True,
    ),
    "arguments of an exception": Program(
        "E = ValueError(1)\ndef f(x): return E.args[0] + x\n",
        ("m.E.args = (5,)", "m.E.args = (6, 7)"),
    ),
    "value of an enum's member": Program(
        "import enum\nclass K(enum.Enum):\n    A = 1\ndef f(x): return K.A.value + x\n",
        ("m.K.A._value_ = 5", "m.K.A._value_ = 6"),
    ),
    "objects of C": Program(
        "import random\nimport decimal\nfrom xml.etree import ElementTree as E\n"
        "R, D, T = random.Random(1), decimal.Context(prec=5), E.fromstring('<a b=\"1\"/>')\n"
        "def f(x): return R.getstate()[1][5], D.prec, T.get('b'), x\n",
        ("m.R.seed(2)", "m.D.prec = 7", "m.T.set('b', '9')"),
    ),
    "objects of the standard library": Program(
        "import collections\nimport configparser\n"
        "U, C = collections.UserDict(a=1), configparser.ConfigParser()\n"
        "C['s'] = {'k': '1'}\nL = [[n] for n in range(100)] + [U]\n"
        "def f(x): return L[100]['a'], C['s']['k'], x\n",
        ("m.U['a'] = 5", "m.C['s']['k'] = '7'"),
    ),
    "documentation": Program(
        "def g():\n    'one'\ndef f(x): return g.__doc__, x\n",
        ("m.g.__doc__ = 'two'", "m.g.__doc__ = None"),
    ),
    "annotations": Program(
        "def g(a: int): pass\ndef f(x): return str(g.__annotations__), x\n",
        ("m.g.__annotations__['a'] = str", "m.g.__annotations__ = {}"),
    ),
    "name of a function": Program(
        "def g(): pass\nL = [g]\ndef f(x): return [one.__name__ for one in L], x\n",
        ("m.g.__name__ = 'h'",),
        plain=False,
        local=True,
    ),
    "name that is imported if it is there": Program(
        "def f(x):\n    try:\n        from {name}_other import q\n"
        "    except ImportError:\n        q = 0\n    return q + x\n",
        ("O.q = 5", "O.q = 6", "del O.q"),
        other="V = 1\n",
    ),
    "name that vanishes": Program(
        "def f(x):\n    try:\n        from {name}_other import V\n"
        "    except ImportError:\n        V = 0\n    return V + x\n",
        ("del O.V", "O.V = 7"),
        other="V = 1\n",
    ),
    "derived classes": Program(
        "class B:\n    pass\nclass C(B):\n    n = 1\n"
        "def f(x): return [c.n for c in B.__subclasses__()], x\n",
        (
            "m.D = type('D', (m.B,), {'n': 2, '__module__': m.__name__})",
            "m.D.n = 5",
        ),
        local=True,
    ),
    "registered classes": Program(
        "import abc\nimport collections.abc as c\nclass B(abc.ABC):\n    pass\n"
        "class C:\n    pass\nclass D:\n    pass\n"
        "def f(x): return isinstance(C(), B), isinstance(D(), c.Sized), x\n",
        ("m.B.register(m.C)", "m.c.Sized.register(m.D)"),
        local=True,
    ),
    "names among the built-in ones": Program(
        "def f(x):\n    try:\n        return EXTRA + x\n    except NameError:\n"
        "        return None\n",
        ("B.EXTRA = 5", "B.EXTRA = [1][0]", "del B.EXTRA"),
    ),
    "attributes of numbers and texts": Program(
        "class I(int): pass\nclass S(str): pass\ni, s = I(3), S('a')\ni.tag = 1\ns.tag = [1]\ndef f(x): return i.tag + s.tag[0] + x\n",
        ("m.i.tag = 5", "m.s.tag[0] = 7"),
    ),
}


def importer(directory: Path, name: str, program: Program) -> ModuleType:
    """Write a program's modules and import it."""
    for one, text in ((name, program.text), (f"{name}_other", program.other)):
        (directory / f"{one}.py").write_text(text.replace("{name}", name))
    importlib.invalidate_caches()
    return importlib.import_module(name)


def scripted(directory: Path, name: str, program: Program) -> Any:
    """Run a program's text as a script, whose functions workers get by value."""
    (directory / f"{name}_other.py").write_text(program.other)
    importlib.invalidate_caches()
    script = ModuleType("__main__")
    file = f"<{name}>"
    text = program.text.replace("{name}", name)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec", dont_inherit=True), vars(script))
    return script


def helpers(module: ModuleType, other: Path) -> dict[str, Any]:
    """Return what changes may use."""
    name = other.stem

    def edit(old: str, new: str) -> None:
        other.write_text(other.read_text().replace(old, new))
        sys.modules.pop(name, None)

    def swap(**names: Any) -> None:
        fake = ModuleType(name)
        vars(fake).update(names)
        sys.modules[name] = fake

    loaded = importlib.import_module(name) if other.read_text() else None
    return {"m": module, "O": loaded, "B": builtins, "edit": edit, "swap": swap}


@pytest.fixture(params=["threads", "processes"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give a kernel with one worker."""
    table = {"plugin": request.param, "workers": 1}
    with jf.load({"run_dir": str(tmp_path / "runs"), "executors": {"x": table}}):
        yield request.param


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory for modules, which are forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    linecache.clearcache()


def outcome(call: Callable[[], Any]) -> str:
    """Return what a call gives, as text."""
    try:
        return repr(call())
    except Exception as error:
        return repr(error)


@pytest.mark.filterwarnings("ignore:Calls of 'f' are not cached")
@pytest.mark.parametrize("what", PROGRAMS)
def test_what_has_changed_is_no_hit(what: str, directory: Path, kernel: str) -> None:
    program = PROGRAMS[what]
    if program.local and kernel == "processes":
        pytest.skip("what it holds cannot be pickled")
    compare(importer, what, directory, kernel)
    if not program.by_name or kernel != "processes":
        # A function of a script travels with the names written in it.
        compare(scripted, what, directory, kernel)


def compare(make: Callable[..., Any], what: str, directory: Path, kernel: str) -> None:
    """Compare calls of a program that is made in one way, at each of its changes."""
    program = PROGRAMS[what]
    name = f"{what}_{make.__name__}_{os.getpid()}"
    name = "".join(c if c.isalnum() else "_" for c in name)
    module = make(directory, name, program)
    names = helpers(module, directory / f"{name}_other.py")
    answers, oughts, hits = [], [], 0
    for change in ("", *program.changes):
        exec(change, names)
        app, plain = jf.python_app(cache=True)(module.f), jf.python_app(module.f)
        calls = (plain, app, app) if program.plain else (app, app)
        for called in calls:
            future = called(1)
            answers.append(outcome(partial(future.result, LIMIT_S)))
            oughts.append(outcome(partial(module.f, 1)))
            hits += future.memo.status == "hit"

    assert (hits == 0) == program.unknown, make.__name__
    if not program.unknown or kernel == "threads":  # workers are not told either
        assert answers == oughts, make.__name__
    assert program.same or len(set(oughts)) > 1


REFUSED = {
    "import_module(name)": "import importlib\n"
    "def f(name): return importlib.import_module(name).__name__\n",
    "__import__(name)": "def f(name): return __import__(name).__name__\n",
    "sys.modules[name]": "import sys\ndef f(name): return sys.modules[name].__name__\n",
    "in a helper": "import importlib\n"
    "def g(name): return importlib.import_module(name)\n"
    "def f(name): return g(name).__name__\n",
    "in a module that is imported late": "def f(name):\n"
    "    from {name}_other import g\n    return g(name).__name__\n",
}
OTHER = "import importlib\ndef g(name): return importlib.import_module(name)\n"


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_import_anything_is_not_cached(
    what: str, directory: Path, tmp_path: Path
) -> None:
    name = "refused_" + "".join(c if c.isalpha() else "_" for c in what)
    module = importer(directory, name, Program(REFUSED[what], (), OTHER))
    table = {"x": {"plugin": "threads"}}
    with jf.load({"run_dir": str(tmp_path / "runs"), "executors": table}):
        app = jf.python_app(cache=True)(module.f)
        with pytest.warns(jf.errors.CheckpointWarning, match="by computed names"):
            first = ended(app("json"))
        again = ended(app("json"))  # no second warning, which would be an error
        assert first.result() == again.result() == "json"
        assert (first.memo.status, again.memo.status) == ("miss", "miss")
        assert "not cached" in str(jf.explain(again))

        for told in ({"version": "1"}, {"depends_on": [outcome]}):
            known = jf.python_app(cache=True, **told)(module.f)
            ended(known("json"))
            assert ended(known("json")).memo.status == "hit", told


def ended(future: Any) -> Any:
    """Wait for a call."""
    future.result(LIMIT_S)
    return future


CACHED = {
    "a written name": "import importlib\n"
    "def f(x): return importlib.import_module('json').__name__\n",
    "whether a module is imported": "import sys\n"
    "def f(x): return 'json' in sys.modules\n",
    "an attribute of an argument": "def f(x): return getattr(x, 'r' + 'eal')\n",
    "an attribute of a package": "import math\nN = 'sqrt'\n"
    "def f(x): return getattr(math, N)(x)\n",
    "globals": "def g(x): return x\ndef f(x): return globals()['g'](x)\n",
    "eval": "def f(x): return eval('x + 1')\n",
    "a method of that name": "class C:\n    def eval(self, x): return x\n"
    "def f(x): return C().eval(x)\n",
}


@pytest.mark.parametrize("what", CACHED)
def test_ordinary_code_is_cached(what: str, directory: Path, tmp_path: Path) -> None:
    name = "cached_" + "".join(c if c.isalpha() else "_" for c in what)
    module = importer(directory, name, Program(CACHED[what], ()))
    table = {"x": {"plugin": "threads"}}
    with jf.load({"run_dir": str(tmp_path / "runs"), "executors": table}):
        app = jf.python_app(cache=True)(module.f)
        ended(app(1))
        assert ended(app(1)).memo.status == "hit"


def test_a_package_that_imports_its_modules_by_name_counts_with_them(
    directory: Path, tmp_path: Path
) -> None:
    package = directory / "registering"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import importlib\n"
        "def f(name, x):\n"
        "    return importlib.import_module(f'.{name}', __package__).run(x)\n"
        "def __getattr__(name):\n"
        "    return importlib.import_module(f'{__name__}.{name}')\n"
    )
    (package / "one.py").write_text("def run(x): return x + 1\n")
    (directory / "uses_registering.py").write_text(
        "import registering\ndef f(name, x): return registering.one.run(x)\n"
    )
    importlib.invalidate_caches()
    table = {"x": {"plugin": "threads"}}
    modules = [importlib.import_module("registering")]
    modules.append(importlib.import_module("uses_registering"))
    with jf.load({"run_dir": str(tmp_path / "runs"), "executors": table}):
        for module in modules:
            app = jf.python_app(cache=True)(module.f)
            assert app("one", 1).result(LIMIT_S) == 2
            app("one", 1).result(LIMIT_S)  # now it is imported
            again = app("one", 1)
            assert (again.result(LIMIT_S), again.memo.status) == (2, "hit")
        for number, module in enumerate(modules, 2):
            text = f"def run(x): return x + {number}\n"
            (package / "one.py").write_text(text)
            for name in ("registering.one",):
                sys.modules.pop(name, None)
            vars(modules[0]).pop("one", None)
            app = jf.python_app(cache=True)(module.f)
            assert app("one", 1).result(LIMIT_S) == 1 + number
