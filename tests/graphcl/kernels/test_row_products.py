"""row_products against a loop."""

from __future__ import annotations

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.row_products import row_products


def problem(rows=5, keys=4, length=3, dimension=2):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(rows, dimension, generator=generator, dtype=torch.float64)
    key = torch.randn(keys, dimension, generator=generator, dtype=torch.float64)
    columns = torch.randint(-1, keys, (rows, length), generator=generator)
    return query.requires_grad_(), key.requires_grad_(), columns


@pytest.mark.parametrize("length", [3, 2000])
def test_products_and_gradients_equal_a_loop(length):
    query, key, columns = problem(length=length)
    assert (columns < 0).any()
    ours = row_products(query, key, columns)
    loop = torch.stack(
        [
            torch.stack([query[i] @ key[c] if c >= 0 else query.new_zeros(()) for c in row])
            for i, row in enumerate(columns.tolist())
        ]
    )
    assert torch.allclose(ours, loop, rtol=1e-12, atol=1e-15)
    weight = torch.randn_like(loop)
    for left, right in zip(
        torch.autograd.grad((ours * weight).sum(), (query, key)),
        torch.autograd.grad((loop * weight).sum(), (query, key)),
        strict=True,
    ):
        assert torch.allclose(left, right, rtol=1e-11, atol=1e-13)
    few = columns[:, :3]
    assert torch.autograd.gradcheck(lambda q, k: row_products(q, k, few), (query, key))


@pytest.mark.parametrize(("rows", "length", "dimension"), [(0, 3, 2), (5, 0, 2), (5, 3, 0)])
def test_empty_sides(rows, length, dimension):
    query, key, columns = problem(rows, 4, length, dimension)
    value = row_products(query, key, columns)
    assert value.shape == (rows, length)
    value.sum().backward()
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_infinite_key_that_nobody_lists_is_harmless():
    query, key, columns = problem()
    key = key.detach()
    key[0] = torch.inf
    columns[columns == 0] = -1
    value = row_products(query, key, columns)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(query.grad).all()


def test_half_precision_is_computed_in_float32():
    query, key, columns = problem()
    value = row_products(query.detach().bfloat16(), key.detach().bfloat16(), columns)
    assert value.dtype == torch.float32


def test_wrong_arguments_are_named():
    query, key, columns = problem()
    with pytest.raises(ArgumentError, match=r"-1 .. 3; got values in .* 4"):
        row_products(query, key, columns + 1 + (columns < 3))
    with pytest.raises(ArgumentError, match=r"\(5, L\) of torch.int64"):
        row_products(query, key, columns[:2])
    with pytest.raises(ArgumentError, match=r"\(M, d\) and \(N, d\)"):
        row_products(query, key[:, :1], columns)
