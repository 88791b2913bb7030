"""Diagnostics: what an embedding looks like, without labels of a task.

Pure functions of tensors: no gradient, no state, memory linear in the number
of rows. Embeddings are un-normalised unless stated. A number that is undefined
(no pair, no row) or computed from non-finite embeddings is NaN.
"""

from graphcl.diagnostics.alignment import alignment
from graphcl.diagnostics.contrastive_gap import contrastive_gap, linear_separability
from graphcl.diagnostics.effective_negatives import effective_negatives
from graphcl.diagnostics.effective_rank import effective_rank
from graphcl.diagnostics.node_compactness import ProvidesNodeCompactness, node_compactness
from graphcl.diagnostics.score_histogram import ScoreHistogram, score_histogram
from graphcl.diagnostics.tolerance import tolerance
from graphcl.diagnostics.uniformity import uniformity
from graphcl.diagnostics.wasserstein_uniformity import wasserstein_uniformity

__all__ = [
    "ProvidesNodeCompactness",
    "ScoreHistogram",
    "alignment",
    "contrastive_gap",
    "effective_negatives",
    "effective_rank",
    "linear_separability",
    "node_compactness",
    "score_histogram",
    "tolerance",
    "uniformity",
    "wasserstein_uniformity",
]
