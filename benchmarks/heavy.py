"""A function whose module takes long to import."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd


def total(n: int) -> int:
    return int(pd.Series(np.arange(n)).sum())


def pid(_: int) -> int:
    return os.getpid()
