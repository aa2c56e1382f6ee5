"""Who runs tasks: the pool of executors, and adapters."""
