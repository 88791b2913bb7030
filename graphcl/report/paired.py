"""Paired t-test over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def paired_p_value(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p value of Student's paired t-test.

    Args:
        first: one value per seed, at least three.
        second: the other method's values on the same seeds.

    Returns:
        None where the test says nothing: fewer than three pairs, a value that is not finite,
        or a difference that is the same on every seed (zero variance).
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if len(difference) < 3 or not np.isfinite(difference).all():
        return None
    spread = float(difference.std(ddof=1))
    if spread <= 1e-12:
        return None
    statistic = abs(float(difference.mean())) / (spread / math.sqrt(len(difference)))
    from scipy.special import stdtr

    return float(2 * stdtr(len(difference) - 1, -statistic))
