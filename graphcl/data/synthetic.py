"""Graphs of any size with communities, hubs and features, drawn in linear memory.

A degree-corrected planted partition (Karrer & Newman, Physical Review E 2011): every node has a
class and a weight from a power law; an edge joins two nodes of one class, or two of any classes,
each chosen in proportion to their weights. Features are the class's centre plus noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphcl.errors import ArgumentError

if TYPE_CHECKING:
    from torch_geometric.data import Data

_EDGES_AT_A_TIME = 1 << 22
_MOST_DRAWS = 200
"""For an edge, on average, before the graph is given up; mostly it takes little more than one."""


def planted_partition(
    num_nodes: int,
    num_edges: int,
    *,
    classes: int = 10,
    mixing: float = 0.3,
    exponent: float = 2.5,
    features: int = 64,
    signal: float = 0.5,
    generator: torch.Generator | None = None,
) -> Data:
    """A graph whose classes show in its edges and its features.

    Memory is O(nodes * features + edges), time that and a sort of the edges: a million nodes with
    ten million edges take about a minute on one core and under 3 GB.

    Args:
        num_nodes: N.
        num_edges: undirected edges, without self-loops and repetitions; at most a quarter of all
            pairs.
        classes: number of classes, as large as one another up to chance.
        mixing: share of the edges that are drawn without regard to classes.
        exponent: of the power law of the weights, above 2; the heaviest is at most sqrt(N) times
            the lightest. Expected degrees are in proportion to the weights.
        features: F.
        signal: standard deviation of the classes' centres, in that of the noise around them.
        generator: source of randomness, on the CPU.

    Returns:
        `Data` with `x` float32 (N, F), `edge_index` int64 (2, 2 num_edges), both directions of
        every edge, sorted by row then column, and `y` int64 (N,).

    Raises:
        ArgumentError: a number out of range, or classes too small for the edges inside them.
    """
    from torch_geometric.data import Data

    pairs = num_nodes * (num_nodes - 1) // 2
    if not (classes >= 1 and num_nodes >= classes and features >= 1):
        raise ArgumentError(
            "classes and features must be at least 1 and classes at most num_nodes, got "
            f"{classes}, {features} and {num_nodes}"
        )
    if not 0 <= num_edges <= pairs // 4:
        raise ArgumentError(
            f"num_edges must be in [0, {pairs // 4}], a quarter of the pairs of {num_nodes} "
            f"nodes, got {num_edges}"
        )
    if not (0 <= mixing <= 1 and exponent > 2 and signal >= 0):
        raise ArgumentError(
            "mixing must be in [0, 1], exponent above 2 and signal not negative, got "
            f"{mixing}, {exponent} and {signal}"
        )
    y = torch.randint(classes, (num_nodes,), generator=generator)
    edge_index = _edges(_weights(num_nodes, exponent, generator), y, num_edges, mixing, generator)
    centre = signal * torch.randn(classes, features, generator=generator)
    x = torch.randn(num_nodes, features, generator=generator).add_(centre[y])
    return Data(x=x, edge_index=edge_index, y=y, num_nodes=num_nodes)


def _weights(num_nodes: int, exponent: float, generator: torch.Generator | None) -> Tensor:
    """Power-law weights by inversion, float64 (N,)."""
    uniform = torch.rand(num_nodes, generator=generator, dtype=torch.float64)
    return (1 - uniform).pow(-1 / (exponent - 1)).clamp(max=num_nodes**0.5)


def _edges(
    weight: Tensor,
    y: Tensor,
    num_edges: int,
    mixing: float,
    generator: torch.Generator | None,
) -> Tensor:
    size = weight.numel()
    by_class = torch.argsort(y, stable=True)
    # Nodes on a line, class by class, each as long as its weight.
    line = torch.cat([weight.new_zeros(1), weight[by_class].cumsum(0)])
    ends = torch.searchsorted(y[by_class], torch.arange(int(y.max()) + 2))
    first, last = line[ends[:-1]], line[ends[1:]]

    def node_at(point: Tensor) -> Tensor:
        place = torch.searchsorted(line, point, right=True).sub_(1)
        return by_class[place.clamp_(0, size - 1)]

    keys, draws = torch.empty(0, dtype=torch.int64), 0
    while keys.numel() < num_edges:
        if draws > _MOST_DRAWS * num_edges:
            raise ArgumentError(
                f"classes must have room for the edges inside them: {draws} draws with mixing "
                f"{mixing:g} gave {keys.numel()} different edges of {num_edges}; more mixing or "
                "fewer classes help"
            )
        # A few more than are missing, since some will repeat.
        count = min(int(1.1 * (num_edges - keys.numel())) + 64, _EDGES_AT_A_TIME)
        draws += count
        drawn = torch.rand(3, count, generator=generator, dtype=torch.float64)
        source = node_at(drawn[0] * line[-1])
        own = y[source]
        within = first[own] + drawn[1] * (last - first)[own]
        target = node_at(torch.where(drawn[2] < mixing, drawn[1] * line[-1], within))
        low, high = torch.minimum(source, target), torch.maximum(source, target)
        fresh = (low * size + high)[low != high]
        keys = torch.cat([keys, fresh]).unique()
    if keys.numel() > num_edges:
        kept = torch.randperm(keys.numel(), generator=generator)[:num_edges]
        keys = keys[kept]
    low, high = keys // size, keys % size
    both = torch.cat([keys, high * size + low]).sort().values
    return torch.stack([both // size, both % size])
