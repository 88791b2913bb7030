"""BERT4Rec: what is hidden, the loss of it by its definition, and how it predicts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.config import configure
from graphcl.errors import ConfigError
from graphcl.train.seeds import seed_everything
from recsys.data import Interactions
from recsys.data.batches import SequenceBatches
from recsys.evaluate.full_ranking import Holdout, mean_metrics, rank_users
from recsys.methods.bert4rec import BERT4Rec, whole_windows

ITEMS = 12


def cycles(num_users: int = 24, seed: int = 0) -> Interactions:
    """Every user walks the same cycle of items from a start of their own: next = item + 1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (num_users,), generator=generator)
    users = torch.arange(num_users).repeat_interleave(lengths)
    starts = torch.randint(ITEMS, (num_users,), generator=generator)
    place = torch.cat([torch.arange(int(length)) for length in lengths])
    return Interactions.from_indices(users, (starts[users] + place) % ITEMS, num_items=ITEMS)


def build(data: Interactions, **settings: object) -> tuple[BERT4Rec, torch.Generator]:
    generator = seed_everything(0)
    small = {"dimension": 16, "layers": 1, "max_length": 9, "batch_size": 8}
    return BERT4Rec(configure(BERT4Rec.Config, small | settings), data), generator


def test_windows_hold_every_item_of_the_histories() -> None:
    data = cycles()
    for batch in SequenceBatches(data, 3, 5, ITEMS).epoch(torch.Generator().manual_seed(0)):
        items, lengths = whole_windows(batch, ITEMS)
        assert items.shape[1] == int(lengths.max())
        for user, row, length in zip(batch.users, items, lengths, strict=True):
            history = data.history(int(user)).tolist()
            found = row[: int(length)].tolist()
            assert any(history[at : at + len(found)] == found for at in range(len(history)))
            assert (row[int(length) :] == ITEMS).all()
    model, generator = build(data)
    seen = torch.cat([whole_windows(batch, 0)[1] for batch in model.batches(generator)])
    assert int(seen.sum()) == len(data), "within the window every history is one row"


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20), seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_every_row_hides_something_real(lengths: list[int], seed: int) -> None:
    model, _ = build(cycles(), mask=0.1)
    sizes = torch.tensor(lengths)
    generator = torch.Generator().manual_seed(seed)
    hidden = model.hidden_places(sizes, 9, generator)
    assert hidden.any(1).all()
    assert not (hidden & (torch.arange(9) >= sizes[:, None])).any()
    again = model.hidden_places(sizes, 9, torch.Generator().manual_seed(seed))
    assert torch.equal(hidden, again)


def test_the_share_of_hidden_items_and_of_rows_that_hide_the_last() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((4000,), 9)
    many, _ = build(cycles(), mask=0.4, last_only=0.0)
    assert float(many.hidden_places(lengths, 9, generator).float().mean()) == pytest.approx(
        0.4, abs=0.01
    )
    alone, _ = build(cycles(), mask=1.0, last_only=0.25)
    hidden = alone.hidden_places(lengths, 9, generator)
    single = hidden.sum(1) == 1
    assert float(single.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert hidden[single, 8].all()


def test_loss_by_its_definition() -> None:
    data = cycles()
    model, generator = build(data, dropout=0.0)
    model.double()
    batch = next(iter(model.batches(generator)))
    value = model.loss(batch, torch.Generator().manual_seed(5))["total"]
    items, lengths = whole_windows(batch, ITEMS)
    hidden = model.hidden_places(lengths, items.shape[1], torch.Generator().manual_seed(5))
    table = model.encoder.items.weight[:ITEMS]
    losses = []
    for row in range(len(items)):
        length = int(lengths[row])
        shown = [ITEMS + 1 if hidden[row, t] else int(items[row, t]) for t in range(length)]
        states = model.encoder(torch.tensor([shown]), torch.tensor([length]))[0]
        for t in range(length):
            if hidden[row, t]:
                logits = (table @ model.head(states[t])).tolist()
                total = sum(math.exp(logit) for logit in logits)
                losses.append(math.log(total) - logits[int(items[row, t])])
    assert value.item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)


def test_a_hidden_item_is_not_seen_and_both_sides_are() -> None:
    model, _ = build(cycles())
    model.eval()
    mask = model.encoder.mask_id
    items = torch.tensor([[1, 2, mask, 4, 5]])
    state = model.encoder(items, torch.tensor([5]))[0, 2]
    for place in (0, 1, 3, 4):
        other = items.clone()
        other[0, place] = 7
        assert not torch.allclose(model.encoder(other, torch.tensor([5]))[0, 2], state)


def test_prediction_reads_a_mask_behind_the_latest_items() -> None:
    users = torch.tensor([0] * 12 + [1] * 3 + [3])
    items = torch.tensor([*range(12), 4, 5, 6, 2])
    data = Interactions.from_indices(users, items, num_users=4, num_items=ITEMS)
    model, _ = build(data, max_length=6)
    scores = model.score(torch.tensor([0, 1, 2, 3]), data)
    assert scores.shape == (4, ITEMS)
    model.eval()
    expected = {0: [7, 8, 9, 10, 11], 1: [4, 5, 6], 2: [], 3: [2]}
    for user, known in expected.items():
        shown = torch.tensor([[*known, model.encoder.mask_id]])
        state = model.head(model.encoder(shown, torch.tensor([len(known) + 1]))[0, -1])
        by_hand = state @ model.encoder.item_table.T
        torch.testing.assert_close(scores[user], by_hand, rtol=1e-5, atol=1e-6)


def test_it_learns_a_cycle() -> None:
    data = cycles(48)
    # Windows fill the position table: a place that no window reaches would be untrained.
    chosen = {"dropout": 0.0, "dimension": 32, "max_length": 6, "mask": 0.4, "last_only": 0.5}
    model, generator = build(data, **chosen)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(50):
        for batch in model.batches(generator):
            optimizer.zero_grad()
            model.loss(batch, generator)["total"].backward()
            optimizer.step()
    last = torch.stack([data.history(user)[-1] for user in range(data.num_users)]).long()
    wanted = Interactions.from_indices(
        torch.arange(data.num_users), (last + 1) % ITEMS, num_items=ITEMS
    )
    metrics = mean_metrics(rank_users(model, Holdout(data, wanted), (1,), mask_seen="keep"))
    assert metrics["hit@1"] > 0.9


def test_settings_that_cannot_be() -> None:
    for wrong in ({"max_length": 1}, {"mask": 0.0}, {"encoder": "gru4rec"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build(cycles(), **wrong)
