"""`ProjectionHead` and `MLP` against their formulas; seeded on request."""

import pytest
import torch
from torch.nn import functional

from graphcl.encoders import MLP, ProjectionHead
from graphcl.errors import ArgumentError, UnknownNameError
from graphcl.kernels.spmm import SparseMatrix
from graphcl.losses import info_nce


def test_equals_the_formula():
    head = ProjectionHead(4, 6, 3)
    x = torch.randn(5, 4)
    hidden = functional.elu(x @ head.first.weight.T + head.first.bias)
    torch.testing.assert_close(head(x), hidden @ head.second.weight.T + head.second.bias)
    assert ProjectionHead(4, 6)(x).shape == (5, 4)


@pytest.mark.parametrize("hidden", [2, 6, 7, 12])
def test_rotated_is_the_output_up_to_a_rotation(hidden):
    head = ProjectionHead(5, hidden, 8, generator=torch.Generator().manual_seed(0)).double()
    first, second = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1)).double()
    assert head.rotated(first).shape[1] == min(8, hidden + 1)

    def value_and_gradients(project):
        loss = info_nce(project(first), project(second), 0.3, intra_view=True)
        products = project(first) @ project(second).T
        total = loss + products.sin().sum()
        return products, torch.autograd.grad(total, list(head.parameters()))

    torch.testing.assert_close(value_and_gradients(head.rotated), value_and_gradients(head))


def test_rotated_where_the_second_layer_has_no_full_rank():
    head = ProjectionHead(5, 3, 8).double()
    with torch.no_grad():
        head.second.weight[:, 1] = head.second.weight[:, 0]
        head.second.bias.zero_()
    x = torch.randn(6, 5).double()
    products = head.rotated(x) @ head.rotated(x).T
    torch.testing.assert_close(products, head(x) @ head(x).T)
    products.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_seeded():
    before = None
    for _ in range(2):
        head = ProjectionHead(4, 6, generator=torch.Generator().manual_seed(1))
        state = torch.cat([p.flatten() for p in head.parameters()])
        assert before is None or torch.equal(state, before)
        before = state
    assert head.first.weight.abs().max() <= 0.5
    other = ProjectionHead(4, 6, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(head.first.weight, other.first.weight)


def test_unknown_activation():
    with pytest.raises(UnknownNameError, match="did you mean 'relu'"):
        ProjectionHead(4, 6, activation="reluu")


def test_mlp_reads_features_only_dense_or_sparse():
    x = (torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    mlp = MLP(5, [4, 3], activation="prelu", generator=torch.Generator().manual_seed(1))
    hidden = torch.nn.functional.prelu(x @ mlp.weights[0] + mlp.biases[0], torch.tensor(0.25))
    wanted = hidden @ mlp.weights[1] + mlp.biases[1]
    torch.testing.assert_close(mlp(x), wanted)
    rows, columns = x.nonzero(as_tuple=True)
    sparse = SparseMatrix.from_edge_index(torch.stack([rows, columns]), shape=(7, 5))
    torch.testing.assert_close(mlp(sparse, "no graph at all"), wanted)
    assert (MLP(5, [4], last_activation=True)(x) >= 0).all()
    with pytest.raises(ArgumentError, match="at least one width"):
        MLP(5, [])
