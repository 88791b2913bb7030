import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import ConfigError, DataError
from recsys.data import Interactions
from recsys.methods.sasrec import SASRec

ITEMS = 12
SMALL = {"dimension": 16, "layers": 2, "heads": 2, "max_length": 8, "batch_size": 8}


def cycles(num_users: int = 24, seed: int = 0) -> Interactions:
    """Every user walks the same cycle of items from a start of their own: next = item + 1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 15, (num_users,), generator=generator)
    users = torch.arange(num_users).repeat_interleave(lengths)
    starts = torch.randint(ITEMS, (num_users,), generator=generator)
    place = torch.cat([torch.arange(int(length)) for length in lengths])
    return Interactions.from_indices(users, (starts[users] + place) % ITEMS, num_items=ITEMS)


def build(data: Interactions, seed: int = 0, **settings: object) -> SASRec:
    torch.manual_seed(seed)
    return SASRec(configure(SASRec.Config, SMALL | settings), data)


def train(method: SASRec, epochs: int, seed: int = 0) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    optimizer = method.optimizer()
    means = []
    for epoch in range(1, epochs + 1):
        method.train()
        method.epoch_start(epoch, generator)
        values = []
        for batch in method.batches(generator):
            optimizer.zero_grad(set_to_none=True)
            total = method.loss(batch, generator)["total"]
            total.backward()
            optimizer.step()
            values.append(float(total.detach()))
        means.append(sum(values) / len(values))
    method.eval()
    return means


def test_learns_a_planted_order() -> None:
    data = cycles()
    method = build(data, learning_rate=1e-2, dropout=0.1)
    losses = train(method, 25)
    assert losses[0] > 2.2  # log 12 = 2.48 is ignorance
    assert losses[-1] < 0.3
    scores = method.score(torch.arange(data.num_users), data)
    last = torch.stack([data.history(user)[-1] for user in range(data.num_users)])
    assert torch.equal(scores.argmax(1), (last.long() + 1) % ITEMS)


def test_the_loss_is_the_mean_cross_entropy_of_every_prefix() -> None:
    """One pass over packed sequences equals training on each prefix by itself."""
    data = cycles(6)
    method = build(data, max_length=20, batch_size=6, dropout=0.0).double().eval()
    generator = torch.Generator().manual_seed(0)
    (batch,) = method.batches(generator)
    values: list[Tensor] = []
    for user in range(data.num_users):
        history = data.history(user).long()
        for end in range(1, len(history)):
            hidden = method.encoder(history[None, :end], torch.tensor([end]))[0, -1]
            logits = method.encoder.item_table @ hidden
            values.append(logits.logsumexp(0) - logits[history[end]])
    total = method.loss(batch, generator)["total"]
    torch.testing.assert_close(total, torch.stack(values).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gradient_reaches_every_parameter(norm: str) -> None:
    method = build(cycles(), norm=norm)
    generator = torch.Generator().manual_seed(0)
    for batch in method.batches(generator):
        method.loss(batch, generator)["total"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    # What no window uses has no gradient: the padding row.
    assert method.encoder.items.weight.grad is not None
    assert method.encoder.items.weight.grad[ITEMS].abs().max() == 0


def test_scores_read_the_latest_items_of_the_given_history() -> None:
    data = cycles()
    method = build(data).eval()
    users = torch.tensor([3, 0, 7])
    scores = method.score(users, data)
    assert scores.shape == (3, ITEMS)
    assert not scores.requires_grad
    for row, user in zip(scores, users, strict=True):
        latest = data.history(int(user))[-8:].long()
        hidden = method.encoder(latest[None], torch.tensor([len(latest)]))[0, -1]
        torch.testing.assert_close(row, method.encoder.item_table @ hidden)
    shorter = data.select(data.items != data.history(3)[-1])
    assert not torch.allclose(method.score(users[:1], shorter), scores[:1])


def test_scoring_is_deterministic_and_leaves_the_mode_alone() -> None:
    method = build(cycles(), dropout=0.5).train()
    users = torch.arange(5)
    assert torch.equal(method.score(users, method.data), method.score(users, method.data))
    assert method.training


def test_a_user_without_history_gets_finite_scores() -> None:
    data = Interactions.from_indices(
        torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), num_users=2, num_items=4
    )
    scores = build(data).eval().score(torch.tensor([0, 1]), data)
    assert scores.isfinite().all()
    assert scores[1].abs().max() == 0


def test_embeds_items_without_the_padding_row() -> None:
    method = build(cycles())
    table = method.embed(method.data)
    assert table.shape == (ITEMS, 16)
    assert not table.requires_grad
    table.zero_()
    assert method.encoder.item_table.abs().max() > 0


def test_same_seeds_same_model() -> None:
    first, second = build(cycles()), build(cycles())
    torch.manual_seed(9)
    one = train(first, 2, seed=4)
    torch.manual_seed(9)
    assert train(second, 2, seed=4) == one
    assert torch.equal(first.encoder.items.weight, second.encoder.items.weight)
    assert train(build(cycles()), 2, seed=5) != one


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        configure(SASRec.Config, {"dropout": 1.5})
    with pytest.raises(DataError, match="two interactions"):
        build(Interactions.from_indices(torch.arange(3), torch.arange(3)))
