"""A view that is learned: a small network on sequence representations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from recsys.views.checks import check_count


class LearnableAugmenter(nn.Module):
    """Turn a sequence representation into a learned view of it, of length one.

    The MLP augmenter of MCLRec (Qin et al. 2023, arXiv 2304.07763, section 3.3): linear layers
    of `dimension` -> `hidden` ... -> `dimension` with GELU between them, then L2 normalisation.

    Shapes:
        representations floating (..., dimension) -> the same.

    Args:
        dimension: width of the representations.
        hidden: widths of the layers between.
        normalise: whether the result has length one.

    Raises:
        ArgumentError: a width is below 1.

    Example:
        >>> LearnableAugmenter(64)(torch.randn(5, 64)).shape
        torch.Size([5, 64])
    """

    def __init__(
        self, dimension: int = 64, hidden: Sequence[int] = (32, 16), *, normalise: bool = True
    ) -> None:
        super().__init__()
        widths = [check_count("dimension", dimension), *hidden, dimension]
        for width in hidden:
            check_count("hidden", width)
        layers: list[nn.Module] = []
        for number, (left, right) in enumerate(pairwise(widths)):
            if number:
                layers.append(nn.GELU())
            layers.append(nn.Linear(left, right))
        self.layers = nn.Sequential(*layers)
        self.normalise = normalise

    def forward(self, representations: Tensor) -> Tensor:
        """The learned view of each representation."""
        seen: Tensor = self.layers(representations)
        return torch.nn.functional.normalize(seen, dim=-1) if self.normalise else seen
