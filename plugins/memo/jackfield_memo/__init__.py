"""The identity of values whose types the kernel does not know: numpy's, pandas'."""
