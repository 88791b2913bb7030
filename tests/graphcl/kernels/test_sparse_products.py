"""Backends of the sparse products against dense algebra; scaled matrices; dropped entries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels import compiled
from graphcl.kernels.edge_hash import WHOLE, edge_draws, thresholds
from graphcl.kernels.spmm import (
    ScaledMatrix,
    SparseMatrix,
    drop_entries,
    horner,
    keep_probability,
    scaled,
    spmm,
)
from graphcl.native import load_library, missing_reason, usable_libraries

BACKENDS = ("torch", "native")
DRAWS = [514204219, 1053863189, 733869477]
no_kernels = pytest.mark.skipif(missing_reason() is not None, reason="no compiled kernels")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_matrix(
    rows: int, columns: int, entries: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> SparseMatrix:
    """Repetitions, empty rows and diagonal entries among them."""
    g = generator(seed)
    edges = torch.stack([torch.randint(size, (entries,), generator=g) for size in (rows, columns)])
    weight = torch.randn(entries, generator=g, dtype=torch.float64).to(dtype)
    return SparseMatrix.from_edge_index(edges, weight, shape=(rows, columns))


def random_graph(
    nodes: int, edges: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> SparseMatrix:
    """Undirected, every edge in both directions once, with a self-loop; weights of one."""
    pairs = torch.randint(nodes, (2, edges), generator=generator(seed))
    loop = torch.tensor([[nodes - 1], [nodes - 1]])
    both = torch.cat([pairs, pairs.flip(0), loop], 1).unique(dim=1)
    return SparseMatrix.from_edge_index(both, shape=nodes, symmetric=True, dtype=dtype)


def one_by_one(view: ScaledMatrix) -> Tensor:
    """The dense matrix that a view stands for, entry by entry, from its definition."""
    matrix, dropped = view.matrix, view.dropped
    dense = torch.zeros(view.shape, dtype=torch.float64)
    for place in range(matrix.entries):
        r, c = int(matrix.row[place]), int(matrix.column[place])
        value = float(matrix.value[place]) if view.weighted else 1.0
        if dropped is not None:
            limit = dropped.threshold_of_all
            if dropped.threshold is not None:
                limit = int(dropped.threshold[place])
            pair = (c, r) if dropped.turned else (r, c)
            pair = tuple(sorted(pair)) if dropped.undirected else pair
            draw = int(edge_draws(*(torch.tensor([node]) for node in pair), dropped.seed))
            loop = dropped.keep_self_loops and r == c
            if not loop and draw >= limit:
                continue
            if dropped.divide and not loop:
                value *= WHOLE / limit
        value *= 1.0 if view.row_scale is None else float(view.row_scale[r])
        value *= 1.0 if view.column_scale is None else float(view.column_scale[c])
        dense[r, c] += value
    return dense


# ---- products -------------------------------------------------------------------------------


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [0, 1, 3, 31, 64, 200])
def test_every_library_equals_dense(monkeypatch, name, dtype, width):
    library = load_library(name)
    monkeypatch.setattr(compiled, "native_library", lambda: library)
    matrix = random_matrix(83, 120, 700, dtype=dtype)
    x = torch.randn(120, width, dtype=torch.float64, generator=generator()).to(dtype)
    y = torch.randn(83, width, dtype=torch.float64, generator=generator(1)).to(dtype)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    found, wanted = [], []
    for backend, results in (("native", found), ("dense", wanted)):
        value = matrix.value.clone().requires_grad_()
        dense = x.clone().requires_grad_()
        product = spmm(matrix.with_value(value), dense, backend=backend)
        results += [product, *torch.autograd.grad((product * y).sum(), (value, dense))]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)


@no_kernels
def test_threads_do_not_change_a_bit():
    graph = random_graph(3000, 30_000, dtype=torch.float32)
    x = torch.randn(3000, 40, generator=generator())
    view = drop_entries(scaled(graph), 0.3, generator=generator())
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(torch.cat([spmm(graph, x), horner(view, x, [0.2, 0.3, 0.5])]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", [[0.5], [0.0, 1.0], [0.25, 0.0, 0.75], [0.25] * 4])
@pytest.mark.parametrize("kind", ["symmetric", "gcn", "row", "none"])
def test_horner_equals_powers(backend, weights, kind):
    matrix = random_matrix(9, 9, 30, seed=4)
    matrix = matrix.with_value(matrix.value.abs())
    plain = matrix if kind == "none" else matrix.normalised(kind)
    dense = plain.to_dense()
    x = torch.randn(9, 3, dtype=torch.float64, generator=generator(), requires_grad=True)
    powers = [torch.linalg.matrix_power(dense, k) for k in range(len(weights))]
    wanted = sum(w * power for w, power in zip(weights, powers, strict=True))
    for form in (plain, scaled(matrix, kind)):
        found = horner(form, x, weights, backend=backend)
        torch.testing.assert_close(found, wanted @ x, rtol=0, atol=1e-12)
        (gradient,) = torch.autograd.grad(found.sum(), x)
        torch.testing.assert_close(gradient, wanted.T.sum(1, keepdim=True).expand(9, 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend):
    graph = random_graph(6, 9, seed=2)
    directed = random_matrix(6, 6, 12, seed=3)
    view = drop_entries(scaled(graph), 0.4, generator=generator())
    one_way = drop_entries(directed, 0.4, generator=generator())
    x = torch.randn(6, 2, dtype=torch.float64, generator=generator(), requires_grad=True)
    value = directed.value.clone().requires_grad_()

    def products(values, dense):
        trained = directed.with_value(values)
        return (
            spmm(view, dense, backend=backend),
            spmm(one_way, dense, backend=backend),
            horner(view, dense, [0.3, 0.2, 0.5], backend=backend),
            horner(trained, dense, [0.3, 0.2, 0.5], backend=backend),
        )

    assert torch.autograd.gradcheck(products, (value, x))
    assert torch.autograd.gradgradcheck(products, (value, x), fast_mode=True)


@pytest.mark.parametrize("backend", ["dense", *BACKENDS])
def test_nothing_to_multiply(backend):
    none = torch.empty(2, 0, dtype=torch.long)
    empty = SparseMatrix.from_edge_index(none, shape=3)
    x = torch.ones(3, 2, requires_grad=True)
    for matrix in (empty, scaled(empty), drop_entries(scaled(empty), 0.5)):
        product = spmm(matrix, x, backend=backend)
        assert torch.equal(product, torch.zeros(3, 2))
        assert torch.equal(torch.autograd.grad(product.sum(), x)[0], torch.zeros(3, 2))
        torch.testing.assert_close(horner(matrix, x, [0.5, 0.5], backend=backend), x / 2)
    nowhere = SparseMatrix.from_edge_index(none, shape=(0, 3))
    assert spmm(nowhere, x, backend=backend).shape == (0, 2)
    assert spmm(nowhere.T, x[:0], backend=backend).tolist() == [[0, 0]] * 3


def test_bad_arguments():
    matrix = SparseMatrix.from_edge_index(torch.tensor([[0, 1], [1, 2]]), shape=3)
    x = torch.ones(3, 2)
    with pytest.raises(ArgumentError, match="backend must be one of auto, dense, torch, native"):
        spmm(matrix, x, backend="cuda")
    with pytest.raises(ArgumentError, match="square"):
        horner(random_matrix(2, 3, 4), x.double(), [1.0])
    with pytest.raises(ArgumentError, match="at least w_0"):
        horner(matrix, x, [])
    with pytest.raises(ArgumentError, match=r"\(3, d\)"):
        horner(matrix, x[:2], [1.0])
    with pytest.raises(ArgumentError, match="kind must be"):
        scaled(matrix, "columns")
    with pytest.raises(ArgumentError, match="square"):
        scaled(random_matrix(2, 3, 4), "gcn")


@no_kernels
def test_what_compiled_code_would_read_outside_is_refused():
    one = torch.ones(1)
    x = torch.ones(2, 1)
    for column in (2, -1):
        matrix = SparseMatrix(torch.tensor([0, 1, 1]), torch.tensor([column]), one, (2, 2))
        with pytest.raises(ArgumentError, match=r"column must lie in \[0, 2\)"):
            spmm(matrix, x)
    for pointer in ([0, 2, 1], [0, 0, 2], [1, 1, 1]):
        matrix = SparseMatrix(torch.tensor(pointer), torch.tensor([0]), one, (2, 2))
        with pytest.raises(ArgumentError, match="row_pointer must ascend"):
            spmm(matrix, x)


def test_without_compiled_kernels(monkeypatch):
    monkeypatch.setattr(compiled, "native_library", lambda: None)
    monkeypatch.setattr(compiled, "missing_reason", lambda: "nobody built them")
    graph = random_graph(8, 12)
    x = torch.randn(8, 2, dtype=torch.float64)
    view = drop_entries(scaled(graph), 0.5, generator=generator(), correct="degrees")
    torch.testing.assert_close(spmm(view, x), spmm(view, x, backend="torch"))
    with pytest.raises(ArgumentError, match=r"nobody built them; `python -m graphcl\.native`"):
        spmm(view, x, backend="native")


# ---- normalisation without values -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["symmetric", "gcn", "row"])
@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_scaled_equals_normalised(kind, self_loops, weighted):
    matrix = random_matrix(7, 7, 20, seed=1)
    value = matrix.value.abs() if weighted else torch.ones(20, dtype=torch.float64)
    matrix = matrix.with_value(value)
    found = scaled(matrix, kind, self_loops=self_loops)
    assert found.weighted == weighted
    wanted = matrix.normalised(kind, self_loops=self_loops).to_dense()
    torch.testing.assert_close(found.to_dense(), wanted)
    torch.testing.assert_close(found.T.to_dense(), wanted.T)
    torch.testing.assert_close(one_by_one(found), wanted)


def test_scaled_rectangular_and_symmetric():
    users = random_matrix(5, 8, 20).with_value(torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(scaled(users).to_dense(), users.normalised().to_dense())
    graph = scaled(random_graph(6, 8))
    assert graph.symmetric
    assert graph.T is graph
    assert not scaled(random_graph(6, 8), "row").symmetric


def test_negative_and_zero_degrees_scale_by_zero():
    edges = torch.tensor([[0, 1, 2], [1, 0, 0]])
    weight = torch.tensor([-1.0, 2.0, 0.0])
    matrix = SparseMatrix.from_edge_index(edges, weight, shape=3)
    assert torch.equal(scaled(matrix, "row").to_dense(), matrix.normalised("row").to_dense())


# ---- dropped entries ------------------------------------------------------------------------


@st.composite
def views(draw):
    """Any way of dropping from any small matrix."""
    seed = draw(st.integers(0, 999))
    symmetric = draw(st.booleans())
    rows, columns = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    entries = draw(st.integers(0, 25))
    if symmetric:
        matrix = random_graph(rows, entries, seed)
    else:
        matrix = random_matrix(rows, columns, entries, seed)
    rate = draw(st.sampled_from([0, 0.3, 0.8, 1.0]))
    if draw(st.booleans()):
        probability = torch.rand(matrix.entries, generator=generator(seed), dtype=torch.float64)
        if symmetric:
            low = torch.minimum(matrix.row, matrix.column)
            high = torch.maximum(matrix.row, matrix.column)
            probability = ((low * 31 + high * 7) % 11).double() / 10
        rate = keep_probability(matrix, probability)
    kind = draw(st.sampled_from(["none", "symmetric", "row"]))
    correct = draw(st.sampled_from(["expectation", "none", "degrees"]))
    if kind == "none" and correct == "degrees":
        correct = "none"
    source = scaled(matrix, kind)
    if kind == "none" and draw(st.booleans()):
        source = matrix
    return drop_entries(
        source,
        rate,
        generator=generator(seed),
        undirected=draw(st.booleans()) if matrix.shape[0] == matrix.shape[1] else None,
        keep_self_loops=draw(st.booleans()),
        correct=correct,
    )


@given(views())
@settings(max_examples=150, deadline=None)
def test_views_equal_their_definition(view):
    wanted = one_by_one(view)
    torch.testing.assert_close(view.to_dense(), wanted)
    torch.testing.assert_close(view.T.to_dense(), wanted.T)
    x = torch.randn(view.shape[1], 2, dtype=torch.float64, generator=generator())
    y = torch.randn(view.shape[0], 2, dtype=torch.float64, generator=generator(1))
    for backend in BACKENDS:
        if backend == "native" and missing_reason() is not None:
            continue
        dense = x.clone().requires_grad_()
        product = spmm(view, dense, backend=backend)
        torch.testing.assert_close(product, wanted @ x)
        (gradient,) = torch.autograd.grad((product * y).sum(), dense)
        torch.testing.assert_close(gradient, wanted.T @ y)


@pytest.mark.parametrize("kind", ["symmetric", "gcn", "row"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_degrees_of_what_is_left(kind, symmetric, weighted):
    matrix = random_graph(9, 20) if symmetric else random_matrix(9, 9, 30)
    if weighted:
        weight = (matrix.row * matrix.column).double() + 0.5
        matrix = matrix.with_value(weight, symmetric=symmetric)
    else:
        matrix = matrix.with_value(torch.ones_like(matrix.value), symmetric=symmetric)
    view = drop_entries(
        scaled(matrix, kind, self_loops=True), 0.5, generator=generator(), correct="degrees"
    )
    kept = view.kept()
    assert 0.2 < kept.double().mean() < 0.9
    whole = view.matrix
    edges = torch.stack([whole.row[kept], whole.column[kept]])
    left = SparseMatrix.from_edge_index(edges, whole.value[kept], shape=9, symmetric=symmetric)
    torch.testing.assert_close(view.to_dense(), left.normalised(kind).to_dense())


@pytest.mark.parametrize("undirected", [False, True])
def test_each_direction(undirected):
    graph = random_graph(300, 4000)
    view = drop_entries(graph, 0.5, generator=generator(), undirected=undirected, correct="none")
    dense = view.to_dense()
    same = (dense == dense.T)[graph.row, graph.column].double().mean()
    assert (same == 1) if undirected else (0.45 < same < 0.55)
    assert view.symmetric == undirected


def test_draws_are_uniform_and_independent():
    graph = random_graph(500, 6000)
    first, second = (drop_entries(graph, 0.25, generator=generator(seed)).kept() for seed in (0, 1))
    upper = graph.row < graph.column
    first, second = first[upper].double(), second[upper].double()
    # Five standard deviations.
    bound = 5 * (0.25 * 0.75 / len(first)) ** 0.5
    assert abs(float(first.mean()) - 0.75) < bound
    assert abs(float((first * second).mean()) - 0.75**2) < bound
    # Neighbours of one node are not dropped together: the kept degrees vary as binomials do.
    kept = torch.zeros(500, dtype=torch.float64).index_add(0, graph.row[upper], first)
    degree = torch.zeros(500, dtype=torch.float64).index_add(
        0, graph.row[upper], torch.ones_like(first)
    )
    variance = ((kept - 0.75 * degree) ** 2).sum() / (0.25 * 0.75 * degree).sum()
    assert 0.75 < variance < 1.3


def test_hash_of_consecutive_pairs_and_seeds_is_uniform():
    ids = torch.arange(256)
    draws = edge_draws(ids.repeat_interleave(256), ids.repeat(256), 12345)
    other = edge_draws(ids.repeat_interleave(256), ids.repeat(256), 12346)
    assert int(draws.min()) >= 0
    assert int(draws.max()) < WHOLE
    for values in (draws, (draws + other) % WHOLE, (draws ^ other)):
        counts = torch.bincount(values >> 22, minlength=256).double()
        chi_squared = ((counts - 256) ** 2 / 256).sum()
        # Mean 255, standard deviation 22.6.
        assert 255 - 5 * 22.6 < chi_squared < 255 + 5 * 22.6
    assert not torch.equal(edge_draws(ids[:1], ids[1:2], 5), edge_draws(ids[1:2], ids[:1], 5)), (
        "the order of a pair matters"
    )


def test_probability_for_each_edge():
    pairs = torch.stack([torch.arange(4000), torch.arange(4000) + 4000])
    edges = torch.cat([pairs, pairs.flip(0)], 1)
    group = torch.arange(4000) % 4
    wanted = torch.tensor([0.0, 0.2, 0.7, 1.0])[group].repeat(2)
    graph = SparseMatrix.from_edge_index(edges, shape=8000, symmetric=True)
    probability = SparseMatrix.from_edge_index(edges, wanted, shape=8000, symmetric=True).value
    view = drop_entries(graph, keep_probability(graph, probability), generator=generator())
    kept = view.kept()
    assert torch.equal(kept[:4000], kept[4000:])
    share = torch.zeros(4).index_add(0, group, kept[:4000].float()) / 1000
    assert share[0] == 0
    assert share[3] == 1
    assert abs(float(share[1]) - 0.2) < 0.065
    assert abs(float(share[2]) - 0.7) < 0.075
    value = view.to_sparse().value[:4000]
    torch.testing.assert_close(value[kept[:4000]], 1 / wanted[:4000][kept[:4000]])


def test_expectation_is_that_of_the_whole():
    graph = random_graph(12, 30)
    source = scaled(graph)
    g = generator()
    total = sum(drop_entries(source, 0.3, generator=g).to_dense() for _ in range(3000))
    whole = source.to_dense()
    assert float((total / 3000 - whole).abs().max()) < 5 * (0.3 / 0.7 / 3000) ** 0.5 * whole.max()


def test_rates_of_zero_and_one():
    graph = random_graph(20, 40)
    torch.testing.assert_close(drop_entries(graph, 0).to_dense(), graph.to_dense())
    loops = torch.diag(graph.to_dense().diagonal())
    assert torch.equal(drop_entries(graph, 1).to_dense(), loops)
    assert not drop_entries(graph, 1.0, keep_self_loops=False).to_dense().any()


def test_same_seed_same_view_and_input_untouched():
    graph = scaled(random_graph(30, 80))
    before = graph.to_dense().clone()
    first, second = (drop_entries(graph, 0.5, generator=generator(7)) for _ in range(2))
    assert torch.equal(first.kept(), second.kept())
    assert torch.equal(graph.to_dense(), before)
    assert graph.dropped is None
    assert graph.kept().all()
    torch.manual_seed(3)
    assert not torch.equal(drop_entries(graph, 0.5).kept(), drop_entries(graph, 0.5).kept())


@no_kernels
def test_dropping_keeps_no_list_of_entries():
    graph = scaled(random_graph(50, 200))
    view = drop_entries(graph, 0.5, generator=generator())
    spmm(view, torch.randn(50, 4, dtype=torch.float64))
    assert "_sparse" not in vars(view)
    assert view.matrix is graph.matrix


def test_the_same_draws_as_compiled_ones():
    # Written down, so that neither side changes alone: old seeds must give old views.
    draws = edge_draws(torch.tensor([0, 1, 70_000]), torch.tensor([0, 2, 3]), (5 << 32) + 9)
    assert draws.tolist() == DRAWS
    assert thresholds(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 1 << 29, 1 << 30]


def test_refusals_of_dropping():
    graph = random_graph(5, 6)
    users = random_matrix(3, 4, 5)
    for rate in (-0.1, 1.1, float("nan"), "0.5", True):
        with pytest.raises(ArgumentError, match=r"rate must be a number in \[0, 1\]"):
            drop_entries(graph, rate)
    with pytest.raises(ArgumentError, match="square"):
        drop_entries(users, 0.5, undirected=True)
    with pytest.raises(ArgumentError, match="needs a normalised matrix"):
        drop_entries(graph, 0.5, correct="degrees")
    with pytest.raises(ArgumentError, match="correct must be"):
        drop_entries(graph, 0.5, correct="mean")
    with pytest.raises(ArgumentError, match="dropped entries already"):
        drop_entries(drop_entries(graph, 0.5), 0.5)
    one = torch.ones(graph.entries)
    with pytest.raises(ArgumentError, match="probabilities are of a matrix with"):
        drop_entries(users, keep_probability(graph, one))
    with pytest.raises(ArgumentError, match="one for each entry"):
        keep_probability(graph, one[1:])
    with pytest.raises(ArgumentError, match=r"must lie in \[0, 1\]"):
        keep_probability(graph, one + 1)
    with pytest.raises(ArgumentError, match=r"must lie in \[0, 1\]"):
        keep_probability(graph, one * torch.nan)
    uneven = torch.arange(graph.entries).double() / graph.entries
    with pytest.raises(ArgumentError, match="same for both directions"):
        keep_probability(graph, uneven)
