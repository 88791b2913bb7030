"""Negatives from the cluster of the true item."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.row_products import check_columns
from graphcl.samplers.contract import Negatives, check_count, check_rows, uniform
from graphcl.samplers.examples import SamplerExample, known_pairs
from graphcl.samplers.free_items import FreeItems, check_keys, positive_keys


class ClusterSampler:
    r"""Uniform inside the cluster of the row's true item, mixed with uniform over all.

    .. math::
        q_{ij} = (1 - \rho) \frac{[c_j = c_{t(i)}]}{|C_{t(i)} \setminus P_i|}
            + \frac{\rho}{N - |P_i|}, \qquad j \notin P_i

    The negatives of LEMON, Rony et al. 2022, arXiv 2203.04703, for knowledge
    graphs: clusters of text embeddings hold entities of one kind, which are hard
    to tell apart. Clusters may come from any embedding (`sklearn.cluster.KMeans`),
    from communities or from categories. Additions: the share ρ of uniform draws,
    for small clusters, and the exact exclusion of known positives. A row whose
    cluster has nothing left draws from all items.

    Args:
        clusters: (N,) integer cluster of each item.
        uniform_share: ρ in [0, 1].
        positive_keys: sorted distinct keys `row * N + item` of what rows have taken.
            None: nothing.

    Raises:
        ArgumentError: for a shape, share or key out of range.

    Example:
        >>> sampler = ClusterSampler(torch.randint(5, (100,)), 0.1)
        >>> targets = torch.randint(100, (8,))
        >>> indices, log_probability = sampler(torch.arange(8), 16, targets=targets)
    """

    def __init__(
        self, clusters: Tensor, uniform_share: float = 0.1, positive_keys: Tensor | None = None
    ) -> None:
        if clusters.dim() != 1 or clusters.numel() == 0 or clusters.is_floating_point():
            raise ArgumentError(
                f"clusters must be (N,) integers, N >= 1; got {clusters.dtype} "
                f"{tuple(clusters.shape)}"
            )
        if not 0 <= uniform_share <= 1:
            raise ArgumentError(f"uniform_share must be a number in [0, 1]; got {uniform_share}")
        self.uniform_share = uniform_share
        self.num_items = size = clusters.numel()
        # Items are renumbered so that a cluster is a range.
        self._order = torch.argsort(clusters, stable=True)
        self._place = torch.empty_like(self._order)
        self._place[self._order] = torch.arange(size, device=clusters.device)
        sorted_clusters = clusters[self._order]
        self._low = torch.searchsorted(sorted_clusters, clusters)
        self._high = torch.searchsorted(sorted_clusters, clusters, right=True)
        keys = None
        if positive_keys is not None:
            check_keys(positive_keys)
            owner, item = positive_keys // size, positive_keys % size
            keys = (owner * size + self._place[item]).sort().values
        self._items = FreeItems(torch.ones_like(self._order), keys)

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """Three clusters of 8 items, for 5 rows that have taken some of them."""
        rows, items = known_pairs()
        clusters = torch.tensor([2, 0, 0, 2, 1, 1, 0, 2])
        sampler = ClusterSampler(clusters, 0.3, positive_keys(rows, items, 8))
        targets = torch.tensor([1, 5, 0, 0, 2])
        return SamplerExample(sampler, torch.arange(5), 8, (rows, items), targets)

    def __call__(
        self,
        rows: Tensor,
        count: int,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Negatives:
        """`count` items (M, count) for rows (M,) with true items `targets` (M,).

        Without targets a row is itself the item whose cluster is meant.
        """
        check_count(count)
        low, high = self._window(rows, targets)
        everything = torch.zeros_like(low), torch.full_like(high, self.num_items)
        inside = self._items.draw(rows, low, high, count, generator)
        outside = self._items.draw(rows, *everything, count, generator)
        uniform_draw = uniform(inside.shape, generator, rows) < self.uniform_share
        places = torch.where(uniform_draw | (inside < 0), outside, inside)
        indices = torch.where(places >= 0, self._order[places.clamp_min(0)], -1)
        return Negatives(indices, self.log_probability(rows, indices, targets=targets))

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M, k) float64, for items (M, k)."""
        low, high = self._window(rows, targets)
        check_columns("indices", indices, rows.numel(), self.num_items)
        places = torch.where(indices >= 0, self._place[indices.clamp_min(0)], -1)
        everything = torch.zeros_like(low), torch.full_like(high, self.num_items)
        share = torch.where(
            self._items.free(rows, low, high) > 0, self.uniform_share, 1.0
        ).double()[:, None]
        inside = self._items.probability(rows, places, low, high)
        outside = self._items.probability(rows, places, *everything)
        return ((1 - share) * inside + share * outside).log()

    def _window(self, rows: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor]:
        check_rows("rows", rows)
        items = rows if targets is None else targets
        check_rows("targets", items, self.num_items)
        if items.shape != rows.shape:
            raise ArgumentError(
                f"targets must have shape {tuple(rows.shape)}; got {tuple(items.shape)}"
            )
        return self._low[items], self._high[items]
