"""Attention over views of the same nodes (HAN): one weight for each view, shared by all nodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphcl.encoders.initialise import initialise
from graphcl.errors import ArgumentError


class SemanticAttention(nn.Module):
    r"""The mean of several views of the nodes, weighted by what their average node holds.

    .. math::
        z_i = \sum_p \beta_p z_i^p, \qquad
        \beta = \mathrm{softmax}_p \Big( \frac{1}{N} \sum_i a^\top \tanh(W z_i^p + b) \Big)

    Wang et al., "Heterogeneous Graph Attention Network", WWW 2019, arXiv 1903.07293, equations
    7 to 9.

    Args:
        dimension: d of the views.
        generator: source of the initialisation (Glorot-normal with gain sqrt(2), zero bias);
            None is torch's global one.
    """

    def __init__(self, dimension: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, dimension)
        self.query = nn.Parameter(torch.empty(1, dimension))
        for weight in (self.linear.weight, self.query):
            initialise(weight, nn.init.xavier_normal_, generator, gain=2**0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """(N, d) from at least one view (N, d).

        Raises:
            ArgumentError: no view.
        """
        return torch.tensordot(self.weights(views), torch.stack(list(views)), dims=1)

    def weights(self, views: Sequence[Tensor]) -> Tensor:
        """The weight of each view, (views,), with sum 1."""
        if not views:
            raise ArgumentError("semantic attention needs at least one view; got none")
        means = torch.stack([torch.tanh(self.linear(view)).mean(dim=0) for view in views])
        return torch.softmax(means @ self.query.view(-1), dim=0)
