"""Messages over a hypergraph: from nodes to hyperedges and back, never forming node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.kernels.spmm import SparseMatrix, spmm


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """W = diag(left) (sum_m H_m H_m^T - diag(loops)) diag(right), applied as two products each."""

    incidences: tuple[SparseMatrix, ...]
    """H_m (n, hyperedges), one where a node is in a hyperedge."""
    loops: Tensor
    """(n,): taken off the diagonal."""
    left: Tensor
    """(n,)."""
    right: Tensor
    """(n,)."""

    def __call__(self, nodes: Tensor) -> Tensor:
        """W x for x (n, d); differentiable."""
        scaled = self.right[:, None] * nodes
        gathered = -self.loops[:, None] * scaled
        for incidence in self.incidences:
            gathered = gathered + spmm(incidence, spmm(incidence.T, scaled))
        return self.left[:, None] * gathered

    @staticmethod
    def mean_of_others(incidence: SparseMatrix) -> Hypergraph:
        """D^-1 (H H^T - diag(H 1)) with D its row sums: means over whom one shares hyperedges with.

        Nodes that share none get zeros.
        """
        loops = incidence.sum(1)
        degree = spmm(incidence, incidence.sum(0)) - loops
        return Hypergraph((incidence,), loops, _inverse_power(degree, 1.0), torch.ones_like(degree))

    @staticmethod
    def symmetric(incidences: Sequence[SparseMatrix]) -> Hypergraph:
        """D^-1/2 (sum_m H_m H_m^T) D^-1/2 with D the row sums of what it scales."""
        degree = torch.stack([spmm(h, h.sum(0)) for h in incidences]).sum(0)
        scale = _inverse_power(degree, 0.5)
        return Hypergraph(tuple(incidences), torch.zeros_like(degree), scale, scale)


def _inverse_power(degree: Tensor, power: float) -> Tensor:
    positive = degree > 0
    return torch.where(positive, degree.where(positive, 1.0).pow(-power), 0.0)
