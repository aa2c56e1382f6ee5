"""Eyes on runs: what each run was, in a file of its own, and commands that read it.

The parts, by what users see of them:

- ``record`` writes ``run.json`` into the directory of every run, and keeps it fresh
  while the run goes on.
- ``runs`` finds runs and tells how they are, from these files alone.
- ``commands`` is ``jackfield runs``.
- ``store`` keeps the history of a run in ``monitor.db``, and answers questions on it.
- ``export`` is ``jackfield export``: traces and tables for other programs.
- ``telemetry`` tells Prometheus and collectors of OpenTelemetry.

Whoever writes and whoever reads share the names in ``fields`` and nothing else: a run
is looked at in another process, often on another day.
"""
