"""What is told to programs that watch many runs: metrics, and traces.

Each module is a monitor of its own, with a library of its own, which comes as an extra:
``metrics`` answers Prometheus, ``traces`` sends to a collector of OpenTelemetry.
"""
