"""Finding, loading and asking plugins.

A plugin is an object, most often a module, with functions marked ``hookimpl``. It
comes from an entry point of an installed distribution, or the program itself registers
it. From then on no code here knows the difference, nor whether the plugin is ours.

=================  ==================================================================
``scan``           lists entry points; imports nothing of theirs
``selection``      which may be used: allow and block lists, ``JACKFIELD_PLUGINS``
``loader``         makes an object of an entry point
``catalogue``      what is installed, and what turned out to be wrong with it
``hooks``          checks the hooks of an object, and gives them to pluggy
``compiled``       makes plain functions of hooks, for calls too frequent for pluggy
``registrations``  the plugins that are in use
``table``          the compiled hooks: one line each
``observers``      tells plugins what happened, and keeps their failures from others
``collection``     the plugins of one kernel: how they come and go
``key_makers``     asks for what makes memo keys, with hooks that are checked
``manager``        what the kernel asks them and tells them: the class that it uses
=================  ==================================================================
"""

from __future__ import annotations

from jackfield.plugins.loader import API_VERSION
from jackfield.plugins.manager import PluginManager

__all__ = ["API_VERSION", "PluginManager"]
