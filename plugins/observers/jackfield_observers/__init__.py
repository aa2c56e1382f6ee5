"""What keeps an eye on a run, and changes nothing about it.

Each module is an optional plugin: a table ``[plugins.NAME]`` in the configuration
switches it on, and has its options.
"""
