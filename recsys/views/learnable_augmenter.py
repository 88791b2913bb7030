"""A view that is learned: a small network on sequence representations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from recsys.views.checks import check_count, check_tensor


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
        ArgumentError: a width is below 1, or the representations have another.

    Example:
        >>> LearnableAugmenter(64)(torch.randn(5, 64)).shape
        torch.Size([5, 64])
    """

    def __init__(
        self, dimension: int = 64, hidden: Sequence[int] = (32, 16), *, normalise: bool = True
    ) -> None:
        super().__init__()
        self.dimension = dimension = check_count("dimension", dimension)
        if not isinstance(hidden, Sequence):
            raise ArgumentError(f"hidden must be a sequence of widths (got {hidden!r})")
        widths = [dimension, *(check_count("hidden", width) for width in hidden), dimension]
        layers: list[nn.Module] = []
        for number, (left, right) in enumerate(pairwise(widths)):
            if number:
                layers.append(nn.GELU())
            layers.append(nn.Linear(left, right))
        self.layers = nn.Sequential(*layers)
        self.normalise = normalise

    def forward(self, representations: Tensor) -> Tensor:
        """The learned view of each representation."""
        check_tensor("representations", representations)
        width = self.dimension
        if representations.shape[-1:] != (width,) or not representations.is_floating_point():
            raise ArgumentError(
                f"representations must be floating (..., {width}) "
                f"(got {representations.dtype} of shape {tuple(representations.shape)})"
            )
        seen: Tensor = self.layers(representations)
        return torch.nn.functional.normalize(seen, dim=-1) if self.normalise else seen
