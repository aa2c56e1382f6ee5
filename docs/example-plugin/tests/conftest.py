"""Lets pytest explain failed asserts in the conformance kit."""

import pytest

pytest.register_assert_rewrite("jackfield_testing")
