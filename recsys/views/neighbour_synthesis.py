"""One positive out of several semantic neighbours, by learned weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphcl.errors import ArgumentError
from recsys.views.checks import check_count, check_floats, check_tensor


class NeighbourSynthesis(nn.Module):
    r"""Mix the states of a sequence's semantic neighbours into one positive.

    The learnable sample synthesis of SRA-CL (Cui et al. 2025, arXiv 2503.04162): with g the
    semantic embeddings of the sequence s and of its neighbours j,

    .. math::
        e_j = \mathrm{LeakyReLU}(a^\top [W g_s ; W g_j]), \qquad
        \alpha = \mathrm{softmax}_j(e), \qquad  p_s = \sum_j \alpha_j h_j

    with slope 0.2, and dropout on the weights in training, which are not made to sum to one again.

    Shapes:
        anchor floating (B, D); neighbours (B, K, D); states (B, K, d); present bool (B, K).
        Returns (B, d); zeros for a row without neighbours.

    Args:
        embedding_dimension: D of the semantic embeddings.
        dimension: of W's result.
        dropout: rate on the weights, from torch's global generator, as in an encoder.

    Raises:
        ArgumentError: a number is out of range, or the shapes disagree.

    Example:
        >>> mix = NeighbourSynthesis(8, 16)
        >>> mix(torch.randn(3, 8), torch.randn(3, 5, 8), torch.randn(3, 5, 16)).shape
        torch.Size([3, 16])
    """

    def __init__(self, embedding_dimension: int, dimension: int, dropout: float = 0.5) -> None:
        super().__init__()
        embedding_dimension = check_count("embedding_dimension", embedding_dimension)
        dimension = check_count("dimension", dimension)
        if not 0.0 <= dropout < 1.0:
            raise ArgumentError(f"dropout must lie in [0, 1) (got {dropout})")
        self.project = nn.Linear(embedding_dimension, dimension, bias=False)
        self.attend_anchor = nn.Linear(dimension, 1, bias=False)
        """The half of a that meets the sequence."""
        self.attend_neighbour = nn.Linear(dimension, 1, bias=False)
        self.dropout = dropout

    def forward(
        self, anchor: Tensor, neighbours: Tensor, states: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """The positive of each sequence."""
        self._check(anchor, neighbours, states, present)
        own = self.attend_anchor(self.project(anchor))
        energy = functional.leaky_relu(
            own + self.attend_neighbour(self.project(neighbours)).squeeze(-1), 0.2
        )
        if present is not None:
            # A finite number: a row without neighbours would be NaN with -inf.
            energy = energy.masked_fill(~present, torch.finfo(energy.dtype).min)
        weights = functional.dropout(energy.softmax(dim=1), self.dropout, self.training)
        if present is not None:
            weights = weights * present
        return (weights.unsqueeze(-1) * states).sum(1)

    def _check(
        self, anchor: Tensor, neighbours: Tensor, states: Tensor, present: Tensor | None
    ) -> None:
        width = self.project.in_features
        check_floats("anchor", anchor, "(B, D)", 2)
        check_floats("neighbours", neighbours, "(B, K, D)", 3)
        check_floats("states", states, "(B, K, d)", 3)
        fits = (
            anchor.shape[1] == width
            and neighbours.shape == (len(anchor), states.shape[1], width)
            and len(states) == len(anchor)
        )
        if not fits:
            raise ArgumentError(
                f"anchor must be (B, {width}), neighbours (B, K, {width}) and states (B, K, d) "
                f"(got {tuple(anchor.shape)}, {tuple(neighbours.shape)} and {tuple(states.shape)})"
            )
        if present is None:
            return
        check_tensor("present", present)
        if present.dtype != torch.bool or present.shape != states.shape[:2]:
            raise ArgumentError(
                f"present must be bool {tuple(states.shape[:2])} "
                f"(got {present.dtype} of shape {tuple(present.shape)})"
            )
