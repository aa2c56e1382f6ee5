"""The event stream: what the kernel notes of a run becomes what observers are told.

``stream`` has the queues, and the thread that empties them and tells observers;
``records`` makes of notes the records of ``jackfield.events``, and ``failures`` the
texts of errors.
"""

from __future__ import annotations
