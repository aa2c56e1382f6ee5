"""Results of cached calls across runs: where they are kept, and what may be believed.

=================  ==================================================================
``keeper``         the plugin: the stores of a kernel, opened, asked, written
``writer``         the thread that writes into the store
``copies``         results as bytes, so that each caller has its own
``chained``        results of earlier runs, read behind the store
``envelope``       what a store gets: a signed pickle
``signing``        the key that signs
``explanation``    why a call was a hit or a miss, in words
``manifests``      how two calls differ, part by part
``commands``       ``jackfield memo``
=================  ==================================================================
"""

from __future__ import annotations
