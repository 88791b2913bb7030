"""A linear predictor that is computed from the statistics of its input, not trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError


class DirectPredictor(nn.Module):
    r"""DirectPred: the predictor of BYOL-like training, set from the correlation of its input.

    .. math::
        F \leftarrow \rho F + (1 - \rho)\, \frac1N \sum_i f_i f_i^\top, \qquad
        F = U \Lambda U^\top, \qquad
        W = U \left[ (\Lambda / \lambda_{max})^{p} + \epsilon I \right] U^\top

    Tian et al. 2021, "Understanding Self-Supervised Learning Dynamics without
    Contrastive Pairs", arXiv 2102.06810, with p = 1/2. With p = 1, W is F / λ_max + ε I,
    the DirectCopy of Wang et al. 2021, arXiv 2110.04947, up to the scale of F.
    Dividing by λ_max changes W by a factor only, which a cosine loss such as
    `graphcl.losses.Bootstrap` does not see.

    Call `update(features)` before the step's forward pass; it costs O(N d² + d³)
    and leaves no gradient. W starts as the identity, F as the first batch's
    correlation. Both are buffers, in the `state_dict`; nothing is trainable.

    Args:
        features: d, width of the input and of the output.
        momentum: ρ in [0, 1); the authors' 0.3.
        epsilon: ε, above 0; the authors' 0.01.
        power: p, above 0.

    Raises:
        ArgumentError: for a setting out of range; from `update`, for features that
            are not (N, d) or not finite (the statistics stay as they were).
    """

    correlation: Tensor
    weight: Tensor
    started: Tensor

    def __init__(
        self, features: int, *, momentum: float = 0.3, epsilon: float = 0.01, power: float = 0.5
    ) -> None:
        super().__init__()
        if features < 1:
            raise ArgumentError(f"features must be at least 1; got {features}")
        if not 0 <= momentum < 1:
            raise ArgumentError(f"momentum must lie in [0, 1); got {momentum}")
        for name, value in (("epsilon", epsilon), ("power", power)):
            if not 0 < value < float("inf"):
                raise ArgumentError(f"{name} must be a finite number above 0; got {value}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.power = power
        self.register_buffer("correlation", torch.zeros(features, features))
        self.register_buffer("weight", torch.eye(features))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take features (N, d) into F and set W from it. No rows change nothing."""
        dimension = self.weight.shape[0]
        if features.dim() != 2 or features.shape[1] != dimension:
            raise ArgumentError(
                f"features must be (N, {dimension}); got shape {tuple(features.shape)}"
            )
        if features.shape[0] == 0:
            return
        features = features.to(self.correlation.dtype)
        batch = features.T @ features / features.shape[0]
        if not torch.isfinite(batch).all():
            raise ArgumentError("features must be finite, and so must their squares")
        if self.started:
            batch = torch.lerp(batch, self.correlation, self.momentum)
        eigenvalues, vectors = torch.linalg.eigh(batch)
        # Rounding makes zero eigenvalues slightly negative.
        eigenvalues = eigenvalues.clamp_min(0.0)
        largest = eigenvalues.amax()
        relative = eigenvalues / torch.where(largest > 0, largest, 1.0)
        strength = relative.pow(self.power) + self.epsilon
        self.correlation.copy_(batch)
        self.weight.copy_((vectors * strength) @ vectors.T)
        self.started.fill_(True)

    def forward(self, features: Tensor) -> Tensor:
        """(..., d) -> (..., d): features times the symmetric W, which gets no gradient."""
        return features @ self.weight

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"{self.weight.shape[0]}, momentum={self.momentum:g}, epsilon={self.epsilon:g}, "
            f"power={self.power:g}"
        )
