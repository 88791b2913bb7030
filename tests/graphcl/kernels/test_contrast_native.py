"""The compiled passes on every instruction set that this processor knows."""

from __future__ import annotations

import ctypes
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast, contrast_both, native
from graphcl.losses import info_nce
from graphcl.native import NativeLibrary, load_library, missing_reason, usable_libraries

pytestmark = pytest.mark.skipif(
    missing_reason() is not None, reason=f"no compiled kernels: {missing_reason()}"
)
every_library = pytest.mark.parametrize("library", usable_libraries(), indirect=True)
every_rounding = pytest.mark.parametrize(
    ("library", "precision"),
    [(name, word) for name in usable_libraries() for word in load_library(name).rounded],
    indirect=True,
)


@pytest.fixture
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NativeLibrary:
    chosen = load_library(request.param)
    monkeypatch.setattr(native, "native_library", lambda: chosen)
    return chosen


@pytest.fixture(params=["high", "medium"])
def precision(request: pytest.FixtureRequest) -> object:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def value_and_gradients(
    backend: str, query: Tensor, key: Tensor | None, bias: Tensor | None, **options: object
) -> list[Tensor]:
    leaves = [part.clone().requires_grad_() for part in (query, key, bias) if part is not None]
    inputs = dict(
        zip(
            [n for n, p in (("q", query), ("k", key), ("b", bias)) if p is not None],
            leaves,
            strict=True,
        )
    )
    scale = torch.tensor(options.pop("scale", 1.0), dtype=query.dtype, requires_grad=True)
    output = contrast(
        inputs["q"],
        inputs.get("k"),
        column_bias=inputs.get("b"),
        scale=scale,
        backend=backend,
        **options,
    )
    value = output.denominator.nan_to_num(neginf=0.0)
    upstream = random(len(query), seed=9).to(value.dtype)
    return [value, *torch.autograd.grad(value, [*leaves, scale], upstream)]


def assert_close(got: list[Tensor], wanted: list[Tensor], bound: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert torch.isfinite(one).all()
        assert torch.linalg.vector_norm(one.double() - other.double()) <= bound * (
            torch.linalg.vector_norm(other.double()) + 1e-30
        )


# Below and above a block (192, or 256 or 384 with AMX), below and above a panel of columns.
SHAPES = [(1, 1, 1), (5, 7, 3), (193, 400, 33), (385, 191, 16), (400, 770, 65)]


@every_library
@pytest.mark.parametrize(("rows", "columns", "dimension"), SHAPES)
@pytest.mark.parametrize("spread", [0.1, 8.0], ids=["bounded", "running"])
def test_equals_dense(
    library: NativeLibrary, rows: int, columns: int, dimension: int, spread: float
) -> None:
    query, key = random(rows, dimension), random(columns, dimension, seed=1)
    bias = random(columns, seed=2)
    ids = {
        "row_ids": torch.arange(rows) % 5,
        "column_ids": torch.arange(columns) % 7,
    }
    for options in ({}, ids, {"positive": torch.arange(rows) % columns, "decoupled": True}):
        arguments = (query, key, bias)
        wanted = value_and_gradients("dense", *arguments, scale=spread, **options)
        assert_close(
            value_and_gradients("native", *arguments, scale=spread, **options), wanted, 1e-10
        )


@every_library
@pytest.mark.parametrize("count", [1, 2, 191, 500])
@pytest.mark.parametrize("spread", [0.1, 8.0], ids=["bounded", "running"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_self_similarity_equals_dense(
    library: NativeLibrary, count: int, spread: float, symmetric: bool
) -> None:
    query, bias = random(count, 20), random(count, seed=2)
    ids = torch.arange(count)
    options: dict[str, object] = {"scale": spread}
    if not symmetric:
        # Row i leaves out its successor: not the pairs that the mirror image leaves out.
        options |= {"positive": (ids + 1) % count, "decoupled": True}
    for weight in (None, bias):
        wanted = value_and_gradients("dense", query, None, weight, **options)
        assert_close(value_and_gradients("native", query, None, weight, **options), wanted, 1e-10)


@every_library
@pytest.mark.parametrize("spread", [0.1, 8.0], ids=["bounded", "running"])
def test_both_directions_equal_dense(library: NativeLibrary, spread: float) -> None:
    results = []
    for backend in ("dense", "native"):
        first, second = random(390, 20).requires_grad_(), random(205, 20, seed=1).requires_grad_()
        bias = random(390, seed=3).requires_grad_()
        forth, back = contrast_both(
            first,
            second,
            scale=spread,
            first_ids=torch.arange(390) % 6,
            second_ids=torch.arange(205) % 4,
            first_bias=bias,
            first_positive=torch.arange(390) % 205,
            decoupled=True,
            backend=backend,
        )
        value = forth.denominator.sin().sum() + back.denominator.cos().sum()
        results.append([value.detach(), *torch.autograd.grad(value, [first, second, bias])])
    assert_close(results[1], results[0], 1e-10)


@every_library
def test_float32_is_as_exact_as_its_roundings(library: NativeLibrary) -> None:
    query, key = random(700, 64), random(900, 64, seed=1)
    query, key = (torch.nn.functional.normalize(part, dim=1) for part in (query, key))
    wanted = value_and_gradients("dense", query, key, None, scale=2.0)
    got = value_and_gradients("native", query.float(), key.float(), None, scale=2.0)
    assert_close(got, wanted, 2e-6)


@every_library
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.1, 10.0])
def test_extreme_temperatures(library: NativeLibrary, temperature: float) -> None:
    values = []
    for backend in ("dense", "native"):
        z1, z2 = random(250, 12).requires_grad_(), random(250, 12, seed=1).requires_grad_()
        value = info_nce(z1, z2, temperature, intra_view=True, backend=backend)
        values.append([value.detach(), *torch.autograd.grad(value, [z1, z2])])
    assert_close(values[1], values[0], 1e-10)


@every_library
def test_logits_far_below_zero(library: NativeLibrary) -> None:
    # Every exponential underflows without its row's own shift.
    query = random(300, 4).abs() + 20
    wanted = value_and_gradients("dense", query, -query, None, scale=1.0)
    assert (wanted[0] < -700).all()
    assert_close(value_and_gradients("native", query, -query, None, scale=1.0), wanted, 1e-10)


def directions_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """A list that fills with every pass: its direction, and whether it shifted nothing."""
    seen: list[tuple[str, bool]] = []
    run = native._Call.run

    def watched(call: native._Call, direction: str, *addresses: int | None) -> None:
        seen.append((direction, bool(call._contrast.bounded)))
        run(call, direction, *addresses)

    monkeypatch.setattr(native._Call, "run", watched)
    return seen


@every_library
def test_long_rows_with_small_logits_need_no_shift(
    library: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = directions_seen(monkeypatch)
    query, key = 1.5 * random(300, 64), 0.6 * random(500, 64, seed=1)
    assert (query @ key.T).abs().max() < 40 < query.norm(dim=1).max() * key.norm(dim=1).max()
    wanted = value_and_gradients("dense", query, key, None)
    assert_close(value_and_gradients("native", query.float(), key.float(), None), wanted, 5e-6)
    assert seen == [("forward", True), ("backward", True)]


@every_library
@pytest.mark.parametrize("steep", [60.0, 200.0, -90.0])
def test_a_guess_that_failed_is_made_good(
    library: NativeLibrary, monkeypatch: pytest.MonkeyPatch, steep: float
) -> None:
    """One row that no probe looks at overflows, or is large enough to, or vanishes."""
    seen = directions_seen(monkeypatch)
    query, key = 0.1 * random(330, 16), random(500, 16, seed=1)
    query[7], key[:, 0] = 0.0, 1.0
    query[7, 0] = steep
    wanted = value_and_gradients("dense", query, key, None)
    # A logit of 200 is right to 1e-5.
    assert_close(value_and_gradients("native", query.float(), key.float(), None), wanted, 2e-5)
    assert seen == [("forward", True), ("forward", False), ("backward", False)]


@every_library
def test_steep_logits_are_not_tried(
    library: NativeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = directions_seen(monkeypatch)
    query, key = random(300, 64), random(500, 64, seed=1)
    value_and_gradients("native", query.float(), key.float(), None, scale=20.0)
    value_and_gradients("native", query.float(), key.float(), random(500).float(), scale=3.0)
    assert seen == [("forward", False), ("backward", False)] * 2


@every_library
def test_threads_do_not_change_the_result(library: NativeLibrary) -> None:
    query, key, bias = random(1000, 30), random(1100, 30, seed=1), random(1100, seed=2)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            for sides in ((query, key, bias), (query, None, bias[:1000])):
                results.append(value_and_gradients("native", *sides, scale=0.3))
                again = value_and_gradients("native", *sides, scale=0.3)
                assert all(map(torch.equal, again, results[-1]))
    finally:
        torch.set_num_threads(before)
    for result in results[2:]:
        assert_close(result, results[0] if len(result) == len(results[0]) else results[1], 1e-12)


@every_rounding
@pytest.mark.parametrize(("rows", "columns", "dimension"), [*SHAPES, (900, 900, 128)])
@pytest.mark.parametrize("itself", [False, True])
def test_reduced_precision_keeps_its_bound(
    library: NativeLibrary, precision: str, rows: int, columns: int, dimension: int, itself: bool
) -> None:
    query = torch.nn.functional.normalize(random(rows, dimension), dim=1)
    key = (
        None if itself else torch.nn.functional.normalize(random(columns, dimension, seed=1), dim=1)
    )
    bias = random(rows if itself else columns, seed=2)
    ids = (
        {}
        if itself
        else {"row_ids": torch.arange(rows) % 9, "column_ids": torch.arange(columns) % 11}
    )
    for weight in (None, bias):
        wanted = value_and_gradients("dense", query, key, weight, scale=2.0, **ids)
        sides = [None if part is None else part.float() for part in (query, key, weight)]
        got = value_and_gradients("native", *sides, scale=2.0, **ids)
        # Two roundings of relative size 2^-9, in the products and in their weights; with
        # two parts, of 2^-17.
        assert_close(got, wanted, 2**-7 if precision == "medium" else 2**-15)
        torch.set_float32_matmul_precision("highest")
        exact = value_and_gradients("native", *sides, scale=2.0, **ids)
        torch.set_float32_matmul_precision(precision)
        assert columns < 100 or not torch.equal(got[0], exact[0]), "bfloat16 was not used"


@every_rounding
def test_reduced_precision_gradient_of_a_loss(library: NativeLibrary, precision: str) -> None:
    gradients = []
    for dtype, backend in ((torch.float64, "dense"), (torch.float32, "native")):
        z1 = random(1500, 128).to(dtype).requires_grad_()
        z2 = random(1500, 128, seed=1).to(dtype).requires_grad_()
        value = info_nce(z1, z2, 0.5, intra_view=True, backend=backend)
        gradients.append([value.detach(), *torch.autograd.grad(value, [z1, z2])])
    assert_close(gradients[1], gradients[0], 3e-4 if precision == "medium" else 3e-6)


@every_rounding
def test_long_rows_that_do_not_point_alike_are_rounded(
    library: NativeLibrary, precision: str
) -> None:
    # As after training: the norms allow logits of 90, of which the largest is 37.
    query, key = random(300, 64), random(900, 64, seed=1)
    scale = 90 / float(query.norm(dim=1).max() * key.norm(dim=1).max())
    assert 20 < float((query @ key.T).max()) * scale < 40
    wanted = value_and_gradients("dense", query, key, None, scale=scale)
    got = value_and_gradients("native", query.float(), key.float(), None, scale=scale)
    assert_close(got, wanted, 2e-2 if precision == "medium" else 2e-4)
    torch.set_float32_matmul_precision("highest")
    exact = value_and_gradients("native", query.float(), key.float(), None, scale=scale)
    assert not torch.equal(got[0], exact[0]), "bfloat16 was not used"


@pytest.fixture(params=["highest", "high", "medium"])
def any_precision(request: pytest.FixtureRequest) -> object:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@every_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("largest", [85.0, 90.0, 150.0, 500.0, 800.0, 1000.0, 3000.0])
def test_a_large_logit_that_no_probe_sees_is_found(
    library: NativeLibrary, any_precision: str, dtype: torch.dtype, largest: float
) -> None:
    # Only every fourth row is probed; the others' sums have to tell.
    query, key = random(64, 16), random(200, 16, seed=1)
    key[1:, 0] *= 0.01
    key[0], query[1] = 0.0, 0.0
    key[0, 0], query[1, 0] = 4.0, largest / 4
    wanted = value_and_gradients("dense", query, key, None)
    assert float(wanted[0][1]) == pytest.approx(largest, rel=1e-6)
    got = value_and_gradients("native", query.to(dtype), key.to(dtype), None)
    assert_close(got, wanted, 1e-9 if dtype == torch.float64 else 3e-4)


@every_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("least", [-90.0, -160.0, -330.0, -1500.0])
def test_logits_far_below_the_others_vanish(
    library: NativeLibrary, any_precision: str, dtype: torch.dtype, least: float
) -> None:
    query = torch.tensor([[1.0, 0.0]], dtype=dtype)
    key = torch.tensor([[least, 0.0], [20.0, 3.0], [19.0, 1.0]], dtype=dtype)
    wanted = value_and_gradients("dense", query.double(), key.double(), None)
    got = value_and_gradients("native", query, key, None)
    assert_close(got, wanted, 1e-9 if dtype == torch.float64 else 2e-2)


def test_steep_logits_are_never_rounded(precision: str) -> None:
    query, key = random(400, 16).float(), random(500, 16, seed=1).float()
    got = value_and_gradients("native", query, key, None, scale=30.0)
    wanted = value_and_gradients("dense", query.double(), key.double(), None, scale=30.0)
    # Logits of several hundred, each right to a rounding of float32.
    assert_close(got, wanted, 2e-4)


def test_non_contiguous_embeddings() -> None:
    query, key = random(20, 300).T, random(40, 500, seed=1).T[:, ::2]
    wanted = value_and_gradients("dense", query, key, None, scale=0.2)
    assert_close(value_and_gradients("native", query, key, None, scale=0.2), wanted, 1e-10)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "native_library", lambda: None)
    monkeypatch.setattr(native, "missing_reason", lambda: "no compiler")
    with pytest.raises(ArgumentError, match="needs the compiled kernels: no compiler"):
        contrast(random(4, 3), scale=1.0, backend="native")


def test_other_devices_are_refused() -> None:
    with pytest.raises(ArgumentError, match="computes on the CPU; got tensors on meta"):
        native.native_log_sum_exp(problem_on_meta(), 512)


def problem_on_meta() -> object:
    class OnMeta:
        query = torch.empty(3, 2, device="meta")

    return OnMeta()


def test_views_by_minus_one() -> None:
    # Contiguous, but the memory holds the negatives of the values.
    base, key, bias = random(300, 8), random(310, 8, seed=1), random(310, seed=2)
    outputs = [
        contrast(query, key, scale=0.3, column_bias=weight, backend=backend).denominator
        for backend, query, weight in (
            ("native", torch._neg_view(base), torch._neg_view(bias)),
            ("dense", -base, -bias),
        )
    ]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=0)


@every_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_without_columns(library: NativeLibrary, dtype: torch.dtype) -> None:
    # All products are 0, on either side of the first block.
    output = contrast(torch.zeros(900, 0, dtype=dtype), scale=1.0, backend="native")
    torch.testing.assert_close(output.denominator, torch.full((900,), 899.0).log())


@every_library
def test_compiled_sums_without_columns(library: NativeLibrary) -> None:
    ones, rows = torch.ones(900), torch.zeros(900)
    call = native._Contrast(
        *(900, 900, 0, None, None, 1.0, ones.data_ptr(), ones.data_ptr()),
        *(native._Exclusion(), native._Exclusion(), False, False, True, True, 1),
    )
    names = ("float", *library.rounded.values())
    for name in names:
        function = getattr(library.functions, f"contrast_forward_{name}")
        assert function(ctypes.addressof(call), rows.data_ptr(), None) == 0
        torch.testing.assert_close(rows, torch.full((900,), 900.0), msg=name)


def test_embeddings_are_not_kept_after_backward() -> None:
    base = random(300, 8).requires_grad_()
    query = base * 1
    kept = weakref.ref(query)
    value = contrast(query, scale=1.0, backend="native").denominator.sum()
    del query
    value.backward()
    assert kept() is None, "the graph of a finished backward pass still holds its input"


def test_transforms_of_functions_are_refused() -> None:
    def value(query: Tensor) -> Tensor:
        return contrast(query, scale=1.0, backend="native").denominator.sum()

    with pytest.raises(ArgumentError, match=r"torch\.func have none; use backend='dense'"):
        torch.func.grad(value)(random(30, 4))


def test_several_python_threads_at_once() -> None:
    # The interpreter lock is not held during a pass.
    def one(seed: int) -> list[Tensor]:
        return value_and_gradients("native", random(400, 16, seed=seed), None, None, scale=0.3)

    alone = [one(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(one, range(6)))
    for first, second in zip(alone, together, strict=True):
        assert all(map(torch.equal, first, second))
