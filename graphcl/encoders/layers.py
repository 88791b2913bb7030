"""What stacks of layers share: the widths they are made of, and the activations after them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from graphcl.encoders.activations import make_activation
from graphcl.errors import ArgumentError


def layer_shapes(in_features: int, widths: Sequence[int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer.

    Raises:
        ArgumentError: no widths, or a width below one.
    """
    sizes = [in_features, *widths]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ArgumentError(
            "in_features and widths must be positive with at least one width, "
            f"got {in_features} and {list(widths)}"
        )
    return list(itertools.pairwise(sizes))


def layer_activations(activation: str, layers: int, *, last: bool) -> nn.ModuleList:
    """A new activation after every layer; after the last one only if `last`."""
    names = [activation] * (layers - 1) + [activation if last else "identity"]
    return nn.ModuleList([make_activation(name) for name in names])
