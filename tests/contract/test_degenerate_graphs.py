"""Every graph method on graphs that a data set never is: a finite answer or a named error.

Graphs are handed to the methods directly, without the loader, which would straighten them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from graphcl.app.catalogue import load_class
from graphcl.config import configure
from graphcl.errors import GraphclError
from graphcl.methods import METHODS
from graphcl.methods.graph_method import GraphMethod

HOMOGENEOUS = {
    name: method_class
    for name in METHODS
    for method_class in [load_class("method", name, METHODS)]
    if method_class.tasks != ("heterogeneous-node-classification",)
}
SMALL = {
    "dimension": 4, "projection": 4, "hidden": 6, "predictor": 6, "widths": (6, 4),
    "communities": 3, "pretrain_epochs": 1, "top_k": 4, "clusters": 2,
    "encoder": {"GCN": {"widths": [6, 4]}}, "host_settings": {"dimension": 4, "projection": 4},
}  # fmt: skip
"""Settings that make a method quick, where it has them."""

SPECIAL = {"csgcl": {"communities": "leiden"}, "cca-ssg": {"encoder": "gcn"}}


def config_of(name: str, method_class: Any) -> Any:
    fields = method_class.Config.model_fields
    chosen = {key: value for key, value in SMALL.items() if key in fields}
    return configure(method_class.Config, chosen | SPECIAL.get(name, {}))


def step_and_embed(name: str, method_class: Any, data: Data) -> torch.Tensor:
    """One epoch's loss and gradient and the embeddings after it, everything finite."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    method = method_class(config_of(name, method_class), data)
    if method.trainable:
        optimizer = method.optimizer()
        method.train()
        method.epoch_start(1, generator)
        for batch in method.batches(generator):
            parts = method.loss(batch, generator)
            for part, value in parts.items():
                assert torch.isfinite(value).all(), part
            parts["total"].backward()
            for key, parameter in method.named_parameters():
                assert parameter.grad is None or torch.isfinite(parameter.grad).all(), key
            optimizer.step()
    method.eval()
    embedding = method.embed(data)
    assert embedding.shape[0] == data.num_nodes
    assert torch.isfinite(embedding).all()
    if hasattr(method, "assign_clusters"):
        assert method.assign_clusters(data).shape == (data.num_nodes,)
    return embedding


def graph(nodes: int, edges: list[tuple[int, int]], x: torch.Tensor) -> Data:
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T.contiguous()
    weight = 1.0 + edge_index.sum(dim=0).float()
    # Labels for the supervised method: a class with one node where there are several.
    y = torch.zeros(nodes, dtype=torch.long)
    y[:1] = 1
    return Data(x=x, edge_index=edge_index, edge_weight=weight, y=y, num_nodes=nodes)


@st.composite
def graphs(draw: Any) -> Data:
    """Empty, of one node, with isolated nodes, self-loops, repeats, directed or not."""
    nodes = draw(st.integers(0, 7))
    node = st.integers(0, max(0, nodes - 1))
    edges = draw(st.lists(st.tuples(node, node), max_size=14 if nodes else 0))
    if draw(st.booleans()):
        edges = edges + [(v, u) for u, v in edges if u != v]
    kind = draw(st.sampled_from(["binary", "zero", "constant", "signed"]))
    x = torch.randn(nodes, 5, generator=torch.Generator().manual_seed(draw(st.integers(0, 50))))
    x = {"binary": (x > 0).float(), "zero": 0 * x, "constant": 0 * x + 3, "signed": x}[kind]
    return graph(nodes, edges, x)


all_methods = pytest.mark.parametrize("name", HOMOGENEOUS)


@all_methods
@given(data=graphs())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_graph_gives_a_finite_answer_or_a_named_error(name: str, data: Data) -> None:
    refusal = None
    try:
        step_and_embed(name, HOMOGENEOUS[name], data)
    except GraphclError as error:
        refusal = error
    # Only where there is too little to compare.
    assert refusal is None or data.num_nodes < 2


def ring(nodes: int) -> list[tuple[int, int]]:
    pairs = [(i, (i + 1) % nodes) for i in range(nodes)]
    return pairs + [(v, u) for u, v in pairs]


@all_methods
@pytest.mark.parametrize(
    "data",
    [
        graph(6, [], torch.eye(6, 5)),
        graph(6, [(i, i) for i in range(6)], torch.eye(6, 5)),
        graph(6, [(i, j) for i in range(6) for j in range(6) if i != j], torch.ones(6, 5)),
        graph(8, [*ring(8)[:12], (5, 5), (0, 1), (1, 0)], torch.eye(8, 5)),
    ],
    ids=["no edges", "self-loops only", "one community, constant features", "mixed"],
)
def test_graphs_without_structure(name: str, data: Data) -> None:
    step_and_embed(name, HOMOGENEOUS[name], data)


@pytest.mark.parametrize(
    "name", [name for name, found in HOMOGENEOUS.items() if issubclass(found, GraphMethod)]
)
def test_a_directed_graph_is_not_taken_for_an_undirected_one(name: str) -> None:
    edges = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    for both in (False, True):
        data = graph(4, edges + [(v, u) for u, v in edges] * both, x)
        method = HOMOGENEOUS[name](config_of(name, HOMOGENEOUS[name]), data)
        matrix = method.matrix_of(data)
        assert matrix.symmetric == both
        # Messages come from the sources of a node's incoming edges.
        dense = matrix.to_dense()
        assert bool(dense[1, 0] > 0)
        assert bool(dense[0, 1] > 0) == both
