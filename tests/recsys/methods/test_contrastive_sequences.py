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
        found.append(prefixes[same])
    assert sum(map(len, found)) < len(model.subsequences) or longest == 20
    # In an order of its own.
    expected, given = torch.cat(found).sum(0), model.all_states(generator)
    assert len(given) == sum(map(len, found))
    torch.testing.assert_close(given.sum(0), expected)


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
