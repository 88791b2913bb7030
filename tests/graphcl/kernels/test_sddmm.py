"""Products at the entries of a sparse matrix, against dense algebra and in bounded memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.kernels import sparse_product as module
from graphcl.kernels.sddmm import sddmm
from graphcl.kernels.sparse_matrix import SparseMatrix


def matrix(rows: int, columns: int, edges: list[tuple[int, int]]) -> SparseMatrix:
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    return SparseMatrix.from_edge_index(index, shape=(rows, columns), dtype=torch.float64)


@pytest.mark.parametrize("backend", ["dense", "torch", "native"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_is_the_dense_product_at_the_entries(backend: str, data: st.DataObject) -> None:
    rows, columns, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    edge = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    sparse = matrix(rows, columns, data.draw(st.lists(edge, max_size=12)))
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    right = torch.randn(columns, width, generator=generator, dtype=torch.float64)
    expected = (left @ right.T)[sparse.row, sparse.column]
    found = sddmm(sparse, left, right, backend=backend)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_gradients_once_and_twice(backend: str) -> None:
    sparse = matrix(4, 3, [(0, 1), (2, 0), (2, 2), (0, 1), (3, 1)])
    generator = torch.Generator().manual_seed(0)
    sides = [
        torch.randn(n, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (4, 3)
    ]

    def products(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return sddmm(sparse, one, other, backend=backend)

    torch.autograd.gradcheck(products, sides)
    torch.autograd.gradgradcheck(products, sides)


def test_slices_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(30, (2, 200), generator=generator)
    sparse = SparseMatrix.from_edge_index(edges, shape=30)
    left, right = torch.randn(2, 30, 4, generator=generator)
    whole = sddmm(sparse, left, right, backend="torch")
    monkeypatch.setattr(module, "_ELEMENTS_PER_CHUNK", 4 * 7)
    assert torch.equal(sddmm(sparse, left, right, backend="torch"), whole)


def test_nothing_of_the_size_of_all_gathered_embeddings_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(100, (2, 5000), generator=generator)
    sparse = SparseMatrix.from_edge_index(edges, shape=100)
    left = torch.randn(100, 16, generator=generator, requires_grad=True)
    right = torch.randn(100, 16, generator=generator, requires_grad=True)
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        sddmm(sparse, left, right).sum().backward()
    assert max(kept) == 100 * 16


def test_refusals() -> None:
    sparse = matrix(4, 3, [(0, 1)])
    left, right = torch.randn(4, 2).double(), torch.randn(3, 2).double()
    with pytest.raises(ArgumentError, match="of one width d"):
        sddmm(sparse, left, right[:, :1])
    with pytest.raises(ArgumentError, match="must have 4 and 3 rows"):
        sddmm(sparse, right, left)
    with pytest.raises(ArgumentError, match=r"left must be torch.float64"):
        sddmm(sparse, left.float(), right.float())
