"""Exact masked log-sum-exp over all pairs, in memory linear in the number of rows.

`contrast` scores every row of `query` against every row of `key` and returns,
per row, the log-sum-exp of the candidates and the logit of the positive;
`contrast_both` does it in both directions at the price of one. Most contrastive
losses are one line on top of these two numbers (see `graphcl.losses`).
"""

from graphcl.kernels.contrast.operator import (
    BACKENDS,
    DENSE_LIMIT,
    Backend,
    ContrastOutput,
    contrast,
    contrast_both,
)

__all__ = ["BACKENDS", "DENSE_LIMIT", "Backend", "ContrastOutput", "contrast", "contrast_both"]
