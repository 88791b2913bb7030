"""Heads between an encoder and a contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.encoders.activations import make_activation
from graphcl.encoders.initialise import initialise


class ProjectionHead(nn.Module):
    """Linear - activation - Linear, the projector g of GRACE, GCA and CSGCL.

    Args:
        in_features: width of the embeddings.
        hidden: width in between.
        out_features: width of the projection; default `in_features`.
        activation: see `graphcl.encoders.activations.ACTIVATIONS`.
        generator: source of the initialisation (torch's default for Linear); None is the
            global one.

    Raises:
        UnknownNameError: unknown activation.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int | None = None,
        *,
        activation: str = "elu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, hidden)
        self.activation = make_activation(activation)
        self.second = nn.Linear(hidden, in_features if out_features is None else out_features)
        if generator is not None:
            self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Uniform on +-1/sqrt(inputs) for weights and biases, as `nn.Linear` does."""
        for linear in (self.first, self.second):
            bound = linear.in_features**-0.5
            initialise(linear.weight, nn.init.uniform_, generator, -bound, bound)
            initialise(linear.bias, nn.init.uniform_, generator, -bound, bound)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return self.second(self.activation(self.first(embeddings)))

    def rotated(self, embeddings: Tensor) -> Tensor:
        """The output in an orthonormal basis of where it can lie, for losses of inner products.

        All outputs lie in the span of the columns of [W b] of the second layer, which has
        `hidden` + 1 dimensions at most. There every length, cosine and inner product is that of
        `forward`, and so is the gradient of whatever is made of them; a loss over all pairs
        costs what those dimensions cost. The basis is held constant: d(S'QQ'S) = d(S'S) for a
        basis Q of the span of S, so the first derivatives are exact and the second are not.

        Returns:
            (..., hidden + 1), or `forward` where `out_features` is no more than that.
        """
        weight, bias = self.second.weight, self.second.bias
        if weight.shape[0] <= weight.shape[1] + 1:
            return self(embeddings)
        with torch.no_grad():
            spanning = torch.cat([weight, bias.unsqueeze(1)], dim=1)
            basis = torch.linalg.qr(spanning.double()).Q.to(weight.dtype)
        hidden = self.activation(self.first(embeddings))
        return nn.functional.linear(hidden, basis.T @ weight, basis.T @ bias)
