"""What executors on other machines share: who is there, and how calls get there.

``fingerprint`` says what a process must have in common with the driver, and ``bundles``
is what a worker of any engine runs. Where our own pool runs inside the workers,
``agent`` is the worker's side, ``link`` what an engine brings, ``post`` the talk with
one agent, ``book`` which work is where, and ``driver`` the executor. ``stays`` and
``shelf`` are the two sides of large results that stay with an agent. ``host`` holds an
engine's client in a process of its own, of which ``hosted`` is the program.

Of workers that do not see the driver's disk: ``places`` finds out, ``carrying`` and
``parcels`` are the two sides of files that travel with a call, ``trees`` reads and
writes them, ``shipping`` has the project's modules there, and ``travel`` is what an
executor with agents uses of all this.
"""
