"""Divide nodes or edges into train, validation and test, by name and seed.

Every split is drawn from a `torch.Generator` seeded with the given integer and depends on nothing
else, or is one of those that come with the data, by that integer; so a name and a seed say exactly
which nodes or edges were held out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphcl.data.assemble import MASKS
from graphcl.errors import ArgumentError, DataError, unknown_name

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True)
class NodeSplit:
    """Disjoint boolean masks (N,) over the nodes; `validation` may be empty by protocol.

    Nodes without a label are in none of them.
    """

    name: str
    seed: int
    train: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True)
class EdgeSplit:
    """Edges held out once each, and as many non-edges beside them.

    Attributes:
        train_edge_index: (2, 2T) int64, both directions of the T remaining edges, sorted by row
            then column.
        validation_positive: (2, k) held-out edges, each once with the smaller node first.
        validation_negative: (2, k) pairs that are no edge of the whole graph.
        test_positive: (2, m) held-out edges.
        test_negative: (2, m) pairs that are no edge and no validation negative.
    """

    train_edge_index: Tensor
    validation_positive: Tensor
    validation_negative: Tensor
    test_positive: Tensor
    test_negative: Tensor


def split_nodes(data: Data, name: str, seed: int) -> NodeSplit:
    """The node split called `name` (one of `NODE_SPLITS`) of a labelled graph.

    * `random-10-10-80`: 10 % train, 10 % validation, 80 % test (GCA, CCA-SSG).
    * `random-20-80`: 20 % train, 80 % test and no validation (BGRL's few-shot tables).
    * `grace-10-90`: 10 % train, 90 % test and no validation (GRACE).
    * `planetoid-public`: the split that comes with the data; the seed changes nothing.
    * `ogb`: the same, of a data set of the Open Graph Benchmark (Hu et al., 2020).
    * `wikics-20`: split number seed mod 20 of WikiCS' 20 (Mernyei and Cangea, 2020).
    * `given-splits`: split number seed mod S of the S that come with the data.
    * `random-20-per-class`: 20 train nodes of every class, then 500 validation and 1000 test
      nodes among the rest (Shchur et al., 2018, with Planetoid's sizes).

    Raises:
        UnknownNameError: no split is called so.
        DataError: the graph has no labels, no given split, or too few nodes.
    """
    if name not in NODE_SPLITS:
        raise unknown_name("split", name, NODE_SPLITS)
    return NODE_SPLITS[name](data, seed)


def random_split(
    data: Data, seed: int, fractions: Sequence[float] = (0.1, 0.1, 0.8), name: str | None = None
) -> NodeSplit:
    """A uniformly random split of the labelled nodes.

    Sizes are rounded down, except that the last part with a fraction takes the rest when the
    fractions sum to 1.

    Args:
        data: graph with `y` (N,).
        seed: of the permutation.
        fractions: of train, validation and test; 0 leaves a part empty.
        name: recorded in the result; default `random-T-V-S` in per cent.

    Raises:
        ArgumentError: a fraction is negative, there are not three, or they sum to more than 1.
        DataError: no labels, or so few nodes that a part with a fraction would be empty.
    """
    _check_fractions(fractions)
    nodes = _labelled(data)
    order = nodes[torch.randperm(len(nodes), generator=_generator(seed))]
    sizes = _sizes(len(nodes), fractions)
    if any(size == 0 and part > 0 for size, part in zip(sizes, fractions, strict=True)):
        raise DataError(
            f"{_called(data)} has too few labelled nodes ({len(nodes)}) for parts of "
            f"{', '.join(f'{part:g}' for part in fractions)}"
        )
    if name is None:
        name = "random-" + "-".join(f"{100 * part:g}" for part in fractions)
    bounds = (0, sizes[0], sizes[0] + sizes[1], sum(sizes))
    parts = [order[low:high] for low, high in itertools.pairwise(bounds)]
    return NodeSplit(name, seed, *(_mask(data, part) for part in parts))


def per_class_split(
    data: Data, seed: int, per_class: int = 20, validation: int = 500, test: int = 1000
) -> NodeSplit:
    """`per_class` random train nodes of every class, then random validation and test nodes.

    Raises:
        ArgumentError: a size is less than 1.
        DataError: no labels, a class with fewer nodes, or too few nodes for the other parts.
    """
    for what, size in (("per_class", per_class), ("validation", validation), ("test", test)):
        if size < 1:
            raise ArgumentError(f"{what} must be at least 1 (got {size})")
    nodes = _labelled(data)
    order = nodes[torch.randperm(len(nodes), generator=_generator(seed))]
    # Nodes in random order, grouped by class: the rank inside its group says who comes first.
    labels, by_class = data.y[order].sort(stable=True)
    classes, counts = labels.unique_consecutive(return_counts=True)
    if (counts < per_class).any():
        smallest = int(counts.argmin())
        raise DataError(
            f"class {int(classes[smallest])} of {_called(data)} has {int(counts[smallest])} nodes, "
            f"fewer than {per_class}"
        )
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[by_class[rank < per_class]] = True
    rest = order[~chosen]
    if len(rest) < validation + test:
        raise DataError(
            f"{_called(data)} has {len(rest)} labelled nodes beside its train nodes, fewer than "
            f"the {validation} + {test} of validation and test"
        )
    return NodeSplit(
        f"random-{per_class}-per-class",
        seed,
        _mask(data, order[chosen]),
        _mask(data, rest[:validation]),
        _mask(data, rest[validation : validation + test]),
    )


def public_split(data: Data, seed: int = 0) -> NodeSplit:
    """The one split that comes with the data; the seed changes nothing.

    Raises:
        DataError: as `given_split`; for Cora without a split the sentence names the file that
            brings it.
    """
    return given_split(data, seed, "planetoid-public", count=1)


def given_split(
    data: Data, seed: int, name: str = "given-splits", count: int | None = None
) -> NodeSplit:
    """Split number `seed` mod S of the S splits that come with the data.

    They are the columns of `train_mask`, `val_mask` and `test_mask`, each (N,) or (N, S); a mask
    (N,) is the same in every split. Nodes without a label are taken out of every mask.

    Args:
        data: labelled graph with the three masks.
        seed: of the run.
        name: recorded in the result.
        count: how many splits there must be; None takes any number.

    Raises:
        DataError: the data have no labels or no splits, or another number of them, or a mask of the
            split has no labelled node, or two of its masks share one.
    """
    if any(data.get(key) is None for key in MASKS):
        if data.get("name") == "cora":
            raise DataError(
                "the public split of cora needs the optional file linqs_ids.csv, which is not in "
                "the data root (as 'node/planetoid-cora/linqs_ids.csv'); without it use "
                "random-20-per-class"
            )
        raise DataError(
            f"{_called(data)} comes without a public split (train_mask, val_mask, test_mask); "
            "use random-10-10-80 or random-20-per-class"
        )
    splits = _number_of_splits(data)
    if count is not None and splits != count:
        raise DataError(
            f"{name} is for graphs with {_splits(count)}, and {_called(data)} comes with "
            f"{splits}; given-splits takes any number"
        )
    number, labelled = seed % splits, _mask(data, _labelled(data))
    which = f" in split {number}" if splits > 1 else ""
    parts = {}
    for key in MASKS:
        mask = data[key]
        # A mask of one column is that of every split too.
        column = mask if mask.dim() == 1 else mask[:, number % mask.shape[1]]
        parts[key] = column & labelled
        if not parts[key].any():
            raise DataError(
                f"{key} of {_called(data)} has no labelled node{which}; a public split needs at "
                f"least one in each of {', '.join(MASKS)}"
            )
    for (key, part), (other_key, other) in itertools.combinations(parts.items(), 2):
        if (part & other).any():
            shared = (part & other).nonzero().flatten()
            raise DataError(
                f"{key} and {other_key} of {_called(data)} must have no node in common{which} "
                f"(got {len(shared)}, the first being node {int(shared[0])})"
            )
    return NodeSplit(name, seed, *parts.values())


def _number_of_splits(data: Data) -> int:
    """S of the masks (N,) or (N, S)."""
    columns = {}
    for key in MASKS:
        mask = data[key]
        fits = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.dim() in (1, 2)
        if not fits or mask.shape[0] != data.num_nodes or mask.shape[-1] == 0:
            got = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask)
            raise DataError(
                f"{key} must hold {data.num_nodes} booleans, one a node, or as many for each of "
                f"several splits, one split a column (got {got})"
            )
        columns[key] = 1 if mask.dim() == 1 else mask.shape[1]
    several = {key: width for key, width in columns.items() if width > 1}
    if len(set(several.values())) > 1:
        told = ", ".join(f"{key} {width}" for key, width in several.items())
        raise DataError(f"the masks of {_called(data)} must be of equally many splits (got {told})")
    return max(columns.values())


def _splits(count: int) -> str:
    return "one given split" if count == 1 else f"{count} given splits"


NODE_SPLITS: dict[str, Callable[[Data, int], NodeSplit]] = {
    "random-10-10-80": lambda data, seed: random_split(data, seed, (0.1, 0.1, 0.8)),
    "random-20-80": lambda data, seed: random_split(data, seed, (0.2, 0.0, 0.8), "random-20-80"),
    "grace-10-90": lambda data, seed: random_split(data, seed, (0.1, 0.0, 0.9), "grace-10-90"),
    "planetoid-public": public_split,
    "ogb": lambda data, seed: given_split(data, seed, "ogb", count=1),
    "wikics-20": lambda data, seed: given_split(data, seed, "wikics-20", count=20),
    "given-splits": given_split,
    "random-20-per-class": per_class_split,
}


def split_edges(
    edge_index: Tensor,
    num_nodes: int,
    fractions: Sequence[float] = (0.85, 0.05, 0.10),
    seed: int = 0,
) -> EdgeSplit:
    """Hold out edges of an undirected graph for link prediction.

    An undirected pair is held out once, whichever directions `edge_index` lists; self loops are
    left out. Validation and test sizes are rounded down and train takes the rest (VGAE, Kipf and
    Welling 2016). Negatives are as many pairs as positives, uniform over all pairs of different
    nodes that are no edge of the whole graph, without repeats and without overlap.

    Args:
        edge_index: (2, E) int64.
        num_nodes: N.
        fractions: of train, validation and test; they sum to 1.
        seed: of edges and negatives alike.

    Raises:
        ArgumentError: the fractions are not three numbers in [0, 1] that sum to 1, or a node
            number is out of range.
        DataError: too few edges for a part with a fraction, or too few non-edges.
    """
    _check_fractions(fractions)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ArgumentError(f"edge fractions must sum to 1 (got {tuple(fractions)})")
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        raise ArgumentError(
            f"edge_index must hold nodes 0 to {num_nodes - 1} "
            f"(got {int(edge_index.min())} to {int(edge_index.max())})"
        )
    edge_index = edge_index.cpu()
    low, high = edge_index.min(dim=0).values, edge_index.max(dim=0).values
    pairs = torch.unique((low * num_nodes + high)[low != high])
    validation, test = (int(len(pairs) * part + 1e-9) for part in fractions[1:])
    train = len(pairs) - validation - test
    if any(
        size == 0 and part > 0
        for size, part in zip((train, validation, test), fractions, strict=True)
    ):
        raise DataError(
            f"the graph has too few edges ({len(pairs)}) to hold out parts of "
            f"{', '.join(f'{part:g}' for part in fractions)}"
        )
    generator = _generator(seed)
    order = pairs[torch.randperm(len(pairs), generator=generator)]
    negative = _sample_non_edges(pairs, num_nodes, validation + test, generator)
    remaining = _decode(order[validation + test :], num_nodes)
    both = torch.cat([remaining, remaining.flip(0)], dim=1)
    both = both[:, (both[0] * num_nodes + both[1]).argsort()]
    return EdgeSplit(
        train_edge_index=both,
        validation_positive=_decode(order[:validation], num_nodes),
        validation_negative=_decode(negative[:validation], num_nodes),
        test_positive=_decode(order[validation : validation + test], num_nodes),
        test_negative=_decode(negative[validation:], num_nodes),
    )


def _sample_non_edges(
    pairs: Tensor, num_nodes: int, count: int, generator: torch.Generator
) -> Tensor:
    """`count` different codes low * N + high (low < high) that are not in `pairs`, uniformly."""
    every = num_nodes * (num_nodes - 1) // 2
    if every - len(pairs) < count:
        raise DataError(
            f"the graph is too dense: {every - len(pairs)} pairs of nodes are no edge, fewer than "
            f"the {count} negatives asked for"
        )
    if every < 4 * (len(pairs) + count):
        # Dense: rejection would draw for long, and listing all pairs costs no more than the edges.
        low, high = torch.triu_indices(num_nodes, num_nodes, offset=1)
        codes = low * num_nodes + high
        free = codes[~torch.isin(codes, pairs)]
        return free[torch.randperm(len(free), generator=generator)[:count]]
    found = pairs.new_empty(0)
    while len(found) < count:
        # At least three of four draws are free, so a round or two is enough.
        draw = torch.randint(num_nodes, (2, 2 * count), generator=generator)
        low, high = draw.min(dim=0).values, draw.max(dim=0).values
        codes = (low * num_nodes + high)[low != high]
        found = torch.unique(torch.cat([found, codes[~torch.isin(codes, pairs)]]))
    # The distinct draws are exchangeable, so a random part of them is a uniform sample.
    return found[torch.randperm(len(found), generator=generator)[:count]]


def _decode(codes: Tensor, num_nodes: int) -> Tensor:
    return torch.stack([codes // num_nodes, codes % num_nodes])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or any(not 0 <= part <= 1 for part in fractions):
        raise ArgumentError(f"fractions must be three numbers in [0, 1] (got {tuple(fractions)})")
    if sum(fractions) > 1 + 1e-6:
        raise ArgumentError(f"fractions must sum to 1 or less (got {tuple(fractions)})")


def _sizes(count: int, fractions: Sequence[float]) -> list[int]:
    # 1e-9 keeps 0.1 * 30, a little below 3 in floating point, from losing a node.
    sizes = [int(count * part + 1e-9) for part in fractions]
    if abs(sum(fractions) - 1) <= 1e-6:
        last = max(place for place, part in enumerate(fractions) if part > 0)
        sizes[last] += count - sum(sizes)
    return sizes


def _labelled(data: Data) -> Tensor:
    labels = data.get("y")
    if labels is None or not (labels >= 0).any():
        raise DataError(f"{_called(data)} has no labels, so its nodes cannot be split")
    return (labels >= 0).nonzero().flatten()


def _mask(data: Data, nodes: Tensor) -> Tensor:
    mask = torch.zeros(len(data.y), dtype=torch.bool)
    mask[nodes] = True
    return mask


def _called(data: Data) -> str:
    name = data.get("name")
    return f"graph '{name}'" if name else "the graph"
