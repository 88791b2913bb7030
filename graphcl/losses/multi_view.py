"""What the losses of more than two views share: their argument and the logits of positives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import check_alike, check_floating
from graphcl.losses.unit_rows import row_products, unit_rows

Views = Tensor | Sequence[Tensor]


def unit_views(views: Views, fewest: int = 2) -> list[Tensor]:
    """The views, each (N, d) with rows of length one; raise unless at least `fewest` alike.

    `views` is one tensor (V, N, d) or a sequence of V tensors (N, d).
    """
    if isinstance(views, Tensor):
        check_floating("views", views)
        if views.dim() != 3:
            raise ArgumentError(
                f"views must be (V, N, d) or a sequence of (N, d); got {tuple(views.shape)}"
            )
    elif not isinstance(views, Sequence):
        raise ArgumentError(
            f"views must be a tensor (V, N, d) or a sequence; got {type(views).__name__}"
        )
    parts = list(views)
    for place, view in enumerate(parts):
        check_floating(f"views[{place}]", view)
    if len(parts) < fewest:
        raise ArgumentError(f"views must be at least {fewest}; got {len(parts)}")
    if any(view.dim() != 2 or view.shape != parts[0].shape for view in parts):
        shapes = [tuple(view.shape) for view in parts]
        raise ArgumentError(
            f"views must all be (N, d), row i being the same node in each; got {shapes}"
        )
    if isinstance(views, Tensor):
        check_finite("views", views)
    else:
        for place, view in enumerate(parts):
            check_alike(("views[0]", f"views[{place}]"), parts[0], view)
            check_finite(f"views[{place}]", view)
    return [unit_rows(view) for view in parts]


def log_positive_pairs(units: list[Tensor], scale: float | Tensor) -> Tensor:
    """(N,): log of the sum of e^logit over the unordered pairs of views of every node."""
    logits = [
        scale * row_products(units[a], units[b])
        for a in range(len(units))
        for b in range(a + 1, len(units))
    ]
    return torch.logsumexp(torch.stack(logits), dim=0)
