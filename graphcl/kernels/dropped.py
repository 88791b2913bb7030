"""Which entries of a matrix a seed leaves out.

Whether an entry stays is decided by a hash of its two nodes and a seed, computed where the entry is
met: a new view costs no new edge list, and forward and backward pass see the same entries. The two
directions of an undirected edge have one hash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.edge_hash import WHOLE, edge_draws, thresholds
from graphcl.kernels.sparse_matrix import SparseMatrix


@dataclass(frozen=True, eq=False)
class KeepProbability:
    """A probability of staying for each entry of one matrix, checked; see `keep_probability`."""

    threshold: Tensor
    """(entries,) int32, the probability times 2^30."""
    turned: Tensor
    """The same for the entries of the transpose."""


def keep_probability(matrix: SparseMatrix, probability: Tensor) -> KeepProbability:
    """Prepare one probability per entry for `drop_entries`; once, not at every step.

    Args:
        matrix: the matrix whose entries are dropped.
        probability: (entries,) in [0, 1], in the order of the matrix's entries. For a vector in
            the order of an edge list, such as `graphcl.views.community_keep_probability` gives,
            `SparseMatrix.from_edge_index(edge_index, probability, ...).value` is in that order;
            with self-loops added alike, these get one.

    Raises:
        ArgumentError: wrong shape, a value outside [0, 1] or NaN, or probabilities that differ
            between the two directions of an edge of a matrix marked symmetric.
    """
    if probability.shape != matrix.column.shape or not probability.is_floating_point():
        raise ArgumentError(
            f"probability must be floating point of shape ({matrix.entries},), one for each "
            f"entry, got {probability.dtype} of shape {tuple(probability.shape)}"
        )
    if probability.numel() and not bool(((probability >= 0) & (probability <= 1)).all()):
        low, high = (float(bound) for bound in probability.aminmax())
        raise ArgumentError(f"probability must lie in [0, 1], got values in [{low}, {high}]")
    threshold = thresholds(probability.detach())
    if not matrix.symmetric:
        return KeepProbability(threshold, threshold[matrix.transposed_structure()[2]])
    row, column, size = matrix.row, matrix.column, matrix.shape[0]
    keys = (row * size + column, column * size + row)
    forth, back = (torch.argsort(key, stable=True) for key in keys)
    one, other = threshold[forth], threshold[back]
    # Roundings of the two directions may differ; what is drawn may not.
    if threshold.numel() and int((one - other).abs().max()) > WHOLE >> 20:
        raise ArgumentError(
            "probability must be the same for both directions of an edge, since the matrix is "
            "marked symmetric"
        )
    threshold = torch.empty_like(threshold).index_copy_(0, forth, torch.minimum(one, other))
    return KeepProbability(threshold, threshold)


@dataclass(frozen=True, eq=False)
class Dropped:
    """Which entries of a matrix a seed leaves out.

    Attributes:
        seed: 62 random bits.
        probability: of staying, one number or one for each entry.
        undirected: (r, c) and (c, r) share their draw.
        keep_self_loops: entries on the diagonal stay.
        divide: kept entries are divided by their probability of staying.
        turned: the matrix is the transpose of the one that is dropped from.
    """

    seed: int
    probability: float | KeepProbability
    undirected: bool
    keep_self_loops: bool
    divide: bool
    turned: bool = False

    @property
    def threshold(self) -> Tensor | None:
        """(entries,) int32 for the matrix at hand, or None where one number serves all."""
        if not isinstance(self.probability, KeepProbability):
            return None
        return self.probability.turned if self.turned else self.probability.threshold

    @property
    def threshold_of_all(self) -> int:
        """The one threshold, 0 where there are many."""
        if isinstance(self.probability, KeepProbability):
            return 0
        return int(thresholds(self.probability))

    def transposed(self) -> Dropped:
        """The same entries of the transpose."""
        return replace(self, turned=not self.turned)

    def kept(self, matrix: SparseMatrix) -> Tensor:
        """(entries,) bool for `matrix`."""
        row, column = matrix.row, matrix.column
        if self.undirected:
            first, second = torch.minimum(row, column), torch.maximum(row, column)
        else:
            first, second = (column, row) if self.turned else (row, column)
        threshold = self.threshold if self.threshold is not None else self.threshold_of_all
        kept = edge_draws(first, second, self.seed) < threshold
        return kept | (row == column) if self.keep_self_loops else kept

    def factor(self, matrix: SparseMatrix) -> Tensor:
        """(entries,) float64: 0 for dropped entries, 1 or 1 / probability for kept ones."""
        kept = self.kept(matrix).double()
        if not self.divide:
            return kept
        threshold = self.threshold
        if threshold is None:
            threshold = torch.full_like(matrix.column, self.threshold_of_all)
        if self.keep_self_loops:
            threshold = threshold.where(matrix.row != matrix.column, WHOLE)
        return kept * WHOLE / threshold.clamp(min=1)
