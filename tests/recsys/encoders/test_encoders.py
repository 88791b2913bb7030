"""What every sequence encoder promises: prefixes equal the packed pass, padding has no say."""

import pytest
import torch

from graphcl.errors import ArgumentError
from recsys.encoders import GRU4RecEncoder, SASRecEncoder, SequenceEncoder, last_by_length

ITEMS = 30
KINDS = {
    "sasrec": lambda **more: SASRecEncoder(ITEMS, 16, max_length=12, **more),
    "one-block": lambda **more: SASRecEncoder(ITEMS, 16, layers=1, max_length=12, **more),
    "gelu-post": lambda **more: SASRecEncoder(
        ITEMS, 16, max_length=12, norm="post", activation="gelu", **more
    ),
    "ligr": lambda **more: SASRecEncoder(ITEMS, 16, max_length=12, gated=True, **more),
    "gru4rec": lambda **more: GRU4RecEncoder(ITEMS, 16, max_length=12, **more),
    "gru4rec-deep": lambda **more: GRU4RecEncoder(ITEMS, 16, layers=2, hidden=9, **more),
}
every = pytest.mark.parametrize("kind", KINDS)


def build(kind: str, **more: object) -> SequenceEncoder:
    torch.manual_seed(0)
    model = KINDS[kind](dropout=0.0, **more).double().eval()
    # Larger than the initialisation, so that nothing is nearly linear or uniform.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        model.items.weight[model.padding_id].zero_()
    return model


def sequences() -> tuple[torch.Tensor, torch.Tensor]:
    items = torch.randint(0, ITEMS, (5, 12), generator=torch.Generator().manual_seed(1))
    return items, torch.tensor([12, 7, 1, 10, 0])


@every
def test_prefixes_equal_the_packed_pass(kind: str) -> None:
    model = build(kind)
    items, lengths = sequences()
    packed = model(items, lengths)
    for length in range(1, 13):
        rows = lengths >= length
        stop = torch.full((int(rows.sum()),), length)
        prefix = model(items[rows, :length], stop)
        torch.testing.assert_close(prefix, packed[rows, :length], rtol=0, atol=1e-12)


@every
def test_padding_has_no_say_and_last_is_the_last_state(kind: str) -> None:
    model = build(kind)
    items, lengths = sequences()
    padding = torch.arange(12) >= lengths[:, None]
    one = model(items.masked_fill(padding, model.padding_id), lengths)
    assert torch.equal(one, model(items.masked_fill(padding, 5), lengths))
    assert one[padding].abs().max() == 0
    last = model.last(items, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = one[row, length - 1] if length else torch.zeros(16, dtype=torch.float64)
        # The last block at one place adds up in another order than at all of them.
        torch.testing.assert_close(last[row], expected, rtol=0, atol=1e-12)


@every
def test_further_tokens_are_inputs_only(kind: str) -> None:
    model = build(kind, tokens=2)
    assert model.mask_id == ITEMS + 1
    assert model.item_table.shape == (ITEMS, 16)
    items, lengths = sequences()
    items = items.clone()
    items[:, 3] = model.mask_id + 1
    assert model(items, lengths).isfinite().all()
    with pytest.raises(ArgumentError, match="tokens"):
        _ = build(kind).mask_id


@every
def test_gradient_reaches_everything(kind: str) -> None:
    model = build(kind)
    model(*sequences()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@every
def test_no_rows(kind: str) -> None:
    model = build(kind)
    none = torch.zeros(0, 4, dtype=torch.long)
    assert model(none, none[:, 0]).shape == (0, 4, 16)


def build_for_rows_of_40(kind: str) -> SequenceEncoder:
    model = build(kind)
    model.max_length = None
    if hasattr(model, "positions"):
        model.positions = torch.nn.Parameter(torch.randn(40, 16, dtype=torch.float64))
    return model


@every
def test_rows_encoded_by_length_keep_their_order_and_gradients(kind: str) -> None:
    model = build_for_rows_of_40(kind)
    draws = torch.Generator().manual_seed(2)
    items = torch.randint(0, ITEMS, (30, 40), generator=draws)
    lengths = torch.randint(0, 41, (30,), generator=draws)
    weights = torch.randn(30, 16, generator=draws, dtype=torch.float64)
    results = []
    for states in (model.last(items, lengths), last_by_length(model, items, lengths)):
        model.zero_grad()
        (states * weights).sum().backward()
        results.append((states.detach(), model.items.weight.grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
    none = last_by_length(model, items[:0], lengths[:0])
    assert none.shape == (0, 16)


@every
def test_rows_encoded_by_length_are_checked_as_one_rectangle(kind: str) -> None:
    model = build(kind)
    items, lengths = sequences()
    with pytest.raises(ArgumentError, match="lengths"):
        last_by_length(model, items, lengths[:3])
    if model.max_length is not None:
        with pytest.raises(ArgumentError, match="max_length"):
            last_by_length(model, items.repeat(1, 2), lengths)


@every
def test_vectors_looked_up_before_are_as_good_as_the_items(kind: str) -> None:
    model = build(kind)
    items, lengths = sequences()
    others = (items + 1) % ITEMS
    vectors = model.items(others)
    for states in (model, model.last):
        # Of other items: an encoder that looked the items up itself would be seen.
        assert torch.equal(states(items, lengths, vectors), states(others, lengths))
        for wrong in (
            vectors[:1],
            vectors[:, :-1],
            vectors[0],
            vectors[..., :-1],
            vectors.float(),
        ):
            with pytest.raises(ArgumentError, match=r"vectors must be \(5, 12, 16\) of"):
                states(items, lengths, wrong)
        with pytest.raises(ArgumentError, match="vectors must be a tensor"):
            states(items, lengths, vectors.tolist())


@every
def test_rows_encoded_by_length_are_looked_up_at_once(kind: str) -> None:
    model = build_for_rows_of_40(kind)
    calls = []
    model.items.register_forward_hook(lambda *call: calls.append(call))
    last_by_length(model, torch.zeros(30, 40, dtype=torch.int64), torch.arange(30) + 8)
    assert len(calls) == 1


@every
def test_sequences_without_room_for_an_item(kind: str) -> None:
    model = build(kind)
    items, lengths = torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    assert torch.equal(model.last(items, lengths), torch.zeros(3, 16, dtype=torch.float64))
    assert torch.equal(last_by_length(model, items, lengths), model.last(items, lengths))
    assert model(items, lengths).shape == (3, 0, 16)


def test_both_sides_see_the_future_but_no_padding() -> None:
    torch.manual_seed(0)
    model = SASRecEncoder(ITEMS, 16, max_length=12, causal=False, dropout=0.0).double().eval()
    items, lengths = sequences()
    padding = torch.arange(12) >= lengths[:, None]
    seen = model(items, lengths)
    assert seen.isfinite().all()
    assert torch.equal(seen, model(items.masked_fill(padding, 3), lengths))
    changed = items.clone()
    changed[0, 11] = (changed[0, 11] + 1) % ITEMS
    assert not torch.equal(seen[0, 0], model(changed, lengths)[0, 0])
    short = model(items[1:2, :7], lengths[1:2])
    torch.testing.assert_close(short[0], seen[1, :7], rtol=0, atol=1e-12)
    last = model.last(items, lengths)
    torch.testing.assert_close(last[1], seen[1, 6], rtol=0, atol=1e-12)
    assert not last[4].any()


def test_the_gate_is_the_formula() -> None:
    model = build("ligr")
    block = model.blocks[0]
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    attended = block._attend(x, x, None)
    first = x + torch.sigmoid(block.attention_gate(x)) * attended
    inner = block.feed_forward_norm(first)
    swish = torch.nn.functional.silu(block.swish(inner)) * block.expand(inner)
    expected = first + torch.sigmoid(block.feed_forward_gate(first)) * block.contract(swish)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRU4RecEncoder(0), "num_items"),
        (lambda: GRU4RecEncoder(3, hidden=0), "hidden"),
        (lambda: GRU4RecEncoder(3, tokens=-1), "tokens"),
        (lambda: SASRecEncoder(3, activation="tanh"), "activation"),
        (lambda: SASRecEncoder(3, gated=True, norm="post"), "gated"),
        (lambda: build("gru4rec")(torch.zeros(1, 13).long(), torch.ones(1)), "max_length=12"),
        (lambda: build("gru4rec")(torch.zeros(3).long(), torch.ones(3)), "items must be"),
    ],
)
def test_refusals(make, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
