"""What a worker is sent is what the script has: its code, and the names of its modules.

A worker in another process imports modules of its own. It may find another text there
than the script runs: a module was edited or loaded anew meanwhile, or the script has
set a constant or a function of it. So a function travels with what each name that it
reaches stood for when it was sent. The worker compares before the first call. Where it
has something else, it imports its modules again if their files have changed, and else
tells the driver, which sends those names by value.

- ``reach`` walks from a function to the names; ``watch`` tells later whether they are
  still the same objects.
- ``likeness`` says, in both processes, what a name stands for; ``finding`` looks it up.
- ``sent`` is what is pickled; in the worker it compares, and ``imports`` imports again.
- ``patches`` carries names by value.
- ``sender`` puts it together, for one kernel.
"""
