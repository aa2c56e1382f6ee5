"""The executors of a kernel: the pool of them, the choice among them, an adapter."""
