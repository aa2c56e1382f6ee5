"""Futures: what users hold of a task. Each ends exactly once."""

from jackfield.futures.future import (
    AppFuture,
    DataFuture,
    KernelFuture,
    MemoInfo,
    MemoStatus,
)

__all__ = ["AppFuture", "DataFuture", "KernelFuture", "MemoInfo", "MemoStatus"]
