"""The Triton kernels against the dense backend, in the interpreter, and compiled for Hopper.

`TRITON_INTERPRET=0` in the environment runs them on the GPU instead, where there is one.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphcl.kernels.contrast import (
    Pairs,
    backends,
    contrast,
    contrast_both,
    contrast_precision,
    triton_backend,
)
from graphcl.kernels.contrast.exclusion import Exclusion
from graphcl.kernels.contrast.triton_blocks import backward_blocks, forward_blocks
from graphcl.kernels.contrast.triton_exclusion import Cut, KernelExclusion

INSTALLED = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
needs_triton = pytest.mark.skipif(not INSTALLED, reason="triton is not installed")
runs_kernels = pytest.mark.skipif(
    not INSTALLED or not (INTERPRETED or torch.cuda.is_available()),
    reason="needs triton, and TRITON_INTERPRET=1 or a CUDA device",
)
# At the smaller scale no logit leaves [-300, 300], and in float64 no maximum is taken.
SPREADS = pytest.mark.parametrize("spread", [0.3, 60.0], ids=["bounded", "running"])


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def integers(high: int, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(high, (count,), generator=generator).to(DEVICE)


def value_and_gradients(
    backend: str,
    query: Tensor,
    key: Tensor | None = None,
    column_bias: Tensor | None = None,
    tile: int = 16,
    scale: float = 1.0,
    **options: object,
) -> list[Tensor]:
    """Denominators, and the gradients of an uneven sum of the finite ones."""
    leaves = {
        name: part.detach().clone().requires_grad_()
        for name, part in (("query", query), ("key", key), ("column_bias", column_bias))
        if part is not None
    }
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale, dtype=dtype, device=DEVICE, requires_grad=True)
    output = contrast(**leaves, scale=factor, backend=backend, tile=tile, **options)
    value = output.denominator
    total = (torch.where(torch.isneginf(value), 0.0, value) * weight_of(value)).sum()
    return [value.detach(), *torch.autograd.grad(total, [*leaves.values(), factor])]


def weight_of(values: Tensor) -> Tensor:
    return torch.linspace(-1.0, 2.0, len(values), dtype=values.dtype, device=values.device)


def assert_same(got: list[Tensor], wanted: list[Tensor], bound: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert not one.isnan().any()
        assert torch.equal(one.isinf(), other.isinf())
        one, other = (part.double().nan_to_num(neginf=0.0) for part in (one, other))
        assert torch.linalg.vector_norm(one - other) <= bound * (
            1e-2 + torch.linalg.vector_norm(other)
        )


def assert_equals_dense(*arguments: Tensor | None, bound: float = 1e-10, **options: object) -> None:
    wanted = value_and_gradients("dense", *arguments, **options)
    assert_same(value_and_gradients("triton", *arguments, **options), wanted, bound)


# Whole blocks and less, one row and one column, features that fill no block and several.
@runs_kernels
@SPREADS
@pytest.mark.parametrize(
    ("rows", "columns", "width"), [(20, 40, 20), (32, 16, 16), (1, 33, 5), (17, 1, 1), (18, 17, 40)]
)
def test_rows_and_columns_equal_dense(rows: int, columns: int, width: int, spread: float) -> None:
    query, key = random(rows, width), random(columns, width, seed=1)
    assert_equals_dense(query, key, scale=spread)
    assert_equals_dense(query, key, random(columns, seed=2), scale=spread)


@runs_kernels
@SPREADS
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("count", [1, 2, 16, 55])
def test_self_similarity_equals_dense(count: int, biased: bool, spread: float) -> None:
    bias = random(count, seed=2) if biased else None
    assert_equals_dense(random(count, 12), None, bias, scale=spread)


@runs_kernels
@SPREADS
@pytest.mark.parametrize(
    "excluded", ["ids", "own ids", "equal ids", "positive", "listed", "groups", "all"]
)
@pytest.mark.parametrize("itself", [True, False], ids=["itself", "key"])
def test_exclusions_equal_dense(itself: bool, excluded: str, spread: float) -> None:
    rows, columns = 37, (37 if itself else 45)
    query, key = random(rows, 8), None if itself else random(columns, 8, seed=1)
    options: dict[str, object] = {}
    if excluded in ("ids", "all"):
        # Repeated, and with two sides that differ: a mirror image excludes other pairs.
        options |= {"row_ids": integers(9, rows), "column_ids": integers(11, columns, seed=1)}
    if excluded == "own ids":
        # The same on both sides, and so is the mirror image.
        ids = integers(9, columns)
        options |= {"row_ids": ids[:rows], "column_ids": ids}
    if excluded == "equal ids":
        # More pairs than are listed: compared block by block. Row 3 keeps all columns.
        ids = torch.zeros(rows, dtype=torch.long, device=DEVICE)
        ids[3] = 7
        options |= {"row_ids": ids, "column_ids": ids.new_zeros(columns)}
    if excluded in ("positive", "all"):
        options |= {"positive": integers(columns + 1, rows, seed=2) - 1, "decoupled": True}
    if excluded in ("listed", "all"):
        # Row 5 excludes every column, others a few.
        pairs = torch.stack([integers(rows, 90, seed=3), integers(columns, 90, seed=4)], dim=1)
        every = torch.arange(columns, device=DEVICE)
        pairs = torch.cat([pairs, torch.stack([torch.full_like(every, 5), every], dim=1)])
        options["exclude"] = Pairs(*pairs.unique(dim=0).T)
    if excluded in ("groups", "all"):
        options |= {
            "row_groups": integers(4, rows, seed=5),
            "column_groups": integers(4, columns, seed=6),
        }
    assert_equals_dense(query, key, scale=spread, **options)


@runs_kernels
@SPREADS
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", ["", "ids", "ids groups decoupled"])
def test_both_directions_equal_dense(masked: str, biased: bool, spread: float) -> None:
    results = []
    for backend in ("triton", "dense"):
        first, second = random(44, 9), random(30, 9, seed=1)
        leaves = [first, second, torch.tensor(spread, dtype=torch.float64, device=DEVICE)]
        options: dict[str, object] = {}
        if biased:
            leaves += [random(44, seed=2), random(30, seed=3)]
            options |= {"first_bias": leaves[3], "second_bias": leaves[4]}
        if "ids" in masked:
            # Both directions leave out the same pairs, unless decoupled.
            options |= {
                "first_ids": integers(5, 44, seed=4),
                "second_ids": integers(6, 30, seed=5),
            }
        if "groups" in masked:
            options |= {
                "first_groups": integers(2, 44, seed=6),
                "second_groups": integers(2, 30, seed=7),
            }
        if "decoupled" in masked:
            options |= {
                "first_positive": integers(30, 44, seed=8),
                "second_positive": integers(44, 30, seed=9),
                "decoupled": True,
            }
        for leaf in leaves:
            leaf.requires_grad_()
        forth, back = contrast_both(
            leaves[0], leaves[1], scale=leaves[2], backend=backend, tile=16, **options
        )
        values = [forth.denominator, back.denominator]
        total = sum(
            (torch.where(torch.isneginf(value), 0.0, value) * weight_of(value)).sum()
            for value in values
        )
        results.append([value.detach() for value in values])
        results[-1] += torch.autograd.grad(total, leaves)
    assert_same(*results, bound=1e-10)


@runs_kernels
def test_a_gradient_of_one_side_or_direction_alone() -> None:
    first, second, bias = random(30, 7), random(25, 7, seed=1), random(25, seed=2)
    gradients = []
    for backend in ("triton", "dense"):
        for chosen in (first, second, bias):
            leaf = chosen.clone().requires_grad_()
            query, key, column_bias = (leaf if x is chosen else x for x in (first, second, bias))
            output = contrast(
                query, key, scale=2.0, column_bias=column_bias, backend=backend, tile=16
            )
            gradients += torch.autograd.grad(output.denominator.sin().sum(), leaf)
        leaf = first.clone().requires_grad_()
        _, back = contrast_both(leaf, second, scale=2.0, backend=backend, tile=16)
        gradients += torch.autograd.grad(back.denominator.sin().sum(), leaf)
    half = len(gradients) // 2
    assert_same(gradients[:half], gradients[half:], bound=1e-10)


# More blocks than stripes, so that one program visits several blocks of its rows.
@runs_kernels
@SPREADS
def test_many_blocks_to_a_stripe(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_backend, "STRIPES", 2)
    monkeypatch.setattr(triton_backend, "PROGRAMS", 4)
    query, key = random(76, 6), random(70, 6, seed=1)
    index, positive = torch.arange(76, device=DEVICE), integers(76, 76, seed=2)
    assert_equals_dense(query, scale=spread, positive=positive, decoupled=True)
    assert_equals_dense(query, key, scale=spread, exclude=Pairs(index, positive % 70))
    results = []
    for backend in ("triton", "dense"):
        forth, back = contrast_both(query, key, scale=spread, backend=backend, tile=16)
        results.append([forth.denominator, back.denominator])
    assert_same(*results, bound=1e-10)


@runs_kernels
@pytest.mark.parametrize(("width", "scale"), [(300, 0.1), (300, 30.0), (512, 1.0)])
def test_wide_embeddings(width: int, scale: float) -> None:
    query, key = (random(18, width, seed=s, dtype=torch.float32) / 8 for s in (0, 1))
    wanted = value_and_gradients("dense", query.double(), key.double(), scale=scale)
    got = value_and_gradients("triton", query, key, scale=scale, tile=512)
    assert_same(got, wanted, bound=2e-5)


@runs_kernels
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.1, 0.5, 10.0])
@pytest.mark.parametrize("itself", [True, False], ids=["itself", "key"])
def test_float32_is_as_exact_as_its_roundings(itself: bool, temperature: float) -> None:
    unit = torch.nn.functional.normalize(random(90, 24, dtype=torch.float32), dim=1)
    key = None if itself else unit.flip(0)
    wanted = value_and_gradients(
        "dense", unit.double(), None if key is None else key.double(), scale=1 / temperature
    )
    got = value_and_gradients("triton", unit, key, scale=1 / temperature, tile=64)
    # The rounding of a logit, eps / temperature, bounds what any float32 order can do.
    assert_same(got, wanted, bound=max(1e-5, 1e-6 / temperature))


@runs_kernels
@pytest.mark.parametrize(
    ("torch_is", "asked", "kind"), [("high", "highest", "ieee"), ("highest", "high", "tf32")]
)
def test_contrast_precision_wins_over_torch(torch_is: str, asked: str, kind: str) -> None:
    unit = torch.nn.functional.normalize(random(40, 16), dim=1).float().to(DEVICE)
    before, kinds = torch.get_float32_matmul_precision(), []
    rounded = triton_backend._TritonPasses._rounded

    def watched(self, rows):
        kinds.append(rounded(self, rows)[2])
        return rounded(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_backend._TritonPasses, "_rounded", watched)
        try:
            torch.set_float32_matmul_precision(torch_is)
            rows = unit.clone().requires_grad_()
            with contrast_precision(asked):
                value = contrast(rows, scale=2.0, backend="triton", tile=32).denominator.sum()
            value.backward()
        finally:
            torch.set_float32_matmul_precision(before)
    assert set(kinds) == {kind}
    assert len(kinds) > 1


@runs_kernels
@pytest.mark.parametrize("switch", ["bfloat16", "medium"])
def test_reduced_precision_is_asked_for(switch: str) -> None:
    unit = torch.nn.functional.normalize(random(90, 24), dim=1)
    rounded = unit.to(torch.bfloat16)
    before = torch.get_float32_matmul_precision()
    try:
        if switch == "medium":
            torch.set_float32_matmul_precision("medium")
        given = rounded if switch == "bfloat16" else unit.float()
        got = value_and_gradients("triton", given, scale=5.0, tile=32)
    finally:
        torch.set_float32_matmul_precision(before)
    wanted = value_and_gradients("dense", rounded.double(), scale=5.0)
    # Products of the rounded embeddings are exact; the rounding of the softmax is in gradients.
    assert_same(got[:1], wanted[:1], bound=1e-6)
    assert_same(got[1:], wanted[1:], bound=1e-2)
    exact = value_and_gradients("triton", rounded.float(), scale=5.0, tile=32)
    assert_same(exact, wanted, bound=1e-5)
    assert float((got[1].double() - wanted[1]).norm() / wanted[1].norm()) > 1e-5


@runs_kernels
def test_layouts_in_memory() -> None:
    square, wide = random(20, 20), random(24, 19)
    layouts = {
        "transposed": square.T,
        "every second row": wide[::2],
        "every second feature": wide[:, ::2],
        "odd offset": wide[1:, 1:],
        "one row repeated": wide[:1].expand(20, 19),
    }
    for query in layouts.values():
        assert_equals_dense(query, query.flip(0), scale=0.2)


@runs_kernels
@pytest.mark.parametrize("columns", [64, 70])
def test_very_negative_logits_keep_their_value(columns: int) -> None:
    # Masking after the maximum gives -inf here when the columns do not fill the blocks.
    query = torch.full((3, 2), 10.0, device=DEVICE)
    key = torch.full((columns, 2), -6.0, device=DEVICE)
    value = contrast(query, key, scale=1.0, backend="triton", tile=64).denominator
    assert torch.allclose(value, torch.full_like(value, -120 + math.log(columns)), rtol=1e-6)


@runs_kernels
def test_an_excluded_logit_may_be_far_above_the_sum() -> None:
    # e^(excluded logit - sum) overflows; it must not reach value or gradient.
    query = torch.tensor([[30.0, 0.0], [-30.0, 0.0], [0.0, 1.0]], device=DEVICE)
    assert_equals_dense(query, scale=3.0, bound=1e-5)
    wanted = value_and_gradients("dense", query.double(), scale=3.0)
    assert_same(value_and_gradients("triton", query, scale=3.0), wanted, bound=1e-5)


@runs_kernels
def test_columns_removed_by_a_bias() -> None:
    bias = random(40, seed=2)
    bias[::2] = -torch.inf
    assert_equals_dense(random(20, 6), random(40, 6, seed=1), bias, scale=1.0)
    bias[:] = -torch.inf
    assert_equals_dense(random(20, 6), random(40, 6, seed=1), bias, scale=1.0)
    bias[:16] = 3.0
    assert_equals_dense(random(40, 6), None, bias, scale=1.0)


@runs_kernels
@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sides(rows: int, columns: int) -> None:
    query, key = random(rows, 3).requires_grad_(), random(columns, 3, seed=1).requires_grad_()
    output = contrast(query, key, scale=1.0, backend="triton", tile=16)
    assert torch.equal(output.denominator, torch.full((rows,), -torch.inf, device=DEVICE).double())
    for gradient in torch.autograd.grad(output.denominator.sum(), [query, key]):
        assert not gradient.isnan().any()


@runs_kernels
def test_repeated_runs_are_equal_to_the_bit() -> None:
    query = random(200, 16, dtype=torch.float32)
    runs = [value_and_gradients("triton", query, scale=0.3, tile=64) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


@runs_kernels
def test_a_second_derivative_is_refused() -> None:
    query = random(6, 3).requires_grad_()
    value = contrast(query, scale=1.0, backend="triton", tile=16).denominator.sum()
    (gradient,) = torch.autograd.grad(value, query, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        gradient.sum().backward()


def test_no_block_is_above_the_tile() -> None:
    for kind in ("bfloat16", "tf32", "ieee", "float64"):
        for width in (1, 64, 100, 256, 257, 2000):
            for blocks in (forward_blocks(kind, width, 40), backward_blocks(kind, width, 40)):
                assert max(blocks.rows, blocks.columns) == 32
            # Self-similar blocks on the diagonal are whole.
            assert (
                forward_blocks(kind, width, 512).rows % forward_blocks(kind, width, 512).columns
                == 0
            )


def test_the_blocks_that_hold_a_pair_are_listed() -> None:
    pairs = torch.tensor([[0, 40], [0, 41], [1, 3], [20, 40], [20, 40], [20, 2]])
    excluded = Exclusion(pairs[:, 0], pairs[:, 1])
    listed = KernelExclusion.of(excluded, Cut((30, 50), 16, 16, 32), triangle=False).pairs
    assert listed is not None
    assert listed.columns.tolist() == [40, 41, 3, 2, 40]
    assert listed.pointer.tolist() == [0, 2] + [3] * 19 + [5] * 10
    # Row block, first column and rounds: (0, 0, 1), (0, 32, 2), (1, 0, 1), (1, 32, 1).
    assert listed.block_columns.tolist() == [0, 32, 0, 32]
    assert listed.block_rounds.tolist() == [1, 2, 1, 1]
    # Stripes of 32 columns: 0 to 31 and the rest.
    assert listed.edges.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert listed.search_steps == 2


def test_auto_takes_triton_only_where_it_can_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    like, large = torch.empty(1), (1000, 1000)
    monkeypatch.setattr(backends, "triton_serves", lambda like: True)
    monkeypatch.setattr(backends, "native_library", lambda: None)
    monkeypatch.setattr(backends, "warn_if_missing", lambda: None)
    assert backends.resolve_backend("auto", large, like) == "triton"
    assert backends.resolve_backend("auto", large, like, ("dense", "tiles")) == "tiles"
    assert backends.resolve_backend("auto", (10, 10), like) == "dense"
    monkeypatch.undo()
    assert not backends.triton_serves(like)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def test_without_triton_the_other_backends_work_and_the_error_says_so() -> None:
    code = """
import sys
sys.modules["triton"] = None
import torch
from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast
contrast(torch.randn(9, 3), scale=1.0, backend="tiles")
try:
    contrast(torch.randn(9, 3), scale=1.0, backend="triton")
except ArgumentError as error:
    print(error)
"""
    done = run(code)
    assert "needs the package triton" in done.stdout, done.stderr
    assert "'tiles' computes on every device" in done.stdout


@needs_triton
def test_a_cpu_tensor_without_the_interpreter_is_named() -> None:
    code = """
import sys
import torch
from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast
assert "triton" not in sys.modules
try:
    contrast(torch.randn(9, 3), scale=1.0, backend="triton")
except ArgumentError as error:
    print(error)
"""
    done = run(code, TRITON_INTERPRET="0")
    assert "computes on CUDA devices; got tensors on cpu" in done.stdout, done.stderr


@needs_triton
def test_kernels_compile_for_hopper(tmp_path: Path) -> None:
    # The interpreter accepts what the compiler does not; neither needs a GPU.
    script = Path(__file__).with_name("compile_triton_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Shared memory of a program on a Hopper multiprocessor.
    assert done.stdout.count("\n") == 11
    assert all(int(line.split()[-1]) <= 232448 for line in done.stdout.splitlines())
