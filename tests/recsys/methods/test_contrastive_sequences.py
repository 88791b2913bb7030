"""The contrastive parts of the sequence methods, against loops over single numbers."""

from __future__ import annotations

import math

import pytest
import torch

from graphcl.config import configure
from graphcl.errors import ConfigError
from graphcl.train.seeds import seed_everything
from recsys.data.interactions import Interactions
from recsys.data.load import load_interactions
from recsys.methods.cl4srec import CL4SRec
from recsys.methods.coserec import CoSeRec
from recsys.methods.duorec import DuoRec
from recsys.methods.iclrec import ICLRec
from recsys.methods.icsrec import ICSRec
from recsys.methods.sequence_contrast import paired_info_nce


def by_definition(
    first: torch.Tensor, second: torch.Tensor, temperature: float, labels: list[int] | None
) -> float:
    rows = [*first.tolist(), *second.tolist()]
    count, total = len(rows), 0.0
    for a in range(count):
        partner = (a + count // 2) % count
        logits = {
            c: sum(x * y for x, y in zip(rows[a], rows[c], strict=True)) / temperature
            for c in range(count)
        }
        kept = [logits[partner]]
        for c in range(count):
            if c in (a, partner):
                continue
            alike = labels is not None and labels[a % len(labels)] == labels[c % len(labels)]
            if not alike:
                kept.append(logits[c])
        top = max(kept)
        total += top + math.log(sum(math.exp(value - top) for value in kept)) - logits[partner]
    return total / count


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 1], [3, 3, 3, 3, 3]])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_paired_info_nce(labels: list[int] | None, temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    given = None if labels is None else torch.tensor(labels)
    value = paired_info_nce(first, second, temperature, given)
    assert float(value) == pytest.approx(
        by_definition(first, second, temperature, labels), abs=1e-10
    )
    first.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rows: paired_info_nce(rows, second, temperature, given), first
    )


def test_no_rows_are_no_loss() -> None:
    empty = torch.empty(0, 3, requires_grad=True)
    assert paired_info_nce(empty, empty, 1.0).item() == 0.0


@pytest.fixture
def log(tiny_log) -> Interactions:
    return load_interactions(str(tiny_log))


def made(method: type, log: Interactions, **settings: object):
    generator = seed_everything(0)
    settings = {"dimension": 8, "layers": 1, "max_length": 6, "anchors": 64, **settings}
    return method(configure(method.Config, settings), log), generator


@pytest.mark.parametrize("method", [CL4SRec, DuoRec, ICLRec, ICSRec])
def test_anchors_are_positions_with_their_own_prefix(method, log: Interactions) -> None:
    model, generator = made(method, log)
    batch = next(iter(model.batches(generator)))
    chosen = model.anchors(batch, generator)
    assert len(chosen) == min(64, len(batch.targets)) == len(set(chosen.tolist()))
    rows = model.subsequences.row_at[batch.places[chosen]]
    assert (rows >= 0).all()
    assert torch.equal(model.subsequences.targets[rows], batch.targets[chosen])


@pytest.mark.parametrize(("encoder", "longest"), [("sasrec", 20), ("sasrec", 3), ("gru4rec", 3)])
def test_anchors_have_the_states_of_their_subsequences(
    log: Interactions, encoder: str, longest: int
) -> None:
    model, generator = made(ICSRec, log, max_length=longest, encoder=encoder, intents=3)
    assert model.several_windows == (longest == 3)
    model.double().eval()
    found = []
    for batch in model.batches(generator):
        chosen = torch.randperm(len(batch.targets), generator=generator)
        hidden = model.hidden(batch)
        states = model.anchor_states(batch, chosen, hidden)
        rows = model.subsequences.row_at[batch.places[chosen]]
        prefixes = model.encoder.last(*model.subsequences.gather(rows))
        torch.testing.assert_close(states, prefixes, rtol=1e-9, atol=1e-9)
        same = (hidden[chosen] - prefixes).abs().amax(1) < 1e-9
        assert torch.equal(same, model.whole(batch)[chosen])
        found.append(same)
    assert torch.cat(found).all() == (longest == 20)


def test_gradients_reach_both_kinds_of_anchors(log: Interactions) -> None:
    model, generator = made(ICSRec, log, max_length=3, intents=3)
    batch = next(iter(model.batches(generator)))
    hidden = model.hidden(batch).detach().requires_grad_()
    chosen = torch.arange(len(batch.targets))
    model.anchor_states(batch, chosen, hidden).sum().backward()
    assert torch.equal(hidden.grad[:, 0] != 0, model.whole(batch))
    assert bool(model.encoder.items.weight.grad.any())


def test_mates_share_the_next_item(log: Interactions) -> None:
    for positive in ("random", "last"):
        model, generator = made(ICSRec, log, positive=positive, intents=4)
        batch = next(iter(model.batches(generator)))
        rows = model.subsequences.row_at[batch.places]
        items, lengths = model.mates(batch.places, batch.targets, generator)
        own, own_lengths = model.subsequences.gather(rows)
        groups = model.same_target.group_sizes(batch.targets)
        for i in range(len(rows)):
            mate = items[i, : lengths[i]].tolist()
            same = {
                tuple(model.subsequences.gather(torch.tensor([r]))[0][0, :n].tolist())
                for r, n in zip(
                    torch.nonzero(model.subsequences.targets == batch.targets[i]).flatten(),
                    model.subsequences.lengths[model.subsequences.targets == batch.targets[i]],
                    strict=True,
                )
            }
            assert tuple(mate) in same
            if groups[i] == 1:
                assert mate == own[i, : own_lengths[i]].tolist()


def test_coserec_takes_one_neighbour_at_least() -> None:
    assert configure(CoSeRec.Config, {"neighbours": 1}).neighbours == 1
    with pytest.raises(ConfigError, match=r"'neighbours' is not valid \(got 0\).* equal to 1"):
        configure(CoSeRec.Config, {"neighbours": 0})


def exact(method: type, log: Interactions, **settings: object):
    """A method in float64 without dropout, one of its batches, and what it draws for it.

    Histories have later windows, in which most anchors are longer than what the window holds.
    """
    model, generator = made(method, log, max_length=3, dropout=0.0, temperature=0.7, **settings)
    model.double()
    if hasattr(model, "prototypes"):
        model.epoch_start(1, generator)
    batch = max(model.batches(generator), key=lambda batch: int((~model.whole(batch)).sum()))
    found = model.loss(batch, torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    chosen = model.anchors(batch, again)
    assert not model.whole(batch)[chosen].all()
    targets = batch.targets[chosen]
    rows = model.subsequences.row_at[batch.places[chosen]]
    return model, found, again, rows, targets


def test_duorec_contrasts_the_sequence_with_another_of_its_target(log: Interactions) -> None:
    model, found, again, rows, targets = exact(DuoRec, log, contrast_weight=0.3)
    items, lengths = model.subsequences.gather(rows)
    mates = model.same_target(items, lengths, again, targets=targets, rows=rows)
    assert not torch.equal(mates[0], items)
    own, other = model.encoder.last(items, lengths), model.encoder.last(*mates)
    assert set(found) == {"total", "cross_entropy", "contrast"}
    expected = by_definition(own, other, 0.7, targets.tolist())
    assert found["contrast"].item() == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(found["total"], found["cross_entropy"] + 0.3 * found["contrast"])


def to_centres(model, states: torch.Tensor, labels: torch.Tensor) -> float:
    centres = torch.nn.functional.normalize(model.prototypes.centroids[labels], dim=1)
    return by_definition(states, centres, 0.7, labels.tolist())


def nearest(model, states: torch.Tensor) -> torch.Tensor:
    return torch.cdist(states, model.prototypes.centroids).argmin(1)


def test_icsrec_by_its_formula(log: Interactions) -> None:
    weights = {"contrast_weight": 0.3, "fine_weight": 0.2}
    model, found, again, rows, targets = exact(ICSRec, log, intents=5, **weights)
    items, lengths = model.subsequences.gather(rows)
    mates = model.same_target(items, lengths, again, targets=targets, rows=rows)
    own, other = model.encoder.last(items, lengths), model.encoder.last(*mates)
    coarse = by_definition(own, other, 0.7, targets.tolist())
    fine = sum(to_centres(model, states, nearest(model, states)) for states in (own, other))
    assert found["coarse"].item() == pytest.approx(coarse, abs=1e-9)
    assert found["fine"].item() == pytest.approx(fine, abs=1e-9)
    total = found["cross_entropy"] + 0.3 * found["coarse"] + 0.2 * found["fine"]
    torch.testing.assert_close(found["total"], total)


def test_iclrec_by_its_formula(log: Interactions) -> None:
    weights = {"contrast_weight": 0.3, "fine_weight": 0.2}
    model, found, again, rows, _ = exact(ICLRec, log, intents=5, **weights)
    items, lengths = model.subsequences.gather(rows)
    views = [model.encoder.last(*model.view(items, lengths, again)) for _ in range(2)]
    contrast = by_definition(*views, 0.7, None)
    labels = nearest(model, model.encoder.last(items, lengths))
    intent = sum(to_centres(model, view, labels) for view in views)
    assert found["view_contrast"].item() == pytest.approx(contrast, abs=1e-9)
    assert found["intent"].item() == pytest.approx(intent, abs=1e-9)
    total = found["cross_entropy"] + 0.3 * found["view_contrast"] + 0.2 * found["intent"]
    torch.testing.assert_close(found["total"], total)


@pytest.mark.parametrize("method", [ICLRec, ICSRec])
def test_prototypes_are_of_subsequences_of_any_length(
    method, log: Interactions, monkeypatch
) -> None:
    model, generator = made(method, log, max_length=3, intents=2, dropout=0.5)
    model.double()
    every = torch.arange(len(model.subsequences))
    with torch.no_grad():
        model.eval()
        expected = model.encoder.last(*model.subsequences.gather(every))
        model.train()
    given: list[torch.Tensor] = []
    monkeypatch.setattr(model.prototypes, "fit", lambda states, _: given.append(states))
    model.prototypes.sample = len(every)
    model.epoch_start(1, generator)
    # All of them, each once, in an order of their own.
    same = (given[0][:, None] - expected).abs().amax(2) < 1e-9
    assert len(given[0]) == len(every)
    torch.testing.assert_close(same.sum(0), (expected[:, None] - expected == 0).all(2).sum(0))
    model.prototypes.sample = 4
    model.epoch_start(2, generator)
    assert given[1].shape == (8, 8)
    assert (given[1][:, None] - expected).abs().amax(2).amin(1).max() < 1e-9
    assert model.training
    # Others every epoch, not the first rows of the index.
    model.epoch_start(3, generator)
    assert not torch.equal(given[2], given[1])
    # As it was found: a model that does not train is not made to.
    model.eval()
    model.epoch_start(4, generator)
    assert not model.training


@pytest.mark.parametrize("method", [ICLRec, ICSRec])
def test_prototypes_are_fitted_before_an_epoch(method, log: Interactions) -> None:
    model, generator = made(method, log, intents=3)
    assert not bool(model.prototypes.fitted)
    model.epoch_start(1, generator)
    assert bool(model.prototypes.fitted)
    assert model.training
    parts = model.loss(next(iter(model.batches(generator))), generator)
    assert all(torch.isfinite(part) for part in parts.values())
    assert model.prototypes.centroids.grad is None


def test_weights_of_zero_leave_the_next_item_loss(log: Interactions) -> None:
    model, generator = made(ICSRec, log, contrast_weight=0.0, fine_weight=0.0, intents=3)
    model.epoch_start(1, generator)
    parts = model.loss(next(iter(model.batches(generator))), generator)
    assert torch.equal(parts["total"], parts["cross_entropy"])
