"""`mask_features`: whole columns, the right share of them, a new tensor."""

import math

import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import ArgumentError
from graphcl.views import MaskFeatures, MaskFeaturesByCentrality, MaskFeaturesByCommunity
from graphcl.views.mask_features import mask_features, mask_features_with_probability


def test_columns_are_masked_whole_and_reported():
    x = torch.rand(5, 40) + 1
    masked, kept = mask_features(x, 0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(masked[:, kept], x[:, kept])
    assert not masked[:, ~kept].any()
    assert 0 < kept.sum() < 40
    assert masked.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(("rate", "expected"), [(0, 40), (1, 0)])
def test_extreme_rates(rate, expected):
    _, kept = mask_features(torch.ones(2, 40), rate)
    assert int(kept.sum()) == expected


def test_marginal_rate_and_given_probabilities():
    generator = torch.Generator().manual_seed(0)
    _, kept = mask_features(torch.ones(1, 40_000), 0.3, generator=generator)
    assert abs(kept.double().mean().item() - 0.7) < 5 * math.sqrt(0.21 / 40_000)
    probability = torch.tensor([0.1, 0.9]).repeat_interleave(20_000)
    _, kept = mask_features_with_probability(
        torch.ones(1, 40_000), probability, generator=generator
    )
    first, second = kept.double().chunk(2)
    assert abs(first.mean().item() - 0.9) < 5 * math.sqrt(0.09 / 20_000)
    assert abs(second.mean().item() - 0.1) < 5 * math.sqrt(0.09 / 20_000)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_dtype_is_kept_and_masked_infinities_are_zero(dtype):
    x = torch.ones(3, 4).to(dtype)
    assert mask_features(x, 0.5)[0].dtype == dtype
    infinite = torch.full((2, 3), float("inf"))
    assert torch.equal(mask_features(infinite, 1.0)[0], torch.zeros(2, 3))


def test_gradient_passes_through_kept_columns_only():
    x = torch.ones(2, 30, requires_grad=True)
    masked, kept = mask_features(x, 0.5, generator=torch.Generator().manual_seed(0))
    masked.sum().backward()
    assert torch.equal(x.grad, kept.float().expand(2, 30))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_features(shape):
    masked, kept = mask_features(torch.ones(shape), 0.5)
    assert masked.shape == shape
    assert kept.shape == (shape[1],)


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match=r"\(N, F\)"):
        mask_features(torch.ones(3), 0.5)
    with pytest.raises(ArgumentError, match="one entry per column"):
        mask_features_with_probability(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(ArgumentError, match="rate"):
        mask_features(torch.ones(3, 2), float("nan"))


@pytest.mark.parametrize(
    "view",
    [MaskFeatures(0.5), MaskFeaturesByCentrality(0.5), MaskFeaturesByCommunity(0.5)],
    ids=repr,
)
def test_views_refuse_what_is_no_dense_graph(view):
    with pytest.raises(ArgumentError, match="takes a torch_geometric Data, got dict"):
        view({"x": torch.eye(3)})
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    for x, got in ((torch.eye(3).to_sparse(), "sparse_coo"), ([[1.0]] * 3, "list")):
        with pytest.raises(ArgumentError, match=f"x must be a dense tensor, got .*{got}"):
            view(Data(x=x, edge_index=edge_index, num_nodes=3))
