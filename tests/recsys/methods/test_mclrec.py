"""MCLRec: its regulariser by its definition, and who learns in which pass."""

from __future__ import annotations

import pytest
import torch

from graphcl.config import configure
from graphcl.train.seeds import seed_everything
from recsys.data.load import load_interactions
from recsys.methods.mclrec import MCLRec, Pass, contrastive_regulariser
from recsys.methods.sequence_contrast import paired_info_nce


def by_definition(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    rows = [*first.tolist(), *second.tolist()]
    count = len(rows)
    above, below = [], []
    for a in range(count):
        scores = [
            sum(x * y for x, y in zip(rows[a], row, strict=True)) / temperature for row in rows
        ]
        partner = (a + count // 2) % count
        negatives = [scores[c] for c in range(count) if c not in (a, partner)]
        low = min(scores[partner], max(negatives))
        high = max(scores[partner], max(negatives))
        above.append(max(0.0, scores[partner] - low))
        below += [max(0.0, high - negative) for negative in negatives]
    return sum(above) / len(above) + sum(below) / len(below)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_regulariser(count: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(count)
    first, second = torch.randn(2, count, 4, generator=generator, dtype=torch.float64)
    value = contrastive_regulariser(first, second, temperature)
    assert float(value) == pytest.approx(by_definition(first, second, temperature), abs=1e-10)
    first.requires_grad_()
    second.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda one, other: contrastive_regulariser(one, other, temperature), (first, second)
    )


def test_regulariser_without_a_negative() -> None:
    for count in (0, 1):
        rows = torch.randn(count, 3, requires_grad=True)
        value = contrastive_regulariser(rows, rows, 1.0)
        value.backward()
        assert value.item() == 0.0


@pytest.fixture
def log(tiny_log):
    return load_interactions(str(tiny_log))


def made(log, **settings: object):
    generator = seed_everything(0)
    settings = {"dimension": 8, "layers": 1, "max_length": 6, "anchors": 64, **settings}
    return MCLRec(configure(MCLRec.Config, settings), log), generator


def test_each_batch_is_for_the_encoder_the_augmenters_and_the_encoder(log) -> None:
    model, generator = made(log)
    passes = list(model.batches(generator))
    assert [p.learner for p in passes[:6]] == ["encoder", "augmenters", "encoder"] * 2
    assert passes[0].batch is passes[1].batch is passes[2].batch
    targets = sum(len(one.batch.targets) for one in passes)
    assert targets == 3 * int(model._batches.lengths.sum())
    joint, generator = made(log, update="joint")
    assert {p.learner for p in joint.batches(generator)} == {"both"}


@pytest.mark.parametrize("learner", ["encoder", "augmenters", "both"])
def test_only_the_learner_gets_a_gradient(log, learner: str) -> None:
    model, generator = made(log)
    batch = next(iter(model.batches(generator))).batch
    model.loss(Pass(batch, learner), generator)["total"].backward()
    for name, parameter in model.named_parameters():
        learns = learner in ("both", "augmenters" if "augmenter" in name else "encoder")
        assert (parameter.grad is not None) == learns, name


def test_totals_are_made_of_their_parts(log) -> None:
    settings = {"contrast_weight": 0.3, "learned_weight": 0.2, "regulariser_weight": 0.5}
    model, generator = made(log, dropout=0.0, **settings)
    batch = next(iter(model.batches(generator))).batch

    def parts(learner: str) -> dict[str, torch.Tensor]:
        return model.loss(Pass(batch, learner), torch.Generator().manual_seed(1))

    encoder, augmenters = parts("encoder"), parts("augmenters")
    learned = augmenters["learned_contrast"] + 0.5 * augmenters["regulariser"]
    torch.testing.assert_close(augmenters["total"], learned)
    expected = encoder["cross_entropy"] + 0.3 * encoder["view_contrast"] + 0.2 * learned
    torch.testing.assert_close(encoder["total"], expected)
    torch.testing.assert_close(parts("both")["total"], expected)


def test_learned_contrast_by_its_formula(log) -> None:
    model, generator = made(log, dropout=0.0)
    model.double()
    batch = next(iter(model.batches(generator))).batch
    found = model.loss(Pass(batch, "both"), torch.Generator().manual_seed(1))
    h1, h2 = model.stochastic_views(batch, torch.Generator().manual_seed(1))
    z1, z2 = model.first_augmenter(h1), model.second_augmenter(h2)
    torch.testing.assert_close(z1.norm(dim=1), torch.ones(len(z1), dtype=torch.float64))
    contrast = sum(paired_info_nce(*pair, 1.0) for pair in ((z1, z2), (h1, z2), (h2, z1)))
    torch.testing.assert_close(found["learned_contrast"], contrast)
    regulariser = sum(by_definition(*pair, 1.0) for pair in ((z1, z2), (h1, z2), (h2, z1)))
    assert float(found["regulariser"]) == pytest.approx(regulariser, abs=1e-9)


def test_the_two_views_use_different_operators(log) -> None:
    model, generator = made(log, crop=0.5, mask=1.0, reorder=0.0)
    items, lengths = torch.arange(6).repeat(200, 1), torch.full((200,), 6)
    (one, one_lengths), (other, other_lengths) = model.view.pair(items, lengths, generator)

    def kinds(seen: torch.Tensor, seen_lengths: torch.Tensor) -> torch.Tensor:
        masked = (seen[:, 0] == model.encoder.mask_id).long()
        return torch.where(seen_lengths < 6, 2, masked)

    assert (kinds(one, one_lengths) != kinds(other, other_lengths)).all()
