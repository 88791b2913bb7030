"""Public operators on a device, with generators of either side, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphcl.encoders import GCN, MLP, MovingAverage, ProjectionHead, SemanticAttention
from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix, drop_entries, keep_probability, spmm
from graphcl.kernels.topk import Lists, rank_items
from graphcl.train.guard import check_losses
from recsys.data import Interactions
from recsys.methods.bpr import BPRMF
from recsys.recommend import Recommendations
from recsys.views.neighbours import NeighbourTable

ENCODERS = {
    "GCN": lambda generator: GCN(6, [8, 4], generator=generator),
    "MLP": lambda generator: MLP(6, [8, 4], generator=generator),
    "ProjectionHead": lambda generator: ProjectionHead(6, 4, generator=generator),
    "SemanticAttention": lambda generator: SemanticAttention(6, generator=generator),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_begin_alike_wherever_the_generator_lives(device, name):
    parts = []
    for place in ("cpu", device):
        module = ENCODERS[name](torch.Generator(place).manual_seed(3))
        parts.append([parameter.detach().clone() for parameter in module.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*parts, strict=True))


def test_a_copy_on_the_device_starts_from_a_generator_on_the_cpu(device):
    mlp = MLP(6, [8]).to(device)
    slow = MovingAverage(mlp, reset=True, generator=torch.Generator().manual_seed(0))
    begun, learned = slow.state_dict().values(), mlp.state_dict().values()
    for one, other in zip(begun, learned, strict=True):
        assert one.device == device
        assert not torch.equal(one.cpu(), other.cpu())


def graph(device) -> SparseMatrix:
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    return SparseMatrix.from_edge_index(edges.to(device), shape=3, symmetric=True)


def test_two_devices_are_refused_before_a_kernel_is_called(device):
    scores, vectors = torch.rand(2, 4), torch.rand(4, 3)
    pointer, items = torch.tensor([0, 1, 1]), torch.tensor([2])
    with pytest.raises(ArgumentError, match="excluded must be on the scores' device cpu"):
        rank_items(scores, k=2, excluded=Lists(pointer.to(device), items.to(device)))
    with pytest.raises(ArgumentError, match="must be on one device, got cpu and simulated"):
        rank_items((torch.rand(2, 3), vectors.to(device)), k=2)
    kept = keep_probability(graph(device), torch.full((4,), 0.5, device=device))
    with pytest.raises(ArgumentError, match="must be on the matrix's device cpu, got simulated"):
        drop_entries(graph("cpu"), kept)


def test_products_and_ranks_equal_the_cpu(device):
    x = torch.rand(3, 2)
    assert torch.allclose(spmm(graph(device), x.to(device)).cpu(), spmm(graph("cpu"), x))
    scores = torch.rand(5, 7)
    there = rank_items(scores.to(device), k=3)
    assert torch.equal(there.ids.cpu(), rank_items(scores, k=3).ids)


def test_a_constant_part_of_the_loss_on_the_cpu(device):
    parts = {"total": torch.ones((), device=device), "constant": torch.zeros(())}
    check_losses(parts, 1, 1)


def test_a_table_of_neighbours_elsewhere_is_refused(device):
    table = NeighbourTable(torch.tensor([[1], [0]]))
    with pytest.raises(ArgumentError, match="must be on the table's device cpu, got simulated"):
        table.draw(torch.tensor([0, 1]).to(device), None)


def test_recommendations_from_a_log_on_the_device(device):
    log = Interactions.from_indices(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 2]))
    torch.manual_seed(0)
    method = BPRMF(BPRMF.Config(), log)
    here = Recommendations(method, log).for_users([0, 1], k=1)
    moved = BPRMF(BPRMF.Config(), log.to(device)).to(device)
    nn.Module.load_state_dict(moved, method.state_dict())
    there = Recommendations(moved, log.to(device)).for_users([0, 1], k=1)
    assert here["item"].tolist() == there["item"].tolist()
