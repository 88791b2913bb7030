"""What every sampler promises. A new line in `graphcl.samplers.SAMPLERS` is tested as it is."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

import graphcl.samplers
from graphcl.errors import ArgumentError
from graphcl.samplers import SAMPLERS, Negatives, Sampler
from graphcl.samplers.examples import SamplerExample

everyone = pytest.mark.parametrize("name", sorted(SAMPLERS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(name: str) -> SamplerExample:
    return SAMPLERS[name].example(generator())


def draw(case: SamplerExample, count: int, seed: int = 0) -> Negatives:
    return case.sampler(case.rows, count, generator(seed), targets=case.targets)


def probabilities(case: SamplerExample) -> Tensor:
    """(M, N) of every item for every row."""
    every = torch.arange(case.num_items).expand(case.rows.numel(), -1)
    return case.sampler.log_probability(case.rows, every, targets=case.targets).exp()


@everyone
def test_is_exported_and_documented(name: str) -> None:
    sampler = SAMPLERS[name]
    assert sampler.__name__ == name
    assert name in graphcl.samplers.__all__
    assert isinstance(example(name).sampler, Sampler)
    documentation = inspect.getdoc(sampler)
    assert documentation.split("\n")[0].endswith(".")
    for section in ("Args:", "Raises:", "Example:"):
        assert section in documentation
    scope = {"torch": torch, name: sampler}
    for line in re.findall(r">>> (.*)", documentation):
        exec(line, scope)


@everyone
@pytest.mark.parametrize("count", [0, 1, 7])
def test_shape_dtype_and_range(name: str, count: int) -> None:
    case = example(name)
    indices, log_probability = draw(case, count)
    assert indices.shape == log_probability.shape == (case.rows.numel(), count)
    assert indices.dtype == torch.int64
    assert log_probability.dtype == torch.float64
    assert ((indices >= -1) & (indices < case.num_items)).all()
    assert (log_probability <= 1e-12).all()


@everyone
def test_no_rows(name: str) -> None:
    case = example(name)
    targets = None if case.targets is None else case.targets[:0]
    indices, log_probability = case.sampler(case.rows[:0], 3, targets=targets)
    assert indices.shape == log_probability.shape == (0, 3)


@everyone
def test_probabilities_sum_to_one_or_there_is_nothing_to_draw(name: str) -> None:
    case = example(name)
    total = probabilities(case).sum(dim=1)
    empty = (draw(case, 5).indices == -1).any(dim=1)
    assert empty.any(), "the example should have a row with nothing to draw"
    assert not empty.all()
    assert torch.allclose(total, (~empty).double(), atol=1e-12)


@everyone
def test_known_positives_are_impossible(name: str) -> None:
    case = example(name)
    if case.known is None:
        return
    rows, items = case.known
    chance = probabilities(case)
    assert (chance[rows, items] == 0).all()
    drawn = draw(case, 3000).indices
    for row, item in zip(rows.tolist(), items.tolist(), strict=True):
        assert not (drawn[row] == item).any()


@everyone
def test_reported_log_probability_is_the_true_one(name: str) -> None:
    case = example(name)
    indices, log_probability = draw(case, 400)
    again = case.sampler.log_probability(case.rows, indices, targets=case.targets)
    assert torch.allclose(log_probability, again, rtol=1e-12, atol=0)
    present = indices >= 0
    assert torch.isfinite(log_probability[present]).all()
    assert torch.isneginf(log_probability[~present]).all()


@everyone
def test_frequencies_are_the_probabilities(name: str) -> None:
    """A chi-square test per row; at the 1e-5 point six samplers rarely fail by chance."""
    case, draws = example(name), 20_000
    chance, drawn = probabilities(case), draw(case, draws).indices
    for row in range(case.rows.numel()):
        if (drawn[row] == -1).any():
            assert (drawn[row] == -1).all()
            continue
        counts = torch.bincount(drawn[row], minlength=case.num_items).double()
        possible = chance[row] > 0
        assert counts[~possible].sum() == 0
        expected = draws * chance[row][possible]
        statistic = ((counts[possible] - expected) ** 2 / expected).sum()
        freedom = int(possible.sum()) - 1
        assert freedom == 0 or statistic < chi2.ppf(1 - 1e-5, freedom)


@everyone
def test_draws_of_a_row_are_independent_of_their_place(name: str) -> None:
    """First and last draw agree no more often than two independent ones."""
    case = example(name)
    chance = probabilities(case)
    both = torch.stack([draw(case, 2, seed).indices for seed in range(1500)])
    for row in range(case.rows.numel()):
        if (both[:, row] == -1).any():
            continue
        agree = float((both[:, row, 0] == both[:, row, 1]).double().mean())
        expected = float((chance[row] ** 2).sum())
        assert abs(agree - expected) <= 4.5 * (expected * (1 - expected) / 1500) ** 0.5


@everyone
def test_the_generator_decides(name: str) -> None:
    case = example(name)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = draw(case, 50, 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(first.indices, draw(case, 50, 3).indices)
    assert not torch.equal(first.indices, draw(case, 50, 4).indices)


@everyone
def test_inputs_are_left_alone_and_rows_may_repeat(name: str) -> None:
    case = example(name)
    rows = case.rows.repeat(2)
    targets = None if case.targets is None else case.targets.repeat(2)
    copy = rows.clone()
    indices, _ = case.sampler(rows, 200, generator(), targets=targets)
    assert torch.equal(rows, copy)
    # The two copies of a row draw from the same items, each for itself.
    half = case.rows.numel()
    assert torch.equal((indices[:half] < 0), (indices[half:] < 0))
    assert not torch.equal(indices[:half], indices[half:])


@everyone
@pytest.mark.parametrize("count", [-1, 1.5, True])
def test_bad_counts_are_refused(name: str, count: object) -> None:
    case = example(name)
    with pytest.raises(ArgumentError, match="count must be an integer of at least 0"):
        case.sampler(case.rows, count, targets=case.targets)


@everyone
def test_bad_rows_are_refused(name: str) -> None:
    case = example(name)
    with pytest.raises(ArgumentError, match=r"rows must be \(M,\) of torch\.int64"):
        case.sampler(case.rows.float(), 2, targets=case.targets)
    with pytest.raises(ArgumentError, match=r"rows must be .*; got values in -1"):
        case.sampler(case.rows - 1, 2, targets=case.targets)
