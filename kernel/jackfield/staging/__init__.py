"""The contracts of staging: with providers, which move bytes, and with the mover.

``remote`` and ``transfer`` are what a provider gets; ``mover`` is what makes transfers
of what providers do, and is a plugin as they are.

Nothing here knows the kernel, because the same code runs inside tasks, on workers that
share no file system with the driver (``mover.Courier``).
"""
