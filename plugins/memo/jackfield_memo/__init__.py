"""What makes two calls the same call: the identity of functions and of values.

Three plugins. ``python`` makes memo keys: it knows Python's functions, classes and
values. ``numpy`` and ``pandas`` are asked about the values of these packages.

The rooms behind ``python``, each using those before it:

- Looking at objects, and whose they are: ``introspection``, ``origins``.
- Values: ``atoms`` and ``values`` for data, ``objects`` for everything else that is
  passed as an argument, ``files`` for files.
- One function's code: ``syntax`` and ``sources`` for what it does, ``references`` for
  the names in it, ``functions`` for what it holds.
- All that it reaches: ``graph`` walks, ``names`` and ``static`` (with
  ``import_effects`` for what imports do) say where to, and
  ``snapshot``, ``large`` and ``own_changes`` tell later whether all is still so, and
  ``dynamic`` what is reached by names that are not written in the code.
- A call: ``parameters``, ``cost``, ``manifest``, and ``key_maker``, which puts all this
  together and remembers code in ``code_cache``; ``on_use`` imports it when needed.
- Which text an imported module was made of: ``process`` and ``loaded``.
- That workers run what was hashed: ``sending``.
"""
