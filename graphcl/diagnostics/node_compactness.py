"""Node compactness: a hook for models that can say how safely each node is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError


@runtime_checkable
class ProvidesNodeCompactness(Protocol):
    """A method or encoder that can compute a compactness for each node.

    Yu et al. 2023, "Provable Training for Graph Contrastive Learning", arXiv 2309.13944:
    a lower bound, over all augmentations within a budget, on how much nearer a node's
    embedding is to its other view than to the negatives. Above 0 the node obeys the
    contrastive principle whatever the augmentation. How it is computed is up to the provider.
    """

    def node_compactness(self, data: Any) -> Tensor:
        """(N,) compactness of the nodes of `data`; higher is better trained."""
        ...


@torch.no_grad()
def node_compactness(
    source: Any, data: Any, quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
) -> dict[str, float]:
    """Mean, share above 0 and quantiles of the compactness that `source` provides.

    Cheap by itself (O(N log N)); the cost is the provider's.

    Args:
        source: a method or encoder; `ProvidesNodeCompactness` or not.
        data: what `source` takes.
        quantiles: in [0, 1].

    Returns:
        `{"node_compactness/mean": ..., "node_compactness/share_above_0": ...,
        "node_compactness/quantile_0.05": ...}`, ready for a log. Empty if the
        source provides none; NaN without nodes or for compactness that is not finite.

    Raises:
        ArgumentError: for quantiles out of range, or a compactness that is not floating (N,).
    """
    if any(not 0 <= level <= 1 for level in quantiles):
        raise ArgumentError(f"quantiles must lie in [0, 1]; got {list(quantiles)}")
    if not isinstance(source, ProvidesNodeCompactness):
        return {}
    values = source.node_compactness(data)
    if values.dim() != 1 or not values.is_floating_point():
        raise ArgumentError(
            f"node_compactness of {type(source).__name__} must be a floating (N,) tensor; "
            f"got {values.dtype} {tuple(values.shape)}"
        )
    values = values.double().cpu()
    if values.numel() == 0 or not bool(torch.isfinite(values).all()):
        values = torch.full((1,), torch.nan, dtype=torch.float64)
    above = torch.where(values.isnan(), torch.nan, (values > 0).double())
    found = {"mean": float(values.mean()), "share_above_0": float(above.mean())}
    # torch.quantile refuses more than 2^24 numbers; sorted ones need no such limit.
    ordered = values.sort().values
    for level in quantiles:
        place = level * (ordered.numel() - 1)
        low = int(place)
        high = min(low + 1, ordered.numel() - 1)
        found[f"quantile_{level:g}"] = float(torch.lerp(ordered[low], ordered[high], place - low))
    return {f"node_compactness/{name}": value for name, value in found.items()}
