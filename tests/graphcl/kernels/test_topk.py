"""`rank_items` against sorting and counting in plain Python."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError, NonFiniteError
from graphcl.kernels import compiled
from graphcl.kernels.topk import Lists, rank_items
from graphcl.native import load_library, missing_reason, usable_libraries

BACKENDS = ("dense", "torch", "native")
no_kernels = pytest.mark.skipif(missing_reason() is not None, reason="no compiled kernels")


def lists(sets) -> Lists:
    pairs = [(row, item) for row, items in enumerate(sets) for item in items]
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return Lists.from_pairs(table[:, 0], table[:, 1], len(sets))


def definition(scores, k, targets, excluded, keep_targets):
    ids, best, higher, tied = [], [], [], []
    for row, values in enumerate(scores):
        out = set(excluded[row]) - (set(targets[row]) if keep_targets else set())
        candidates = [item for item in range(len(values)) if item not in out]
        ranking = sorted(candidates, key=lambda item: (-values[item], item))[:k]
        ids.append(ranking + [-1] * (k - len(ranking)))
        best.append([values[item] for item in ranking] + [-math.inf] * (k - len(ranking)))
        for target in targets[row]:
            higher.append(sum(values[item] > values[target] for item in candidates))
            tied.append(sum(values[item] == values[target] for item in candidates))
    return ids, best, higher, tied


@st.composite
def cases(draw):
    items = draw(st.integers(1, 9))
    item = st.integers(0, items - 1)
    value = st.sampled_from([-math.inf, -1.5, 0.0, 0.25, 3.0, math.inf])
    rows = draw(st.integers(1, 4))
    scores = [[draw(value) for _ in range(items)] for _ in range(rows)]
    targets = [draw(st.lists(item, unique=True)) for _ in range(rows)]
    excluded = [draw(st.lists(item)) for _ in range(rows)]
    return scores, draw(st.integers(0, 11)), targets, excluded, draw(st.booleans())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_against_the_definition(backend, dtype, case):
    scores, k, targets, excluded, keep_targets = case
    given_scores = torch.tensor(scores, dtype=dtype)
    before = given_scores.clone()
    found = rank_items(
        given_scores,
        k=k,
        targets=lists(targets),
        excluded=lists(excluded),
        keep_targets=keep_targets,
        backend=backend,
    )
    ids, best, higher, tied = definition(*case)
    assert found.ids.tolist() == ids
    assert found.scores.tolist() == best
    assert found.higher.tolist() == higher
    assert found.tied.tolist() == tied
    assert torch.equal(given_scores, before)


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@pytest.mark.parametrize(("rows", "items", "k"), [(1, 1, 1), (50, 513, 7), (97, 2000, 600)])
def test_every_library_equals_torch(monkeypatch, name, rows, items, k):
    library = load_library(name)
    monkeypatch.setattr(compiled, "native_library", lambda: library)
    generator = torch.Generator().manual_seed(rows)
    # Few distinct values: many ties, within and across tiles and at the threshold.
    scores = torch.randint(-40, 40, (rows, items), generator=generator).float()
    targets = [torch.randperm(items, generator=generator)[:40].tolist() for _ in range(rows)]
    excluded = [torch.randint(items, (60,), generator=generator).tolist() for _ in range(rows)]
    options = {"k": k, "targets": lists(targets), "excluded": lists(excluded)}
    wanted = rank_items(scores, **options, backend="torch")
    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found = rank_items(scores, **options, backend="native")
        finally:
            torch.set_num_threads(before)
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one, other)


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("items", "dimension"), [(3, 1), (700, 20), (1500, 65)])
def test_products_equal_given_scores(monkeypatch, name, dtype, items, dimension):
    library = load_library(name)
    monkeypatch.setattr(compiled, "native_library", lambda: library)
    generator = torch.Generator().manual_seed(0)
    # Small integers: products are exact in any order, so ids, ties and counts must agree.
    users = torch.randint(-3, 4, (61, dimension), generator=generator).to(dtype)
    vectors = torch.randint(-3, 4, (items, dimension), generator=generator).to(dtype)
    targets = [torch.randperm(items, generator=generator)[:35].tolist() for _ in range(61)]
    options = {"k": 10, "targets": lists(targets), "excluded": lists([[0, 2]] * 61)}
    wanted = rank_items(users @ vectors.T, **options, backend="torch")
    for backend in BACKENDS:
        found = rank_items((users, vectors), **options, backend=backend)
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one, other)


@no_kernels
def test_equal_items_tie_exactly_in_products():
    generator = torch.Generator().manual_seed(1)
    users = torch.randn(70, 37, generator=generator)
    vectors = torch.randn(600, 37, generator=generator).repeat(3, 1)
    targets = lists([[5, 1000]] * 70)
    found = rank_items((users, vectors), k=6, targets=targets, backend="native")
    assert (found.tied == 3).all()
    assert torch.equal(found.ids[:, 0] + 600, found.ids[:, 1])
    assert torch.equal(found.ids[:, 0] + 1200, found.ids[:, 2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_to_rank(backend):
    empty = rank_items(torch.empty(0, 5), k=2, targets=lists([]), backend=backend)
    assert empty.ids.shape == (0, 2)
    assert empty.higher.numel() == 0
    alone = rank_items(torch.zeros(2, 0), k=1, backend=backend)
    assert alone.ids.tolist() == [[-1], [-1]]
    nothing = rank_items(torch.zeros(2, 3), excluded=lists([[0, 1, 2]] * 2), k=2, backend=backend)
    assert (nothing.ids == -1).all()
    assert (nothing.scores == -torch.inf).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_and_strides(backend):
    scores = torch.arange(12.0).reshape(4, 3).T
    assert rank_items(scores, k=1, backend=backend).ids.view(-1).tolist() == [3, 3, 3]
    assert rank_items(scores.half(), k=1, backend=backend).scores.dtype == torch.float32


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("items", [5, 64, 83])
@pytest.mark.parametrize("keep_targets", [True, False])
def test_one_target_in_every_row(backend, items, keep_targets):
    generator = torch.Generator().manual_seed(items)
    scores = torch.randint(7, (60, items), generator=generator).double()
    targets = torch.randint(items, (60, 1), generator=generator).tolist()
    excluded = torch.randint(items, (60, 3), generator=generator).tolist()
    found = rank_items(
        scores,
        targets=lists(targets),
        excluded=lists(excluded),
        keep_targets=keep_targets,
        backend=backend,
    )
    _, _, higher, tied = definition(scores.tolist(), 0, targets, excluded, keep_targets)
    assert found.higher.tolist() == higher
    assert found.tied.tolist() == tied
    for place in (0, items - 1):
        spoilt = scores.clone()
        spoilt[17, place] = math.nan
        with pytest.raises(NonFiniteError, match="NaN"):
            rank_items(spoilt, targets=lists(targets), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_refusals(backend):
    with pytest.raises(NonFiniteError, match="NaN"):
        rank_items(torch.tensor([[0.0, math.nan]]), k=1, backend=backend)
    vectors = torch.tensor([[math.inf, -math.inf]])
    with pytest.raises(NonFiniteError, match="NaN"):
        rank_items((vectors, vectors.abs()), k=1, backend=backend)
    with pytest.raises(ArgumentError, match="k must be"):
        rank_items(torch.zeros(1, 2), k=-1, backend=backend)
    with pytest.raises(ArgumentError, match=r"targets must hold items in \[0, 2\), got 2"):
        rank_items(torch.zeros(1, 2), targets=lists([[2]]), backend=backend)
    with pytest.raises(ArgumentError, match=r"pointer of shape \(2,\)"):
        rank_items(torch.zeros(1, 2), excluded=lists([[1], [0]]), backend=backend)
    wrong = Lists(torch.tensor([0, 3]), torch.tensor([1]))
    with pytest.raises(ArgumentError, match="ascends"):
        rank_items(torch.zeros(1, 2), excluded=wrong, backend=backend)
    with pytest.raises(ArgumentError, match="one dtype and width"):
        rank_items((torch.zeros(1, 2), torch.zeros(1, 3)), k=1, backend=backend)


def test_chunks_agree(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 20, (13, 40), generator=generator).float()
    wanted = [torch.randperm(40, generator=generator)[:7].tolist() for _ in range(13)]
    options = {"k": 5, "targets": lists(wanted), "excluded": lists([[1, 1, 3]] * 13)}
    whole = rank_items(scores, **options, backend="torch")
    monkeypatch.setattr("graphcl.kernels.topk.CELLS", 100)
    monkeypatch.setattr("graphcl.kernels.topk._CELLS_IN_CACHE", 100)
    for one, other in zip(rank_items(scores, **options, backend="torch"), whole, strict=True):
        assert torch.equal(one, other)
