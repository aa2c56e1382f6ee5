"""Decisions that a site takes for its runs: where tasks run, what is tried again, ...

Each module is an optional plugin: a table ``[plugins.NAME]`` in the configuration
switches it on, and has its options.
"""
