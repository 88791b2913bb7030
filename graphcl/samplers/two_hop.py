"""Structural false negatives: the nodes within two hops of a row's node."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.kernels.row_products import check_columns, check_index
from graphcl.samplers.contract import Negatives, check_count, check_rows, uniform
from graphcl.samplers.examples import SamplerExample, known_pairs
from graphcl.samplers.free_items import check_keys, positive_keys


class TwoHopSampler:
    r"""Nodes of the two-hop ball around a row's node, by their distance.

    .. math::
        q_{ij} \propto w_{\mathrm{dist}(i, j)}, \qquad 1 \le \mathrm{dist}(i, j) \le 2

    HaSa, Zhang et al. 2023, arXiv 2305.10563: a missing link is
    likelier between near nodes, so "negatives" that are near are suspected false ones, to be
    subtracted from the negatives (or, as negatives, they are hard). Deviation: the
    prior over path lengths is the pair of weights; the authors take three nodes per row.

    Balls are made for the rows of a call only: O(sum of the degrees of their
    neighbours) time and memory, which hubs make large.

    Args:
        edge_index: (2, E) int64 source and target; give both directions for an undirected graph.
        num_nodes: N.
        hop_weights: w_1 and w_2, at least 0.
        positive_keys: sorted distinct keys `row * N + node` never drawn. None: nothing.

    Raises:
        ArgumentError: for a shape, id, weight or key out of range.

    Example:
        >>> edges = torch.randint(100, (2, 400))
        >>> sampler = TwoHopSampler(edges, 100)
        >>> indices, log_probability = sampler(torch.arange(8), 3)
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int,
        hop_weights: tuple[float, float] = (1.0, 1.0),
        positive_keys: Tensor | None = None,
    ) -> None:
        if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
            raise ArgumentError(
                f"edge_index must be (2, E) of torch.int64; got {tuple(edge_index.shape)} "
                f"of {edge_index.dtype}"
            )
        check_index("edge_index", edge_index, num_nodes)
        if bool((edge_index < 0).any()):
            raise ArgumentError("edge_index must hold ids of at least 0; got -1")
        check_finite("hop_weights", torch.tensor(hop_weights, dtype=torch.float64))
        if len(hop_weights) != 2 or min(hop_weights) < 0:
            raise ArgumentError(f"hop_weights must be two numbers, at least 0; got {hop_weights}")
        self.num_items = num_nodes
        self.hop_weights = hop_weights
        self._keys = edge_index[0, :0] if positive_keys is None else positive_keys
        check_keys(self._keys)
        source, target = edge_index[:, edge_index[0] != edge_index[1]]
        edges = torch.unique(source * num_nodes + target)
        self._neighbours = edges % max(num_nodes, 1)
        degree = torch.bincount(edges // max(num_nodes, 1), minlength=num_nodes)
        self._pointer = torch.cat([degree.new_zeros(1), degree.cumsum(0)])

    @staticmethod
    def example(generator: torch.Generator) -> SamplerExample:
        """A path of 8 nodes with a shortcut, for 5 of them with known partners."""
        path = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6, 7, 5]])
        rows, items = known_pairs()
        keys = positive_keys(rows, items, 8)
        sampler = TwoHopSampler(torch.cat([path, path.flip(0)], 1), 8, (1.0, 0.5), keys)
        return SamplerExample(sampler, torch.arange(5), 8, (rows, items))

    def __call__(
        self,
        rows: Tensor,
        count: int,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Negatives:
        """`count` nodes (M, count) around the nodes `rows` (M,); -1 for an empty ball."""
        check_count(count)
        check_rows("rows", rows, self.num_items)
        pairs, weight, up_to, edges = self._balls(rows)
        low, total = up_to[edges[:-1]][:, None], (up_to[edges[1:]] - up_to[edges[:-1]])[:, None]
        drawn = low + uniform((rows.numel(), count), generator, rows) * total
        place = torch.searchsorted(up_to, drawn, right=True) - 1
        # Rounding may step over the edge of the row's segment, and past weights of 0.
        place = torch.minimum(place, edges[1:, None] - 1).clamp_min(0)
        found = (total > 0).expand_as(place)
        if pairs.numel() == 0:
            return Negatives(
                place.new_full(place.shape, -1), drawn.new_full(place.shape, -torch.inf)
            )
        indices = torch.where(found, pairs[place] % self.num_items, -1)
        return Negatives(indices, torch.where(found, (weight[place] / total).log(), -torch.inf))

    def log_probability(
        self, rows: Tensor, indices: Tensor, *, targets: Tensor | None = None
    ) -> Tensor:
        """(M, k) float64, for nodes (M, k)."""
        check_rows("rows", rows, self.num_items)
        check_columns("indices", indices, rows.numel(), self.num_items)
        pairs, weight, up_to, edges = self._balls(rows)
        if pairs.numel() == 0:
            return torch.full(indices.shape, -torch.inf, dtype=torch.float64, device=rows.device)
        wanted = torch.arange(rows.numel(), device=rows.device)[:, None] * self.num_items + indices
        place = torch.searchsorted(pairs, wanted).clamp_(max=pairs.numel() - 1)
        found = (pairs[place] == wanted) & (indices >= 0)
        total = (up_to[edges[1:]] - up_to[edges[:-1]])[:, None]
        return torch.where(found, (weight[place] / total).log(), -torch.inf)

    def _balls(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sorted keys `place in rows * N + node`, weights, their sums, each row's segment."""
        near, size = torch.arange(rows.numel(), device=rows.device), self.num_items
        owner, one = self._step(near, rows)
        far_owner, two = self._step(owner, one)
        first, second = owner * size + one, far_owner * size + two
        keys, place = torch.unique(torch.cat([first, second]), return_inverse=True)
        weight = torch.full(
            keys.shape, self.hop_weights[1], dtype=torch.float64, device=keys.device
        )
        weight[place[: first.numel()]] = self.hop_weights[0]
        node, root = keys % size, rows[keys // size]
        kept = (node != root) & (weight > 0)
        if self._keys.numel():
            wanted = root * size + node
            at = torch.searchsorted(self._keys, wanted).clamp_(max=self._keys.numel() - 1)
            kept &= self._keys[at] != wanted
        keys, weight = keys[kept], weight[kept]
        up_to = torch.cat([weight.new_zeros(1), weight.cumsum(0)])
        ends = torch.arange(rows.numel() + 1, device=rows.device) * size
        return keys, weight, up_to, torch.searchsorted(keys, ends)

    def _step(self, owner: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """All neighbours of the nodes, each with the owner of the node it came from."""
        start = self._pointer[nodes]
        degree = self._pointer[nodes + 1] - start
        shift = degree.cumsum(0) - degree
        owners = owner.repeat_interleave(degree)
        offset = (start - shift).repeat_interleave(degree)
        return owners, self._neighbours[torch.arange(owners.numel(), device=nodes.device) + offset]
