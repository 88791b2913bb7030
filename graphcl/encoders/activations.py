"""Activations by name, as the methods' configurations spell them."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from graphcl.errors import unknown_name


class MeanRReLU(nn.Module):
    """RReLU with its mean slope (1/8 + 1/3) / 2 for negative input, in training too.

    This is what `torch.nn.functional.rrelu` computes by default, and hence what GCA's and
    CSGCL's released encoders use: no randomness.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise; shape unchanged."""
        return functional.leaky_relu(x, (1 / 8 + 1 / 3) / 2)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "rrelu": MeanRReLU,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


def make_activation(name: str) -> nn.Module:
    """A new module for `name`, a key of `ACTIVATIONS`; "prelu" has one trainable slope."""
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()
