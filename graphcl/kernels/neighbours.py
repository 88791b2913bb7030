"""Samples of a graph: some neighbours of some nodes, and the edges among given nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import Backend, NeighbourSample, address, call, use_compiled
from graphcl.kernels.edge_hash import draw_seed, edge_draws
from graphcl.kernels.sparse_matrix import SparseMatrix


@dataclass(frozen=True)
class Subgraph:
    """Some nodes and edges of a graph.

    Attributes:
        nodes: (n,) int64, their numbers in the graph.
        edge_index: (2, e) int64, edges from source to target, numbered by their place in `nodes`.
        entry: (e,) int64, which entries of the graph's matrix they are.
    """

    nodes: Tensor
    edge_index: Tensor
    entry: Tensor


def sample_neighbours(
    graph: SparseMatrix,
    seeds: Tensor,
    fan_outs: Sequence[int],
    generator: torch.Generator | None = None,
    *,
    backend: Backend = "auto",
) -> Subgraph:
    """The seeds, some neighbours of each, some neighbours of those, and the edges to them.

    Neighbour sampling of GraphSAGE (Hamilton et al., NeurIPS 2017): hop h takes `fan_outs[h]` of
    the incoming edges of every node that the hop before met for the first time, without
    replacement, all where there are fewer. What L layers compute for the seeds needs L hops.

    Args:
        graph: (N, N), rows are targets: `SparseMatrix.from_edge_index(..., rows="target")`.
        seeds: (B,) int64, distinct. They are the first B of the sample's nodes.
        fan_outs: one number a hop, at least 0, some tens at most; -1 takes all.
        generator: source of one seed a hop.
        backend: "native" in compiled code on the CPU, "torch" anywhere; the same sample from the
            same generator state. "auto" takes the first that can.

    Returns:
        `Subgraph`; memory and time are those of the sample, and 4 N bytes.

    Raises:
        ArgumentError: seeds that repeat or are out of range, a matrix that is not square, a bad
            fan-out.
    """
    size = graph.shape[0]
    if size != graph.shape[1]:
        raise ArgumentError(f"sampling needs a square matrix, got shape {graph.shape}")
    if any(isinstance(k, bool) or not isinstance(k, int) or k < -1 for k in fan_outs):
        raise ArgumentError(f"fan_outs must be integers of at least -1, got {list(fan_outs)}")
    _check_nodes("seeds", seeds, size)
    draws = [draw_seed(generator) for _ in fan_outs]
    if use_compiled(backend, graph.value, seeds):
        return _compiled(graph, seeds, fan_outs, draws)
    return _hop_by_hop(graph, seeds, fan_outs, draws)


def induced_subgraph(graph: SparseMatrix, nodes: Tensor) -> Subgraph:
    """Some nodes and all edges between them.

    Args:
        graph: (N, N), rows are targets.
        nodes: (n,) int64, distinct; their order stays.

    Returns:
        `Subgraph`, edges ordered by target. Time is that of all edges of the nodes, and 4 N bytes.

    Raises:
        ArgumentError: nodes that repeat or are out of range.
    """
    _check_nodes("nodes", nodes, graph.shape[0])
    number = torch.full((graph.shape[0],), -1, dtype=torch.int32, device=nodes.device)
    number[nodes] = torch.arange(nodes.numel(), dtype=torch.int32, device=nodes.device)
    target, entry = _all_entries(graph, nodes)
    source = number[graph.column[entry]].long()
    inside = source >= 0
    return Subgraph(nodes, torch.stack([source[inside], target[inside]]), entry[inside])


def _check_nodes(name: str, nodes: Tensor, size: int) -> None:
    if nodes.dim() != 1 or nodes.dtype != torch.int64:
        raise ArgumentError(
            f"{name} must be a vector of int64, got {nodes.dtype} of shape {tuple(nodes.shape)}"
        )
    if nodes.numel() == 0:
        return
    low, high = (int(bound) for bound in nodes.aminmax())
    if low < 0 or high >= size:
        raise ArgumentError(f"{name} must lie in [0, {size}), got {low} to {high}")
    if nodes.unique().numel() != nodes.numel():
        raise ArgumentError(f"{name} must be distinct")


def _compiled(
    graph: SparseMatrix, seeds: Tensor, fan_outs: Sequence[int], draws: list[int]
) -> Subgraph:
    pointer, column = graph.compact()
    # Room for all that may be met; no node is expanded twice.
    size, frontier, edges = graph.shape[0], seeds.numel(), 0
    for k in fan_outs:
        frontier = graph.entries if k < 0 else min(frontier * k, graph.entries)
        edges = min(edges + frontier, graph.entries)
    node = torch.empty(min(seeds.numel() + edges, size), dtype=torch.int64)
    node[: seeds.numel()] = seeds
    source, target, entry = (torch.empty(edges, dtype=torch.int64) for _ in range(3))
    number = torch.full((size,), -1, dtype=torch.int32)
    wanted, seed = torch.tensor(list(fan_outs), dtype=torch.int64), torch.tensor(draws)
    sample = NeighbourSample(
        seeds=seeds.numel(),
        hops=len(draws),
        pointer=address(pointer),
        column=address(column),
        fan_out=address(wanted),
        seed=address(seed),
        number=address(number),
        node=address(node),
        source=address(source),
        target=address(target),
        entry=address(entry),
    )
    call("sample_neighbours", sample)
    count = sample.edges
    # Copies, so that the room for more is given back.
    return Subgraph(
        node[: sample.nodes].clone(),
        torch.stack([source[:count], target[:count]]),
        entry[:count].clone(),
    )


def _hop_by_hop(
    graph: SparseMatrix, seeds: Tensor, fan_outs: Sequence[int], draws: list[int]
) -> Subgraph:
    number = torch.full((graph.shape[0],), -1, dtype=torch.int64, device=seeds.device)
    number[seeds] = torch.arange(seeds.numel(), device=seeds.device)
    nodes, frontier = seeds, seeds
    targets, entries = [seeds[:0]], [seeds[:0]]
    for k, seed in zip(fan_outs, draws, strict=True):
        target, entry = _some_entries(graph, frontier, k, seed)
        targets.append(target + nodes.numel() - frontier.numel())
        entries.append(entry)
        met = graph.column[entry]
        frontier = met[number[met] < 0].unique()
        number[frontier] = nodes.numel() + torch.arange(frontier.numel(), device=seeds.device)
        nodes = torch.cat([nodes, frontier])
    entry = torch.cat(entries)
    return Subgraph(nodes, torch.stack([number[graph.column[entry]], torch.cat(targets)]), entry)


def _all_entries(graph: SparseMatrix, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """For all entries of some rows: the place of the row in `nodes`, and the entry."""
    begin = graph.row_pointer[nodes]
    count = graph.row_pointer[nodes + 1] - begin
    place = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    within = torch.arange(place.numel(), device=nodes.device) - before[place]
    return place, begin[place] + within


def _some_entries(
    graph: SparseMatrix, nodes: Tensor, wanted: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The same for `wanted` entries of each row, by Floyd's algorithm as in sampling.cpp."""
    begin = graph.row_pointer[nodes]
    count = graph.row_pointer[nodes + 1] - begin
    if wanted < 0 or nodes.numel() == 0 or int(count.max()) <= wanted:
        return _all_entries(graph, nodes)
    many = (count > wanted).nonzero().view(-1)
    chosen = torch.empty(many.numel(), wanted, dtype=torch.int64, device=nodes.device)
    for taken in range(wanted):
        last = count[many] - wanted + taken
        draw = edge_draws(nodes[many], torch.full_like(many, taken), seed)
        place = (draw * (last + 1)) >> 30
        known = (chosen[:, :taken] == place[:, None]).any(1)
        chosen[:, taken] = torch.where(known, last, place)
    few = (count <= wanted).nonzero().view(-1)
    place, entry = _all_entries(graph, nodes[few])
    place = torch.cat([few[place], many.repeat_interleave(wanted)])
    entry = torch.cat([entry, (begin[many, None] + chosen).view(-1)])
    order = torch.argsort(entry)
    order = order[torch.argsort(place[order], stable=True)]
    return place[order], entry[order]
