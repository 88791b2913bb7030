"""Exact reductions over all pairs of rows, in memory linear in the number of rows.

`contrast` scores every row of `query` against every row of `key` and returns,
per row, the log-sum-exp of the candidates and the logit of the positive;
`contrast_both` does it in both directions at the price of one. `mean_logit` is
the softmax-weighted mean of the logits and `pair_sum` the sum of any function
of them; `learned_weight_log_sum_exp` has weights of pairs that are learned. `Pairs`
lists what is excluded or weighted, `log_add_exp` joins the denominators of key
segments. Most contrastive losses are one line on top of these numbers (see
`graphcl.losses`).
"""

from graphcl.kernels.contrast.backends import BACKENDS, DENSE_LIMIT, LOG_SUM_EXP, Backend
from graphcl.kernels.contrast.both import contrast_both
from graphcl.kernels.contrast.learned_weights import learned_weight_log_sum_exp
from graphcl.kernels.contrast.log_add_exp import log_add_exp, segment_log_sum_exp
from graphcl.kernels.contrast.mean_logit import mean_logit
from graphcl.kernels.contrast.operator import contrast
from graphcl.kernels.contrast.outputs import ContrastOutput, ContrastStatistics, MeanOutput
from graphcl.kernels.contrast.pair_logits import pair_logits
from graphcl.kernels.contrast.pair_sum import pair_sum
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.precision import contrast_precision
from graphcl.kernels.contrast.statistics import statistics
from graphcl.kernels.contrast.top_candidates import TopCandidates, top_candidates

__all__ = [
    "BACKENDS",
    "DENSE_LIMIT",
    "LOG_SUM_EXP",
    "Backend",
    "ContrastOutput",
    "ContrastStatistics",
    "MeanOutput",
    "Pairs",
    "TopCandidates",
    "contrast",
    "contrast_both",
    "contrast_precision",
    "learned_weight_log_sum_exp",
    "log_add_exp",
    "mean_logit",
    "pair_logits",
    "pair_sum",
    "segment_log_sum_exp",
    "statistics",
    "top_candidates",
]
