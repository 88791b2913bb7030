"""What the sequence methods share: packed training, losses by name, encoders by name."""

import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import ArgumentError, ConfigError, DataError
from recsys.data import Interactions
from recsys.data.batches import SequenceBatches
from recsys.data.subsequence_batches import SubsequenceBatches
from recsys.methods.gru4rec import GRU4Rec
from recsys.methods.next_item_loss import PART_NAMES, NextItemLoss
from recsys.methods.sasrec import SASRec
from recsys.methods.sequential import SequentialRecommender, TransformerConfig
from recsys.views import Subsequences

ITEMS = 12
SMALL = {"dimension": 16, "layers": 1, "max_length": 8, "batch_size": 8}


def cycles(num_users: int = 24, seed: int = 0) -> Interactions:
    """Every user walks the same cycle of items from a start of their own: next = item + 1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (num_users,), generator=generator)
    users = torch.arange(num_users).repeat_interleave(lengths)
    starts = torch.randint(ITEMS, (num_users,), generator=generator)
    place = torch.cat([torch.arange(int(length)) for length in lengths])
    return Interactions.from_indices(users, (starts[users] + place) % ITEMS, num_items=ITEMS)


def build(kind: type[SequentialRecommender], data: Interactions, **settings: object):
    torch.manual_seed(0)
    return kind(configure(kind.Config, SMALL | settings), data)


CHOICES = [(SASRec, {}), (SASRec, {"norm": "post"}), (SASRec, {"encoder": "ligr"}), (GRU4Rec, {})]


@pytest.mark.parametrize(("kind", "settings"), CHOICES)
def test_packed_training_equals_prefix_rows(kind, settings) -> None:
    """Value and gradient of an epoch, in float64 without dropout, within the window."""
    data = cycles()
    method = build(kind, data, dropout=0.0, **settings).double()
    generator = torch.Generator().manual_seed(0)
    rows = Subsequences(data.items, data.offsets, 8, padding=method.encoder.padding_id)
    count = len(rows)

    def gradients() -> list[torch.Tensor]:
        found = [parameter.grad for parameter in method.parameters()]
        method.zero_grad(set_to_none=True)
        return found

    packed = 0.0
    for batch in method.batches(generator):
        part = method.loss(batch, generator)["total"] * len(batch.targets) / count
        part.backward()
        packed += float(part.detach())
    packed_gradients = gradients()
    prefix = 0.0
    for row in SubsequenceBatches(rows, 16).epoch(generator):
        hidden = method.encoder.last(row.items, row.lengths)
        logits = hidden @ method.encoder.item_table.T
        part = torch.nn.functional.cross_entropy(logits, row.targets, reduction="sum") / count
        part.backward()
        prefix += float(part.detach())
    assert packed == pytest.approx(prefix, rel=1e-12)
    for one, other in zip(packed_gradients, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


def test_places_of_a_batch_name_its_subsequences() -> None:
    data = cycles()
    rows = Subsequences(data.items, data.offsets, 8)
    seen = []
    for batch in SequenceBatches(data, 8, 5, ITEMS).epoch(torch.Generator().manual_seed(0)):
        number = rows.row_at[batch.places]
        assert torch.equal(rows.targets[number], batch.targets)
        users = batch.users.repeat_interleave(batch.lengths)
        assert torch.equal(rows.users[number], users)
        seen.append(number)
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(len(rows)))


def test_every_subsequence_once_an_epoch() -> None:
    data = cycles()
    rows = Subsequences(data.items, data.offsets, 5, padding=ITEMS)
    batches = SubsequenceBatches(rows, 7)
    epochs = [list(batches.epoch(torch.Generator().manual_seed(seed))) for seed in (0, 0, 1)]
    order = [torch.cat([batch.rows for batch in epoch]) for epoch in epochs]
    assert torch.equal(order[0], order[1])
    assert not torch.equal(order[0], order[2])
    assert torch.equal(order[0].sort().values, torch.arange(len(rows)))
    assert len(batches) == len(epochs[0])
    batch = epochs[0][0]
    assert torch.equal(batch.items, rows.gather(batch.rows)[0])
    assert torch.equal(batch.users, rows.users[batch.rows])
    with pytest.raises(ArgumentError, match="batch_size"):
        SubsequenceBatches(rows, 0)
    with pytest.raises(DataError, match="two interactions"):
        SubsequenceBatches(Subsequences(data.items[:1], torch.tensor([0, 1]), 5), 3)


def fixed_case(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(40, 16, generator=generator, dtype=torch.float64)
    table = torch.randn(ITEMS, 16, generator=generator, dtype=torch.float64)
    targets = torch.randint(ITEMS, (40,), generator=generator)
    return hidden, table, targets, torch.arange(40) % 24


def test_cross_entropy_is_that_of_torch() -> None:
    hidden, table, targets, users = fixed_case()
    value = NextItemLoss("ce", cycles())(hidden, table, targets, users, torch.Generator())
    expected = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    torch.testing.assert_close(value, expected)


def test_many_sampled_negatives_approach_the_cross_entropy() -> None:
    hidden, table, targets, users = fixed_case()
    data = cycles()
    exact = NextItemLoss("ce", data)(hidden, table, targets, users, torch.Generator())
    sampled = NextItemLoss("sampled", data)
    sampled.negatives = 20_000
    near = sampled(hidden, table, targets, users, torch.Generator().manual_seed(0))
    torch.testing.assert_close(near, exact, rtol=0.02, atol=0)


def drawn_negatives(shared: bool, hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Scores (40, 5) of what a generator with seed 3 draws; -inf where it is the target."""
    shape = (5,) if shared else (40, 5)
    drawn = torch.randint(ITEMS, shape, generator=torch.Generator().manual_seed(3)).expand(40, 5)
    scores = torch.einsum("td,tkd->tk", hidden, table[drawn])
    return scores.masked_fill(drawn == targets[:, None], -torch.inf)


either = pytest.mark.parametrize("shared", [True, False])


@either
def test_without_correction_the_negatives_count_as_they_are(shared: bool) -> None:
    hidden, table, targets, users = fixed_case()
    loss = NextItemLoss(
        "sampled", cycles(), negatives=5, correct_sampling=False, shared_negatives=shared
    )
    value = loss(hidden, table, targets, users, torch.Generator().manual_seed(3))
    negative = drawn_negatives(shared, hidden, table, targets)
    positive = (hidden * table[targets]).sum(1, keepdim=True)
    zero = torch.zeros(40, dtype=torch.long)
    expected = torch.nn.functional.cross_entropy(torch.cat((positive, negative), 1), zero)
    torch.testing.assert_close(value, expected)


def test_what_a_loss_is_told_are_the_settings() -> None:
    told = {"loss": "gbce", "negatives": 5, "calibration": 0.5}
    loss = build(SASRec, cycles(), **told).next_item_loss
    assert (loss.choice, loss.negatives, loss.objective.calibration) == ("gbce", 5, 0.5)
    assert (loss.shared, loss.correct_sampling) == (True, True)
    loss = build(SASRec, cycles(), shared_negatives=False, correct_sampling=False).next_item_loss
    assert (loss.shared, loss.correct_sampling) == (False, False)


@either
def test_gbce_is_its_formula(shared: bool) -> None:
    hidden, table, targets, users = fixed_case()
    loss = NextItemLoss("gbce", cycles(), negatives=5, shared_negatives=shared)
    value = loss(hidden, table, targets, users, torch.Generator().manual_seed(3))
    log_sigmoid = torch.nn.functional.logsigmoid
    positive = (hidden * table[targets]).sum(1)
    negative = drawn_negatives(shared, hidden, table, targets)
    power = 1 - 0.75 * (1 - 5 / (ITEMS - 1))
    total = -power * log_sigmoid(positive) - log_sigmoid(-negative).sum(1)
    torch.testing.assert_close(value, (total / 6).mean())


@pytest.mark.parametrize("choice", ["bce", "bpr"])
def test_losses_of_sampled_scores_are_their_formulas(choice: str) -> None:
    hidden, table, targets, users = fixed_case()
    data = cycles()
    loss = NextItemLoss(choice, data, negatives=5)
    value = loss(hidden, table, targets, users, torch.Generator().manual_seed(3))
    same = torch.Generator().manual_seed(3)
    log_sigmoid = torch.nn.functional.logsigmoid
    positive = (hidden * table[targets]).sum(1)
    from graphcl.kernels.negatives import sample_negatives

    drawn = sample_negatives(users[:, None].expand(-1, 5), ITEMS, data.pair_keys(), same)
    taken = {tuple(pair) for pair in torch.stack(data.edges(), 1).tolist()}
    for user, row in zip(users.tolist(), drawn.tolist(), strict=True):
        assert not taken & {(user, item) for item in row}
    negative = (hidden[:, None] * table[drawn]).sum(2)
    if choice == "bce":
        expected = -(log_sigmoid(positive) + log_sigmoid(-negative).sum(1)) / 6
    else:
        expected = -log_sigmoid(positive[:, None] - negative).mean(1)
    torch.testing.assert_close(value, expected.mean())


@pytest.mark.parametrize("choice", PART_NAMES)
@pytest.mark.parametrize("kind", [SASRec, GRU4Rec])
def test_every_loss_trains_every_method(choice: str, kind) -> None:
    data = cycles(num_users=60)
    method = build(kind, data, loss=choice, negatives=8, learning_rate=0.02, dropout=0.0)
    generator = torch.Generator().manual_seed(0)
    optimizer = method.optimizer()
    for _ in range(20):
        for batch in method.batches(generator):
            optimizer.zero_grad()
            parts = method.loss(batch, generator)
            assert parts.keys() == {"total", PART_NAMES[choice]}
            parts["total"].backward()
            optimizer.step()
    method.eval()
    scores = method.score(torch.arange(60), data)
    # What a user took is never a negative of bce and bpr, so it is not for them to rank it.
    scores[data.edges()] = -torch.inf
    last = torch.stack([data.history(user)[-1] for user in range(60)]).long()
    hits = (scores.argmax(1) == (last + 1) % ITEMS).double().mean()
    assert hits > 0.5


@pytest.mark.parametrize("encoder", ["sasrec", "ligr", "gru4rec"])
def test_a_method_of_ones_own_takes_any_encoder(encoder: str) -> None:
    class Own(SequentialRecommender):
        Config = TransformerConfig
        tokens = 1

    method = build(Own, cycles(), encoder=encoder)
    assert method.encoder.mask_id == ITEMS + 1
    (batch, *_) = method.batches(torch.Generator().manual_seed(0))
    hidden = method.encoder(batch.items, batch.lengths)[batch.real]
    value = method.next_item(batch, torch.Generator(), hidden)
    assert value.dim() == 0
    assert method.embed(method.data).shape == (ITEMS, 16)


def test_a_tiny_catalogue_and_refusals() -> None:
    data = Interactions.from_indices(torch.tensor([0, 0, 0]), torch.tensor([0, 1, 0]), num_items=2)
    for choice in PART_NAMES:
        method = build(SASRec, data, loss=choice)
        (batch,) = method.batches(torch.Generator())
        assert method.loss(batch, torch.Generator())["total"].isfinite()
    with pytest.raises(ArgumentError, match="loss must be"):
        NextItemLoss("softmax", data)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="negatives"):
        NextItemLoss("sampled", data, negatives=0)
    with pytest.raises(ConfigError, match="loss"):
        configure(SASRec.Config, {"loss": "softmax"})
    with pytest.raises(ConfigError, match="encoder"):
        configure(SASRec.Config, {"encoder": "gru4rec"})
