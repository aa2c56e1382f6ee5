"""Results of cached calls: who executes, what is kept and where, and why a call missed.

=================  ==================================================================
``flights``        equal calls share one execution
``outputs``        what is kept of a call that made files
``versions``       a function that has changed is sent to executors anew
``checkpoints``    results across runs: the store of a kernel
``writer``         the thread that writes into it
``chained``        results of earlier runs, read behind the store
``envelope``       what a store gets: a signed pickle
``signing``        the key that signs
``manifests``      how two calls differ, part by part
``explanation``    why a call was a hit or a miss, in words
``explaining``     the same for a future: ``jackfield.explain``
``transfer``       results on their way to another store
=================  ==================================================================

What a function and a value are is nothing that these modules know: see
``jackfield.memo_keys``.
"""
