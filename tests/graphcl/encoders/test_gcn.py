"""`GCN` against PyG's `GCNConv` on the same weights, and against the dense formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch_geometric.nn import GCNConv

from graphcl.encoders import GCN, gcn_matrix
from graphcl.errors import ArgumentError, UnknownNameError
from graphcl.kernels.spmm import SparseMatrix


@st.composite
def graphs(draw):
    """Directed or not, weighted or not; repeated edges, self-loops (one per node at most)."""
    nodes = draw(st.integers(1, 9))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=25))
    loops = sorted({(a, b) for a, b in edges if a == b})
    edges = [(a, b) for a, b in edges if a != b]
    if draw(st.booleans()):
        edges = edges + [(b, a) for a, b in edges]
    edge_index = torch.tensor(edges + loops, dtype=torch.long).reshape(-1, 2).T.contiguous()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    weight = torch.rand(edge_index.size(1), generator=generator, dtype=torch.float64)
    return nodes, edge_index, draw(st.sampled_from([None, weight]))


def reference(gcn, x, edge_index, edge_weight, act):
    for layer, weight in enumerate(gcn.weights):
        conv = GCNConv(*weight.shape).double()
        with torch.no_grad():
            conv.lin.weight.copy_(weight.T)
            conv.bias.copy_(gcn.biases[layer])
        x = act(conv(x, edge_index, edge_weight))
    return x


@given(graphs())
@settings(max_examples=40, deadline=None)
def test_equals_pyg(sample):
    nodes, edge_index, edge_weight = sample
    generator = torch.Generator().manual_seed(0)
    # Widening and narrowing layers, so that both orders of multiplication occur.
    gcn = GCN(4, [7, 3, 3], activation="elu", generator=generator).double()
    with torch.no_grad():
        for bias in gcn.biases:
            bias.normal_(generator=generator)
    x = torch.randn(nodes, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    found = gcn(x, edge_index, edge_weight)
    expected = reference(gcn, x, edge_index, edge_weight, functional.elu)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(out.square().sum(), x)[0] for out in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_a_prepared_matrix_gives_the_same():
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    x = torch.randn(4, 5)
    gcn = GCN(5, [6])
    expected = gcn(x, edge_index)
    for undirected in (False, True):
        matrix = gcn_matrix(edge_index, 4, undirected=undirected)
        assert matrix.symmetric == undirected
        torch.testing.assert_close(gcn(x, matrix), expected)
    gradients = []
    for matrix in (gcn_matrix(edge_index, 4), gcn_matrix(edge_index, 4, undirected=True)):
        gcn.zero_grad()
        gcn(x, matrix).square().sum().backward()
        gradients.append(gcn.weights[0].grad)
    torch.testing.assert_close(*gradients)


def test_gradient_reaches_edge_weights():
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    weight = torch.rand(3, dtype=torch.float64).add(0.5).requires_grad_()
    gcn = GCN(2, [3], activation="identity").double()
    x = torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: gcn(x, edge_index, w), weight)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", functional.relu),
        ("elu", functional.elu),
        ("rrelu", functional.rrelu),
        ("prelu", lambda x: functional.leaky_relu(x, 0.25)),
    ],
)
def test_activations(name, function):
    x = torch.randn(3, 4)
    none = torch.empty(2, 0, dtype=torch.long)
    plain = GCN(4, [5], activation="identity")
    gcn = GCN(4, [5], activation=name)
    gcn.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(gcn(x, none), function(plain(x, none)))
    assert ("activations.0.weight" in gcn.state_dict()) == (name == "prelu")


def test_last_activation_can_be_left_out():
    x = torch.randn(30, 4)
    none = torch.empty(2, 0, dtype=torch.long)
    assert (GCN(4, [8, 5])(x, none) >= 0).all()
    assert (GCN(4, [8, 5], last_activation=False)(x, none) < 0).any()


def test_dropout_is_reproducible_and_only_in_training():
    x, edge_index = torch.ones(20, 30), torch.tensor([[0, 1], [1, 0]])
    gcn = GCN(30, [4], activation="identity", dropout=0.5)

    def run(seed):
        return gcn(x, edge_index, generator=torch.Generator().manual_seed(seed))

    before = torch.random.get_rng_state()
    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(0)
    assert not torch.equal(gcn(x, edge_index), gcn(x, edge_index))
    with torch.no_grad():
        gcn.weights[0].fill_(1)
        # Isolated rows sum 30 entries, each 0 or 2: mean 30, standard deviation sqrt(30).
        mean = torch.stack([run(seed)[2:] for seed in range(100)]).mean().item()
        assert abs(mean - 30) < 5 * (30 / (100 * 18)) ** 0.5
        gcn.eval()
        assert (run(0)[2:] == 30).all()


def test_initialisation_is_glorot_and_seeded():
    first, second = (GCN(300, [200], generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.weights[0], second.weights[0])
    bound = (6 / 500) ** 0.5
    assert bound * 0.99 < first.weights[0].abs().max() <= bound
    assert not first.biases[0].any()
    assert len(GCN(3, [4], bias=False).biases) == 0
    GCN(3, [4], bias=False)(torch.ones(2, 3), torch.tensor([[0], [1]]))


def test_misuse_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'prelu'"):
        GCN(3, [4], activation="preluu")
    with pytest.raises(ArgumentError, match="widths"):
        GCN(3, [])
    with pytest.raises(ArgumentError, match="widths"):
        GCN(3, [0])
    with pytest.raises(ArgumentError, match="dropout"):
        GCN(3, [4], dropout=1.0)
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0], [1]]), shape=2)
    with pytest.raises(ArgumentError, match="edge_weight goes with"):
        GCN(3, [4])(torch.ones(2, 3), matrix, torch.ones(1))
    with pytest.raises(ArgumentError, match="source id 5"):
        GCN(3, [4])(torch.ones(2, 3), torch.tensor([[5], [0]]))


def test_sparse_features_equal_dense_ones_in_value_and_gradient():
    from graphcl.kernels.spmm import SparseMatrix

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 9, generator=generator, dtype=torch.float64)
    x[x < 0.8] = 0
    edge_index = torch.randint(12, (2, 30), generator=generator)
    encoder = GCN(9, [7, 4], activation="elu", generator=generator).double()
    present = x.nonzero().T
    sparse = SparseMatrix.from_edge_index(present, x[present[0], present[1]], shape=(12, 9))
    kept = torch.rand(9, generator=generator) < 0.5
    gradients = []
    for features in (torch.where(kept, x, 0), sparse.keep_columns(kept)):
        encoder.zero_grad()
        encoder(features, edge_index).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in encoder.weights])
    for dense, from_sparse in zip(*gradients, strict=True):
        torch.testing.assert_close(dense, from_sparse, rtol=1e-12, atol=1e-12)
