"""Pages of runs: the report, which is one file, and the dashboard, which is a server.

Both show the same page, from the same two answers: an *overview*, small and at once,
and *columns*, which hold every task. ``overview`` and ``columns`` make them out of a
store; ``static/`` draws them, in plain modules of JavaScript without a build step.
"""
