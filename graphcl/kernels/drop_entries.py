"""Leave a random subset of a matrix's entries out, as a seed instead of a list.

Whether an entry stays is decided by a hash of its two nodes and a seed, computed where the entry is
met: a new view costs no new edge list, and forward and backward pass see the same entries. The two
directions of an undirected edge have one hash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.edge_hash import WHOLE, draw_seed, edge_draws, thresholds
from graphcl.kernels.scaled_matrix import ScaledMatrix, rescaled
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
            the order of an edge list, `SparseMatrix.from_edge_index(edge_index, probability,
            ...).value` is in that order; with self-loops added alike, these get one.

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
    forth, back = (torch.argsort(key) for key in (row * size + column, column * size + row))
    # Roundings of the two directions may differ; what is drawn may not.
    if threshold.numel() and int((threshold[forth] - threshold[back]).abs().max()) > WHOLE >> 20:
        raise ArgumentError(
            "probability must be the same for both directions of an edge, since the matrix is "
            "marked symmetric"
        )
    if not torch.equal(threshold[forth], threshold[back]):
        threshold = torch.empty_like(threshold).index_copy_(
            0, forth, torch.minimum(threshold[forth], threshold[back])
        )
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
        single = not isinstance(self.probability, KeepProbability)
        return int(thresholds(self.probability)) if single else 0  # type: ignore[arg-type]

    def transposed(self, matrix: SparseMatrix) -> Dropped:
        """The same entries of the transpose of `matrix`."""
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


def drop_entries(
    matrix: ScaledMatrix | SparseMatrix,
    rate: float | KeepProbability,
    *,
    generator: torch.Generator | None = None,
    undirected: bool | None = None,
    keep_self_loops: bool = True,
    correct: Literal["expectation", "degrees", "none"] = "expectation",
) -> ScaledMatrix:
    """A view of the matrix without a random subset of its entries; O(1) unless degrees are asked.

    Products with it (`graphcl.kernels.spmm.spmm`, `propagate`) and their gradients see the same
    entries, and so does its transpose. Repetitions of an entry share its fate.

    Args:
        matrix: (M, N); a `SparseMatrix` counts with its values, without gradient for them.
        rate: expected share of the entries that is dropped, in [0, 1], or a probability of
            staying for each (`keep_probability`).
        generator: source of the seed, one draw; None is torch's global one.
        undirected: (r, c) and (c, r) share one draw; default for a square matrix marked
            symmetric. A rectangular user-item matrix is directed.
        keep_self_loops: entries on the diagonal stay, as those that a graph convolution adds.
        correct: "expectation" divides what stays by its probability of staying, so that the
            expected product is that of the whole matrix; "degrees" normalises anew by the
            degrees that are left, as if the edges had been dropped from the list (one pass over
            the entries); "none" leaves what stays as it is.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN; `undirected` for a rectangular matrix; "degrees"
            for a matrix without normalisation; a matrix that has dropped entries already.
    """
    if isinstance(matrix, SparseMatrix):
        matrix = ScaledMatrix(matrix, weighted=True)
    if correct not in ("expectation", "degrees", "none"):
        raise ArgumentError(
            f"correct must be 'expectation', 'degrees' or 'none', got {correct!r}"
        )
    if matrix.dropped is not None:
        raise ArgumentError("the matrix has dropped entries already; drop from the whole one")
    if undirected is None:
        undirected = matrix.matrix.symmetric
    rows, columns = matrix.shape
    if undirected and rows != columns:
        raise ArgumentError(f"undirected entries need a square matrix, got shape {matrix.shape}")
    if isinstance(rate, KeepProbability):
        if rate.threshold.numel() != matrix.entries:
            raise ArgumentError(
                f"the probabilities are of a matrix with {rate.threshold.numel()} entries, "
                f"this one has {matrix.entries}"
            )
        chance: float | KeepProbability = rate
    else:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ArgumentError(f"rate must be a number in [0, 1], got {rate!r}")
        chance = 1.0 - rate
    dropped = Dropped(
        draw_seed(generator),
        chance,
        undirected=undirected,
        # On a rectangular matrix row 3 and column 3 are not one node.
        keep_self_loops=keep_self_loops and rows == columns,
        divide=correct == "expectation",
    )
    result = replace(matrix, dropped=dropped)
    if correct != "degrees":
        return result
    if matrix.kind == "none":
        raise ArgumentError("correct='degrees' needs a normalised matrix; see `scaled`")
    return rescaled(result)
