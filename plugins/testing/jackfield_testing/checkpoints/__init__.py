"""The conformance kit for checkpoint stores.

``conformance`` puts the test classes of the other modules together. This package
imports none of them, because the processes that run ``child`` need no pytest.
"""
