"""What makes two calls the same call: the identity of functions and of values.

``Identity`` makes memo keys. The rooms: ``atoms``, ``values``, ``objects`` and
``files`` for arguments; ``syntax``, ``sources``, ``reach``, ``static``, ``functions``
and ``graph`` for code; ``origins`` tells whose code it is; ``watch`` and ``known``
remember; ``calls`` and ``keys`` put it together, ``manifests`` says of what, and
``nearest`` finds the stored call that a new one differs least from.
"""

from __future__ import annotations

from jackfield.memo.keys import FunctionIdentity, Identity
from jackfield.memo.manifests import changes
from jackfield.memo.objects import part_identity

__all__ = ["FunctionIdentity", "Identity", "changes", "part_identity"]
