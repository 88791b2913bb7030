"""Losses of several views against loops over nodes, views and candidates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import (
    DHEL,
    KernelContrast,
    MultiViewDHEL,
    MultiViewInfoNCE,
    dhel,
    kernel_contrast,
    multi_view_dhel,
    multi_view_info_nce,
)


def info_nce_loop(loops: Any, views: Tensor, temperature: float, intra_view: bool) -> list[Tensor]:
    V, N = views.shape[:2]
    values = []
    for i in range(N):
        positives, candidates = [], []
        for a in range(V):
            for b in range(V):
                if a != b:
                    cosine = loops.cosine(views[a][i], views[b][i])
                    positives.append(torch.exp(cosine / temperature))
                for j in range(N):
                    if (a == b and not intra_view) or (j, b) == (i, a):
                        continue
                    cosine = loops.cosine(views[a][i], views[b][j])
                    candidates.append(torch.exp(cosine / temperature))
        values.append(-torch.log(sum(positives)) + torch.log(sum(candidates)))
    return values


def dhel_loop(loops: Any, views: Tensor, temperature: float) -> list[Tensor]:
    V, N = views.shape[:2]
    values = []
    for i in range(N):
        value = -torch.log(
            sum(
                torch.exp(loops.cosine(views[a][i], views[b][i]) / temperature)
                for a in range(V)
                for b in range(a + 1, V)
            )
        )
        for a in range(V):
            value = value + torch.log(
                sum(
                    torch.exp(loops.cosine(views[a][i], views[a][j]) / temperature)
                    for j in range(N)
                    if j != i
                )
            )
        values.append(value)
    return values


@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_multi_view_info_nce_is_its_definition(
    loops: Any, intra_view: bool, count: int, backend: str
) -> None:
    loops.agree(
        lambda views: multi_view_info_nce(
            views, 0.3, intra_view=intra_view, reduction="none", backend=backend
        ),
        lambda views: info_nce_loop(loops, views, 0.3, intra_view),
        loops.random(count, 5, 3),
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_multi_view_dhel_is_its_definition(loops: Any, count: int) -> None:
    loops.agree(
        lambda views: multi_view_dhel(views, 0.3, reduction="none"),
        lambda views: dhel_loop(loops, views, 0.3),
        loops.random(count, 5, 3),
    )


def test_dhel_is_the_two_view_case_with_one_energy_or_two(loops: Any) -> None:
    z1, z2 = loops.random(2, 6, 3)

    def one_sided(z1: Tensor, z2: Tensor) -> list[Tensor]:
        values = []
        for i in range(6):
            energy = sum(torch.exp(loops.cosine(z1[i], z1[j]) / 0.3) for j in range(6) if j != i)
            values.append(-loops.cosine(z1[i], z2[i]) / 0.3 + torch.log(energy))
        return values

    loops.agree(
        lambda a, b: dhel(a, b, 0.3, reduction="none"),
        lambda a, b: dhel_loop(loops, torch.stack([a, b]), 0.3),
        z1,
        z2,
    )
    loops.agree(lambda a, b: dhel(a, b, 0.3, symmetric=False, reduction="none"), one_sided, z1, z2)


@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_kernel_contrast_is_its_definition(loops: Any, backend: str) -> None:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        pairs = zip(loops.unit(a), loops.unit(b), strict=True)
        return torch.exp(-1.5 * sum((x - y) ** 2 for x, y in pairs))

    def definition(z1: Tensor, z2: Tensor) -> list[Tensor]:
        values = []
        for i in range(6):
            energy = sum(kernel(z1[i], z1[j]) + kernel(z2[i], z2[j]) for j in range(6) if j != i)
            values.append(-2 * kernel(z1[i], z2[i]) + 4.0 * energy / 5)
        return values

    loops.agree(
        lambda a, b: kernel_contrast(a, b, t=1.5, gamma=4.0, reduction="none", backend=backend),
        definition,
        *loops.random(2, 6, 3),
    )


def test_a_list_of_views_and_a_tensor_are_the_same(loops: Any) -> None:
    views = loops.random(3, 6, 4)
    for loss in (MultiViewInfoNCE(), MultiViewInfoNCE(intra_view=True), MultiViewDHEL()):
        assert torch.equal(loss(views), loss(list(views)))


def test_views_and_nodes_may_be_permuted(loops: Any) -> None:
    views = loops.random(4, 7, 5)
    for loss in (
        MultiViewInfoNCE(reduction="none"),
        MultiViewInfoNCE(intra_view=True, reduction="none"),
        MultiViewDHEL(reduction="none"),
    ):
        torch.testing.assert_close(loss(views[[2, 0, 3, 1]]), loss(views))
        order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
        torch.testing.assert_close(loss(views[:, order]), loss(views)[order])


def test_identical_views_have_a_known_value() -> None:
    # All rows are equal: each logit is 1/τ, and only the numbers of terms remain.
    views = torch.ones(3, 5, 2, dtype=torch.float64)
    # 3 anchors with 10 candidates in other views, 14 with their own; 6 ordered positives.
    assert float(MultiViewInfoNCE(0.01)(views)) == pytest.approx(math.log(30 / 6))
    assert float(MultiViewInfoNCE(0.01, intra_view=True)(views)) == pytest.approx(math.log(42 / 6))
    # Three energies of 4 others against 3 pairs of views: two logits are left over.
    expected = 2 / 0.01 + 3 * math.log(4) - math.log(3)
    assert float(MultiViewDHEL(0.01)(views)) == pytest.approx(expected)


def test_one_node_has_nothing_to_contrast_with() -> None:
    z = torch.randn(2, 1, 4, requires_grad=True)
    for value in (MultiViewDHEL()(z), DHEL()(*z), DHEL(symmetric=False)(*z)):
        assert float(value.detach()) == 0
        assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros_like(z))
    # The energy of one node is 0, its alignment is not.
    unit = torch.ones(1, 4)
    assert float(KernelContrast()(unit, unit)) == pytest.approx(-2.0)


@pytest.mark.parametrize("temperature", [1e-3, 0.02, 10.0])
def test_temperatures_at_which_exponentials_overflow(loops: Any, temperature: float) -> None:
    views = loops.random(3, 40, 6)
    for loss in (
        MultiViewInfoNCE(temperature),
        MultiViewInfoNCE(temperature, intra_view=True),
        MultiViewDHEL(temperature),
    ):
        exact, rounded = loss(views), loss(views.float())
        torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_in_float32(loops: Any, dtype: torch.dtype) -> None:
    views = loops.random(3, 20, 6).to(dtype)
    for loss in (MultiViewInfoNCE(0.05), MultiViewDHEL(0.05)):
        assert loss(views).dtype == torch.float32
        torch.testing.assert_close(loss(views), loss(views.float()))


def test_mistakes_are_named() -> None:
    views = torch.randn(3, 5, 2)
    with pytest.raises(ArgumentError, match="views must be at least 2; got 1"):
        MultiViewInfoNCE()(views[:1])
    with pytest.raises(ArgumentError, match=r"views must be \(V, N, d\)"):
        MultiViewInfoNCE()(views[0])
    with pytest.raises(ArgumentError, match=r"got \[\(5, 2\), \(4, 2\)\]"):
        MultiViewDHEL()([views[0], views[1, :4]])
    views[1, 2, 0] = math.nan
    with pytest.raises(NonFiniteArgumentError, match=r"views\[1\] must be finite"):
        MultiViewDHEL()(list(views))
    with pytest.raises(ArgumentError, match="gamma must be a finite number of at least 0; got -1"):
        KernelContrast(gamma=-1)
    with pytest.raises(ArgumentError, match="t must be a finite number above 0; got 0"):
        KernelContrast(t=0)
