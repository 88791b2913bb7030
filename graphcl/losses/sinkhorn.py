"""Balanced soft assignments by Sinkhorn's iteration, in log space."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import check_above_zero, check_count, check_rows
from graphcl.losses.precision import widened


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    r"""Soft assignments of rows to prototypes that use all prototypes about equally.

    .. math::
        \max_Q \; \langle Q, S \rangle + \epsilon H(Q) \quad \text{with rows of sum } 1
        \text{ and columns of sum } B / K

    by Cuturi 2013, "Sinkhorn Distances", arXiv 1306.0895, as SwAV uses it (Caron et
    al. 2020, arXiv 2006.09882, section 3.1). Each iteration scales the columns, then
    the rows, so that the rows sum to 1 exactly and the columns in the limit.
    Everything stays a logarithm until the end: exponentials do not overflow.

    Args:
        scores: (B, K) floating, similarity of every row and prototype; 16-bit types
            are computed in float32.
        epsilon: ε, above 0; smaller is closer to a hard assignment.
        iterations: at least 1.

    Returns:
        (B, K), without gradient.

    Raises:
        ArgumentError: for a shape, epsilon or number out of range.
        NonFiniteArgumentError: for NaN or infinity in scores / epsilon.
    """
    check_sinkhorn(epsilon, iterations)
    check_rows("scores", scores)
    scores = widened(scores)
    if scores.numel() == 0:
        return torch.zeros_like(scores)
    log_codes = scores / epsilon
    check_finite("scores / epsilon", log_codes)
    for _ in range(iterations):
        log_codes = log_codes - torch.logsumexp(log_codes, dim=0, keepdim=True)
        log_codes = log_codes - torch.logsumexp(log_codes, dim=1, keepdim=True)
    return log_codes.exp()


def check_sinkhorn(epsilon: float, iterations: int) -> None:
    """Raise unless epsilon is above 0 and there is an iteration."""
    check_above_zero("epsilon", epsilon)
    check_count("iterations", iterations)
