import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.encoders import SASRecEncoder

ITEMS = 30


def encoder(**settings: object) -> SASRecEncoder:
    torch.manual_seed(0)
    arguments: dict = {"layers": 2, "heads": 2, "max_length": 12, "dropout": 0.0} | settings
    model = SASRecEncoder(ITEMS, 16, **arguments).double()
    # Larger than the initialisation, so that attention is far from uniform.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        model.items.weight[model.padding_id].zero_()
    return model.eval()


def sequences() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    items = torch.randint(0, ITEMS, (4, 12), generator=generator)
    return items, torch.tensor([12, 7, 1, 10])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_prefix_forward_equals_packed_forward(norm: str) -> None:
    model = encoder(norm=norm)
    items, lengths = sequences()
    packed = model(items, lengths)
    for length in range(1, 13):
        rows = lengths >= length
        stop = torch.full((int(rows.sum()),), length)
        prefix = model(items[rows, :length], stop)
        torch.testing.assert_close(prefix, packed[rows, :length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_nothing_depends_on_padding(norm: str) -> None:
    model = encoder(norm=norm)
    items, lengths = sequences()
    padding = torch.arange(12) >= lengths[:, None]
    one = model(items.masked_fill(padding, model.padding_id), lengths)
    other = model(items.masked_fill(padding, 5), lengths)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert one[padding].abs().max() == 0
    assert (one[~padding].abs().amax(-1) > 0).all()


def test_the_future_is_invisible() -> None:
    model = encoder()
    items, _ = sequences()
    lengths = torch.full((4,), 12)
    changed = items.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % ITEMS
    before, after = model(items, lengths), model(changed, lengths)
    torch.testing.assert_close(before[:, :8], after[:, :8], rtol=0, atol=1e-12)
    assert ((before[:, 8:] - after[:, 8:]).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_matches_the_formula(norm: str) -> None:
    model = encoder(norm=norm, heads=2, layers=1, feed_forward=24)
    items, lengths = sequences()
    block = model.blocks[0]
    norm_edge = model.edge_norm

    def attend(x: Tensor) -> Tensor:
        query, key, value = block.query_key_value(x).chunk(3, dim=-1)
        heads = []
        for q, k, v in zip(query.split(8, -1), key.split(8, -1), value.split(8, -1), strict=True):
            weights = (q @ k.T / 8**0.5).masked_fill(torch.ones(len(x), len(x)).triu(1) > 0, -1e30)
            heads.append(weights.softmax(-1) @ v)
        return block.output(torch.cat(heads, -1))

    def feed(x: Tensor) -> Tensor:
        return block.contract(block.expand(x).relu())

    out = model(items, lengths)
    for row, length in enumerate(lengths.tolist()):
        x = model.items.weight[items[row, :length]] + model.positions[:length]
        if norm == "pre":
            x = x + attend(block.attention_norm(x))
            x = norm_edge(x + feed(block.feed_forward_norm(x)))
        else:
            x = norm_edge(x)
            x = block.attention_norm(x + attend(x))
            x = block.feed_forward_norm(x + feed(x))
        torch.testing.assert_close(out[row, :length], x, rtol=0, atol=1e-10)


def test_padding_row_gets_no_gradient_and_is_not_in_the_table() -> None:
    model = encoder()
    items, lengths = sequences()
    padding = torch.arange(12) >= lengths[:, None]
    model(items.masked_fill(padding, model.padding_id), lengths).sum().backward()
    assert model.items.weight.grad is not None
    assert model.items.weight.grad[model.padding_id].abs().max() == 0
    assert model.item_table.shape == (ITEMS, 16)


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = SASRecEncoder(500, 32)
    for weight in (model.item_table, model.positions, model.blocks[0].expand.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.items.weight[500].abs().max() == 0
    assert model.blocks[0].output.bias.abs().max() == 0
    assert torch.equal(model.edge_norm.weight, torch.ones(32))


def test_an_empty_history_is_zero_not_nan() -> None:
    model = encoder()
    out = model(torch.zeros(2, 1, dtype=torch.long), torch.tensor([0, 1]))
    assert out[0].abs().max() == 0
    assert out.isfinite().all()


def test_dropout_acts_in_training_only() -> None:
    model = encoder(dropout=0.5, attention_dropout=0.3)
    items, lengths = sequences()
    assert torch.equal(model(items, lengths), model(items, lengths))
    model.train()
    assert not torch.equal(model(items, lengths), model(items, lengths))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "heads must divide dimension"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"norm": "middle"}, "norm must be"),
        ({"dropout": 1.0}, "dropout rate"),
    ],
)
def test_refuses_settings_outside_their_domain(settings: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        SASRecEncoder(ITEMS, 16, **settings)


def test_refuses_wrong_shapes() -> None:
    model = encoder()
    with pytest.raises(ArgumentError, match="at most max_length=12"):
        model(torch.zeros(1, 13, dtype=torch.long), torch.tensor([13]))
    with pytest.raises(ArgumentError, match="must be"):
        model(torch.zeros(2, 5, dtype=torch.long), torch.tensor([5]))
