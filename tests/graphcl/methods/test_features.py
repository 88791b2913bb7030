"""Scaling of node features, and the same in an exported encoder."""

import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.features import prepare_features, scale_features
from graphcl.methods.supervised_gcn import SupervisedGCN, SupervisedGCNConfig

COUNTS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.25, 0.0, 0.25]])
SIGNED = torch.tensor([[3.0, -4.0], [0.0, 0.0]])


def test_sum_divides_counts_only_and_leaves_small_rows() -> None:
    expected = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.25, 0.0, 0.25]])
    assert torch.equal(scale_features(COUNTS, "sum"), expected)
    assert scale_features(SIGNED, "sum") is SIGNED


def test_norm_has_length_one_and_keeps_signs_and_zeros() -> None:
    assert torch.equal(scale_features(SIGNED, "norm"), torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    lengths = scale_features(COUNTS, "norm").norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0.0, 1.0]))


def test_norm_of_integers_and_of_half_precision() -> None:
    scaled = scale_features(torch.tensor([[3, 4], [0, 0]]), "norm")
    assert torch.equal(scaled, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    half = scale_features(torch.tensor([[1e-3, 0.0], [0.0, 0.0]], dtype=torch.float16), "norm")
    assert half.tolist() == [[1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("scaling", ["sum", "norm"])
def test_huge_and_tiny_features_are_scaled_as_others(scaling: str) -> None:
    expected = scale_features(1000 * COUNTS.double(), scaling).float()
    for size in (1e3, 1e20, 1e38):
        torch.testing.assert_close(scale_features(size * COUNTS, scaling), expected)
    tiny = scale_features(1e-30 * COUNTS, "norm")
    torch.testing.assert_close(tiny, scale_features(COUNTS, "norm"))


@pytest.mark.parametrize("scaling", ["sum", "norm", "none"])
def test_integers_become_floating(scaling: str) -> None:
    for x in (COUNTS[:2].long(), SIGNED.long()):
        assert torch.equal(scale_features(x, scaling), scale_features(x.float(), scaling))


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(ArgumentError, match="sum, norm, none"):
        scale_features(COUNTS, "l2")  # type: ignore[arg-type]


def test_none_is_the_data() -> None:
    assert scale_features(COUNTS, "none") is COUNTS


@pytest.mark.parametrize("scaling", ["sum", "norm", "none"])
def test_sparse_where_few_are_non_zero(scaling: str) -> None:
    words = torch.zeros(4, 40)
    words[0, 3], words[1, 5], words[1, 6] = 2.0, 1.0, 4.0
    prepared = prepare_features(words, scaling)
    assert isinstance(prepared, SparseMatrix)
    torch.testing.assert_close(prepared.to_dense(), scale_features(words, scaling))
    assert isinstance(prepare_features(words + 1, scaling), torch.Tensor)


@pytest.mark.parametrize("scaling", ["sum", "norm", "none"])
def test_portable_encoder_scales_alike(scaling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    x = torch.randint(0, 5, (4, 6), generator=generator).float()
    data = Data(x=x, edge_index=edges, y=torch.tensor([0, 1, 0, 1]))
    torch.manual_seed(0)
    method = SupervisedGCN(SupervisedGCNConfig(feature_scaling=scaling), data).eval()
    portable = method.portable_encoder()
    assert portable is not None
    torch.testing.assert_close(portable.module(x, edges), method.embed(data))
