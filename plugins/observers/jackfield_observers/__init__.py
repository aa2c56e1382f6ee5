"""What keeps an eye on a run, and changes nothing about it.

``log`` is the log of each run. Every other module is an optional plugin: a table
``[plugins.NAME]`` in the configuration switches it on, and has its options.
"""
