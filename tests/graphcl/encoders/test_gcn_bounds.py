"""Bounds of a GCN's outputs against every graph that the budget allows."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from graphcl.encoders import GCN, MLP, gcn_matrix
from graphcl.encoders.gcn_bounds import edge_budget, matrix_bounds, score_bound
from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

ACTIVATIONS = ("relu", "prelu", "rrelu", "identity")


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def both_ways(pairs: list[tuple[int, int]]) -> Tensor:
    edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    return torch.cat([edges, edges.flip(0)], dim=1)


def random_pairs(nodes: int, share: float, seed: int) -> list[tuple[int, int]]:
    adjacent = torch.rand(nodes, nodes, generator=seeded(seed)).triu(1) > 1 - share
    return [tuple(pair) for pair in adjacent.nonzero().tolist()]


def allowed_matrices(pairs: list[tuple[int, int]], budget: Tensor) -> Tensor:
    """Propagation matrices (graphs, N, N) of every graph in which no node exceeds its budget."""
    nodes = len(budget)
    kept = torch.tensor(list(itertools.product([0, 1], repeat=len(pairs))))
    ends = torch.zeros(len(pairs), nodes, dtype=torch.long)
    for number, pair in enumerate(pairs):
        ends[number, list(pair)] = 1
    kept = kept[((1 - kept) @ ends <= budget).all(dim=1)]
    adjacent = torch.eye(nodes).repeat(len(kept), 1, 1)
    for number, (u, v) in enumerate(pairs):
        adjacent[:, u, v] = adjacent[:, v, u] = kept[:, number].to(adjacent.dtype)
    root = adjacent.sum(dim=2).rsqrt()
    return root[:, :, None] * adjacent * root[:, None, :]


def encoder(activation: str, seed: int, slope: float = 0.25) -> GCN:
    gcn = GCN(4, [5, 3], activation=activation, generator=seeded(seed))
    for bias in gcn.biases:
        bias.data.normal_(generator=seeded(seed + 1))
    for module in gcn.activations:
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.fill_(slope)
    return gcn


@torch.no_grad()
def worst_scores(gcn: GCN, x: Tensor, matrices: Tensor, weight: Tensor) -> Tensor:
    """(N,) the smallest w_i . z_i by trying every graph."""
    hidden = x
    for w, b, activation in zip(gcn.weights, gcn.biases, gcn.activations, strict=True):
        hidden = activation(matrices @ (hidden @ w) + b)
    return (hidden * weight).sum(dim=2).amin(dim=0)


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_true_bounds_hold_on_every_allowed_graph(activation: str, slope: float) -> None:
    nodes, tighter = 6, 0
    for seed in range(4):
        pairs = random_pairs(nodes, 0.55, seed)
        edges = both_ways(pairs)
        budget = edge_budget(edges, nodes, 0.5)
        matrices = allowed_matrices(pairs, budget)
        assert len(matrices) > 5
        gcn = encoder(activation, seed, slope)
        x, weight = (torch.randn(nodes, width, generator=seeded(seed)) for width in (4, 3))
        worst = worst_scores(gcn, x, matrices, weight)
        bounds = matrix_bounds(edges, nodes, budget, undirected=True)
        intervals = score_bound(gcn, x, bounds, weight, bound="interval")
        rows = score_bound(gcn, x, bounds, weight, bound="rows")
        assert (intervals <= worst + 1e-9).all()
        assert (rows <= worst + 1e-9).all()
        assert (rows >= intervals).all()
        tighter += int((rows > intervals + 1e-9).sum())
    assert tighter > 0


@pytest.mark.parametrize("tight", [True, False])
def test_entries_stay_within_their_bounds(tight: bool) -> None:
    nodes = 6
    for seed in range(5):
        pairs = random_pairs(nodes, 0.5, seed)
        edges = both_ways(pairs)
        budget = edge_budget(edges, nodes, 0.5)
        bounds = matrix_bounds(edges, nodes, budget, undirected=True, tight=tight)
        lower, upper = bounds.lower.to_dense(), bounds.upper.to_dense()
        matrices = allowed_matrices(pairs, budget)
        torch.testing.assert_close(matrices[-1], gcn_matrix(edges, nodes).to_dense())
        assert (lower <= matrices + 1e-12).all()
        assert (matrices <= upper + 1e-12).all()


def test_directions_that_are_lost_apart_stay_within_their_bounds() -> None:
    """A node that cannot lose an edge of its own may be the source of one that another loses."""
    edges = torch.tensor([[0, 1, 2, 3, 0], [3, 3, 3, 0, 2]])
    budget = edge_budget(edges, 4, 0.6)
    assert budget.tolist() == [0, 0, 0, 2]
    bounds = matrix_bounds(edges, 4, budget)
    lower, upper = bounds.lower.to_dense(), bounds.upper.to_dense()
    for kept in itertools.product([False, True], repeat=5):
        lost = edges[1, ~torch.tensor(kept)]
        if (torch.bincount(lost, minlength=4) > budget).any():
            continue
        matrix = gcn_matrix(edges[:, torch.tensor(kept)], 4).to_dense()
        assert (lower <= matrix + 1e-12).all()
        assert (matrix <= upper + 1e-12).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_to_lose_leaves_the_score_itself(activation: str) -> None:
    pairs = random_pairs(7, 0.5, 1)
    edges = both_ways(pairs)
    gcn = encoder(activation, 3)
    x, weight = (torch.randn(7, width, generator=seeded(5)) for width in (4, 3))
    exact = (gcn(x, edges) * weight).sum(dim=1)
    bounds = matrix_bounds(edges, 7, torch.zeros(7, dtype=torch.long), undirected=True)
    for bound in ("interval", "rows"):
        torch.testing.assert_close(score_bound(gcn, x, bounds, weight, bound=bound), exact)


def dense_released(
    gcn: GCN, x: Tensor, edges: Tensor, budget: Tensor, weight: Tensor, sampled: Tensor
) -> Tensor:
    """The authors' composition with dense matrices and loops, from the formulas of the paper."""
    nodes = len(x)
    whole = gcn_matrix(edges, nodes).to_dense()
    degree = torch.bincount(edges[1], minlength=nodes) + 1.0
    upper, lower = torch.zeros(nodes, nodes), torch.zeros(nodes, nodes)
    for i, j in itertools.product(range(nodes), repeat=2):
        if whole[i, j] > 0:
            upper[i, j] = ((degree[i] - budget[i]) * (degree[j] - budget[j])) ** -0.5
    lower.diagonal().copy_(whole.diagonal())
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    activation, slope = gcn.activations[0], 0.25
    (w1, w2), (b1, b2) = gcn.weights, gcn.biases
    h1 = activation(whole @ x @ w1 + b1)
    lines = []
    for values, bias in ((x @ w1, b1), (h1 @ w2, b2)):
        low = centre @ values - radius @ values.abs() + bias
        high = centre @ values + radius @ values.abs() + bias
        k, beta = torch.ones_like(low), torch.zeros_like(low)
        for place in itertools.product(*map(range, low.shape)):
            least, most = low[place], high[place]
            if most <= 0:
                k[place] = slope
            elif least < 0:
                k[place] = (most - slope * least) / (most - least)
                beta[place] = (slope - 1) * most * least / (most - slope * least)
        lines.append((k, beta))
    (k1, beta1), (k2, beta2) = lines
    lambda2 = weight * k2
    constant2 = (lambda2 * (torch.where(weight >= 0, 0.0, beta2) + b2)).sum(dim=1)
    weight2 = lambda2 @ w2.T
    lambda1 = weight2 * k1
    constant1 = (lambda1 * (torch.where(weight2 >= 0, 0.0, beta1) + b1)).sum(dim=1)
    weight1 = lambda1 @ w1.T
    return sampled @ (sampled @ (x * weight1).sum(dim=1) + constant1) + constant2


def test_the_released_estimate_is_the_dense_one() -> None:
    nodes = 9
    edges = both_ways(random_pairs(nodes, 0.5, 2))
    budget = edge_budget(edges, nodes, 0.4)
    gcn = encoder("prelu", 0)
    x, weight = (torch.randn(nodes, width, generator=seeded(1)) for width in (4, 3))
    sampled = gcn_matrix(both_ways(random_pairs(nodes, 0.5, 2)[::2]), nodes)
    bounds = matrix_bounds(edges, nodes, budget, undirected=True, tight=False)
    found = score_bound(gcn, x, bounds, weight, bound="released", sampled=sampled)
    wanted = dense_released(gcn, x, edges, budget, weight, sampled.to_dense())
    torch.testing.assert_close(found, wanted)


def test_the_released_estimate_is_no_bound() -> None:
    """It exceeds the smallest score for many nodes: the reason why it is not called a bound."""
    above = total = 0
    for seed in range(6):
        pairs = random_pairs(6, 0.6, seed)
        edges = both_ways(pairs)
        budget = edge_budget(edges, 6, 0.5)
        gcn = encoder("relu", seed)
        x, weight = (torch.randn(6, width, generator=seeded(seed)) for width in (4, 3))
        bounds = matrix_bounds(edges, 6, budget, undirected=True, tight=False)
        sampled = gcn_matrix(edges, 6)
        found = score_bound(gcn, x, bounds, weight, bound="released", sampled=sampled)
        worst = worst_scores(gcn, x, allowed_matrices(pairs, budget), weight)
        above += int((found > worst + 1e-9).sum())
        total += 6
    assert above > total / 4


def test_gradients_of_every_estimate() -> None:
    edges = both_ways(random_pairs(5, 0.6, 0))
    gcn = encoder("prelu", 0)
    bounds = matrix_bounds(edges, 5, edge_budget(edges, 5, 0.5), undirected=True)
    x, weight = (torch.randn(5, width, generator=seeded(2)) for width in (4, 3))
    sampled = gcn_matrix(edges, 5)
    names = [name for name, _ in gcn.named_parameters()]
    for bound in ("released", "interval", "rows"):

        def value(*parameters: Tensor, bound: str = bound) -> Tensor:
            for name, parameter in zip(names, parameters, strict=True):
                owner, key = gcn.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
                owner._parameters[key] = parameter
            return score_bound(gcn, x, bounds, weight, bound=bound, sampled=sampled)

        start = tuple(
            parameter.detach().clone().requires_grad_("activations" not in name)
            for name, parameter in gcn.named_parameters()
        )
        assert torch.autograd.gradcheck(value, start, fast_mode=True)


def test_sparse_features_and_no_nodes() -> None:
    edges = both_ways(random_pairs(6, 0.5, 4))
    gcn = encoder("relu", 1)
    x, weight = (torch.randn(6, width, generator=seeded(3)) for width in (4, 3))
    bounds = matrix_bounds(edges, 6, edge_budget(edges, 6, 0.3), undirected=True)
    rows, columns = x.nonzero(as_tuple=True)
    sparse = SparseMatrix.from_edge_index(torch.stack([rows, columns]), x.flatten(), shape=(6, 4))
    for bound in ("interval", "rows"):
        found = score_bound(gcn, sparse, bounds, weight, bound=bound)
        torch.testing.assert_close(found, score_bound(gcn, x, bounds, weight, bound=bound))
    nothing = matrix_bounds(edges[:, :0], 0, torch.zeros(0, dtype=torch.long))
    assert score_bound(gcn, x[:0], nothing, weight[:0], bound="rows").shape == (0,)


def test_budget_leaves_an_edge_and_follows_the_probabilities() -> None:
    edges = both_ways([(0, 1), (0, 2), (0, 3), (0, 4)])
    assert edge_budget(edges, 6, 0.5).tolist() == [2, 0, 0, 0, 0, 0]
    assert edge_budget(edges, 6, 1.0).tolist() == [3, 0, 0, 0, 0, 0]
    probability = torch.tensor([0.9, 0.9, 0.1, 0.1] * 2)
    assert edge_budget(edges, 6, probability)[0] == 2
    assert edge_budget(torch.tensor([[0, 0], [0, 1]]), 2, 1.0).tolist() == [0, 0]


def test_what_cannot_be_bounded_is_refused() -> None:
    edges = both_ways([(0, 1)])
    bounds = matrix_bounds(edges, 2, torch.zeros(2, dtype=torch.long))
    x, weight = torch.randn(2, 4), torch.randn(2, 3)
    for gcn, words in (
        (GCN(4, [3]), "1 layers"),
        (GCN(4, [5, 3], normalisation="batch"), "with normalisation"),
        (GCN(4, [5, 3], dropout=0.5), r"dropout 0\.5"),
        (GCN(4, [5, 3], activation="elu"), "got ELU"),
        (MLP(4, [5, 3]), "got MLP"),
    ):
        with pytest.raises(ArgumentError, match=words):
            score_bound(gcn, x, bounds, weight, bound="interval")
    gcn = GCN(4, [5, 3])
    with pytest.raises(ArgumentError, match="give `sampled`"):
        score_bound(gcn, x, bounds, weight)
    with pytest.raises(ArgumentError, match="bound must be"):
        score_bound(gcn, x, bounds, weight, bound="exact")
    with pytest.raises(ArgumentError, match=r"weight must have shape \(2, 3\)"):
        score_bound(gcn, x, bounds, weight[:, :2], bound="rows")
    with pytest.raises(ArgumentError, match="budget must have shape"):
        matrix_bounds(edges, 2, torch.zeros(3))
    with pytest.raises(ArgumentError, match="smaller than the degree"):
        matrix_bounds(edges, 2, torch.full((2,), 2))
