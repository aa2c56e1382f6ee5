"""Finding, loading and asking plugins.

A plugin is an object, most often a module, with functions marked ``hookimpl``. It
comes from an entry point of an installed distribution or from the program itself;
from then on nothing tells the two, or ours and theirs, apart.

=================  ==================================================================
``scan``           lists entry points; imports nothing of theirs
``selection``      which may be used: allow and block lists, ``JACKFIELD_PLUGINS``
``loader``         makes an object of an entry point
``catalogue``      what is installed, and what turned out to be wrong with it
``hooks``          checks the hooks of an object, and gives them to pluggy
``compiled``       makes plain functions of them
``registrations``  the plugins that are in use
``observers``      tells them what happened, and keeps their failures from others
``listing``        what ``jackfield plugins`` shows
``key_makers``     asks for what makes memo keys, with hooks that are checked
``manager``        all of it together: the one class that the kernel uses
=================  ==================================================================
"""

from __future__ import annotations

from jackfield.plugins.listing import PluginInfo
from jackfield.plugins.loader import API_VERSION
from jackfield.plugins.manager import PluginManager

__all__ = ["API_VERSION", "PluginInfo", "PluginManager"]
