"""Configuration in layers: files, profiles, the environment, a command line.

``sources`` reads each of them, ``found`` says which files that nobody named may act,
``merge`` lays them over each other, and ``resolution``, which is the plugin, puts it
together. ``hints`` is for messages about names that are unknown.
"""

from __future__ import annotations
