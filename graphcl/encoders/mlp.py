"""Multi-layer perceptron with a GCN's signature, for graphs whose edges it does not look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graphcl.encoders.initialise import initialise
from graphcl.encoders.layers import layer_activations, layer_shapes
from graphcl.kernels.spmm import SparseMatrix, spmm


class MLP(nn.Module):
    """Layers H <- act(H W + b).

    Args:
        in_features: width of x.
        widths: width of every layer; the last one is the output's.
        activation: see `graphcl.encoders.activations.ACTIVATIONS`.
        last_activation: whether the last layer is followed by the activation too.
        generator: source of the initialisation (torch's default for Linear); None is the
            global one.

    Raises:
        ArgumentError: no widths, or a width below one.
        UnknownNameError: unknown activation.
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        *,
        activation: str = "relu",
        last_activation: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        shapes = layer_shapes(in_features, widths)
        self.in_features = in_features
        self.out_features = shapes[-1][1]
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        self.biases = nn.ParameterList([nn.Parameter(torch.empty(width)) for _, width in shapes])
        self.activations = layer_activations(activation, len(shapes), last=last_activation)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Uniform on +-1/sqrt(inputs) for weights and biases, as `nn.Linear` does."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.size(0) ** -0.5
            initialise(weight, nn.init.uniform_, generator, -bound, bound)
            initialise(bias, nn.init.uniform_, generator, -bound, bound)

    def forward(
        self,
        x: Tensor | SparseMatrix,
        graph: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """(N, in_features), dense or a `SparseMatrix`, -> (N, widths[-1]).

        `graph` and `generator` are not read: they are there as for the other encoders.
        """
        hidden: Any = x
        for weight, bias, activation in zip(
            self.weights, self.biases, self.activations, strict=True
        ):
            product = spmm(hidden, weight) if isinstance(hidden, SparseMatrix) else hidden @ weight
            hidden = activation(product + bias)
        output: Tensor = hidden
        return output
