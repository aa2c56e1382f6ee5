"""Results of cached calls in one run: who executes, what is kept, why a call missed.

=================  ==================================================================
``flights``        equal calls share one execution
``outputs``        what is kept of a call that made files
``explaining``     ``jackfield.explain``: why a call was a hit or a miss
=================  ==================================================================

What a function and a value are is nothing that these modules know, nor where results
are kept for later runs: see ``jackfield.memo_keys`` and ``jackfield.keeping``.
"""
