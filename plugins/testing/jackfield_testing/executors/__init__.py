"""The conformance kit for executors.

``conformance`` puts the test classes of the other modules together. This package
imports none of them, because a worker that runs one of ``tasks`` has no pytest.
"""
