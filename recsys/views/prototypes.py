"""Prototypes of representations by mini-batch k-means with a warm start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.kernels.kmeans import kmeans
from recsys.views.checks import check_count, check_tensor


class Prototypes(nn.Module):
    """Cluster centres of representations, kept up to date at little cost.

    The intents of ICLRec (Chen et al. 2022, arXiv 2202.02519) and ICSRec (Qin et al. 2024,
    arXiv 2310.14318). The first `fit` runs k-means++ and Lloyd's steps on a sample; later ones
    start from the last centres and move each towards the rows of a mini-batch that are nearest
    to it, by the share that those rows have in all it has seen in this call (Sculley, WWW 2010).
    The authors run 20 full iterations from scratch, five times, every epoch.

    Deviation: a centre that no row of a call chose is put on a random row, so that it does not
    stay empty for ever.

    Shapes:
        representations floating (N, d); centroids (K, d); labels int64 (N,).

    Args:
        count: the number of prototypes K, at least 1.
        dimension: d.
        sample: rows of the first clustering for each prototype.
        batch_size: rows of a mini-batch.

    Raises:
        ArgumentError: a number is below 1, the representations have another width, or are asked
            for their prototypes before the first `fit`.

    Example:
        >>> prototypes = Prototypes(4, 8)
        >>> prototypes.fit(torch.randn(100, 8))
        >>> labels, nearest = prototypes(torch.randn(5, 8))
    """

    centroids: Tensor
    fitted: Tensor

    def __init__(
        self, count: int, dimension: int, *, sample: int = 64, batch_size: int = 8192
    ) -> None:
        super().__init__()
        self.count = check_count("count", count)
        self.dimension = check_count("dimension", dimension)
        self.sample = check_count("sample", sample)
        self.batch_size = check_count("batch_size", batch_size)
        # Buffers: a resumed run goes on from the same centres.
        self.register_buffer("centroids", torch.zeros(count, dimension))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self._is_fitted = False

    @torch.no_grad()
    def fit(self, representations: Tensor, generator: torch.Generator | None = None) -> None:
        """Move the centres to `representations` (N, d), once through; N at least 1.

        Raises:
            NonFiniteArgumentError: they hold NaN or infinity, which no centre would get rid of.
        """
        self._check(representations)
        check_finite("representations", representations)
        if len(representations) == 0:
            raise ArgumentError("prototypes need at least one representation (got none)")
        rows = representations.detach().to(self.centroids.dtype)
        source = rows.device if generator is None else generator.device
        order = torch.randperm(len(rows), generator=generator, device=source).to(rows.device)
        if not bool(self.fitted):
            chosen = rows[order[: self.sample * self.count]]
            start = kmeans(chosen, self.count, iterations=10, generator=generator)
            self.centroids.copy_(start.centroids)
            self.fitted.fill_(True)
        seen = torch.zeros(self.count, device=rows.device, dtype=rows.dtype)
        for part in order.split(self.batch_size):
            batch = rows[part]
            choice = nn.functional.one_hot(self.assign(batch), self.count).to(rows.dtype)
            found = choice.sum(0)
            seen += found
            move = choice.T @ batch - found[:, None] * self.centroids
            self.centroids += move / seen.clamp(min=1)[:, None]
        empty = torch.nonzero(seen == 0).flatten()
        self.centroids[empty] = rows[
            order[torch.arange(len(empty), device=rows.device) % len(rows)]
        ]

    def assign(self, representations: Tensor) -> Tensor:
        """The nearest prototype of each row, int64 (N,); no gradient."""
        self._check(representations)
        # Read once: a GPU would be waited for at every step.
        self._is_fitted = self._is_fitted or bool(self.fitted)
        if not self._is_fitted:
            raise ArgumentError("prototypes must be fitted before rows are assigned (got no fit)")
        rows = representations.detach().to(self.centroids.dtype)
        squares = self.centroids.square().sum(1)
        return torch.addmm(squares, rows, self.centroids.T, alpha=-2).argmin(1)

    def forward(self, representations: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (N,) and the centre of each row's prototype (N, d), without gradient."""
        labels = self.assign(representations)
        return labels, self.centroids[labels]

    def _load_from_state_dict(self, *arguments: Any, **more: Any) -> None:
        self._is_fitted = False
        super()._load_from_state_dict(*arguments, **more)

    def _check(self, representations: Tensor) -> None:
        check_tensor("representations", representations)
        if representations.dim() != 2 or representations.shape[1] != self.dimension:
            raise ArgumentError(
                f"representations must be (N, {self.dimension}) "
                f"(got {tuple(representations.shape)})"
            )
