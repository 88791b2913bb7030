import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from recsys.data import Interactions
from recsys.data.batches import TripleBatch
from recsys.methods.lightgcn import LightGCN


def blocks(users: int = 24, items: int = 20, share: float = 0.6, seed: int = 0) -> Interactions:
    """Two planted blocks: even users take even items only, odd users odd items only."""
    generator = torch.Generator().manual_seed(seed)
    taken = torch.rand(users, items, generator=generator) < share
    taken &= torch.arange(users)[:, None] % 2 == torch.arange(items) % 2
    user, item = taken.nonzero(as_tuple=True)
    return Interactions.from_indices(user, item, num_users=users, num_items=items)


def build(data: Interactions, seed: int = 0, **settings: object) -> LightGCN:
    torch.manual_seed(seed)
    small = {"dimension": 8, "layers": 2, "batch_size": 64, "learning_rate": 2e-2}
    return LightGCN(configure(LightGCN.Config, small | settings), data)


def train(method: LightGCN, epochs: int, seed: int = 0) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    optimizer = method.optimizer()
    means = []
    for _ in range(epochs):
        method.train()
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


def dense_adjacency(data: Interactions) -> Tensor:
    """[[0, A], [A^T, 0]] with A = D_u^-1/2 R D_i^-1/2, from the definition, float64."""
    matrix = torch.zeros(data.num_users, data.num_items, dtype=torch.float64)
    for user in range(data.num_users):
        for item in data.history(user).tolist():
            matrix[user, item] = 1.0
    scale = [degree.clamp(min=1e-300).rsqrt() for degree in (matrix.sum(1), matrix.sum(0))]
    normal = scale[0][:, None] * matrix * scale[1]
    corner = torch.zeros
    return torch.cat(
        [
            torch.cat([corner(data.num_users, data.num_users).double(), normal], 1),
            torch.cat([normal.T, corner(data.num_items, data.num_items).double()], 1),
        ]
    )


def repeated() -> Interactions:
    """A pair taken twice, a user and an item without interactions."""
    return Interactions.from_indices(
        torch.tensor([0, 0, 0, 1, 2, 2]),
        torch.tensor([1, 1, 2, 2, 0, 1]),
        num_users=4,
        num_items=4,
    )


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("data", [blocks(), repeated()], ids=["blocks", "repeated"])
def test_propagation_matches_dense(layers: int, data: Interactions) -> None:
    method = build(data, layers=layers)
    adjacency, x = dense_adjacency(data), method.embeddings.detach().double()
    expected = sum(torch.linalg.matrix_power(adjacency, layer) @ x for layer in range(layers + 1))
    expected = expected / (layers + 1)
    users, items = method.propagate()
    together = torch.cat([users, items]).detach().double()
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-6)


def test_loss_matches_the_formula() -> None:
    data = blocks()
    method = build(data, l2=0.3)
    batch = TripleBatch(torch.tensor([0, 3, 0]), torch.tensor([2, 5, 4]), torch.tensor([1, 8, 3]))
    parts = method.loss(batch, torch.Generator())
    users, items = method.propagate()
    own_users, own_items = method.split(method.embeddings)
    ranking, squares = [], []
    for user, positive, negative in ((0, 2, 1), (3, 5, 8), (0, 4, 3)):
        gap = users[user] @ items[positive] - users[user] @ items[negative]
        ranking.append(-torch.sigmoid(gap).log())
        rows = (own_users[user], own_items[positive], own_items[negative])
        squares.extend(row @ row for row in rows)
    torch.testing.assert_close(parts["bpr"], torch.stack(ranking).mean())
    torch.testing.assert_close(parts["l2"], 0.3 * torch.stack(squares).sum() / (2 * 3))
    torch.testing.assert_close(parts["total"], parts["bpr"] + parts["l2"])


def test_learns_planted_blocks() -> None:
    data = blocks()
    method = build(data)
    losses = train(method, 40)
    assert losses[0] > 0.6  # log 2 = 0.69 is ignorance
    assert losses[-1] < 0.3
    scores = method.score(torch.arange(data.num_users), data)
    assert scores.shape == (data.num_users, data.num_items)
    # Among the items that a user has not taken, those of the own block come first.
    seen = torch.zeros_like(scores, dtype=torch.bool)
    seen[data.edges()] = True
    top = scores.masked_fill(seen, -torch.inf).argmax(1)
    own = torch.arange(data.num_users) % 2 == top % 2
    assert own.all()


def test_gradient_reaches_every_embedding() -> None:
    method = build(blocks(), l2=0.0)
    generator = torch.Generator().manual_seed(0)
    for batch in method.batches(generator):
        method.loss(batch, generator)["total"].backward()
    assert method.embeddings.grad is not None
    assert (method.embeddings.grad.abs().amax(1) > 0).all()


def test_scores_follow_every_change_of_the_parameters() -> None:
    method = build(blocks()).eval()
    users = torch.arange(3)
    before = method.score(users, method.data)
    assert method.representations()[0] is method.representations()[0]  # kept between calls
    state = {name: value.clone() for name, value in method.state_dict().items()}
    train(method, 1)
    after = method.score(users, method.data)
    assert not torch.allclose(before, after)
    method.load_state_dict(state)
    torch.testing.assert_close(method.score(users, method.data), before)
    assert not before.requires_grad


def test_scores_follow_a_fused_optimiser() -> None:
    """Its steps leave the version that torch counts for every tensor as it was."""
    method = build(blocks()).eval()
    users = torch.arange(3)
    before = method.score(users, method.data)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.1, fused=True)
    method.train()
    generator = torch.Generator().manual_seed(0)
    for batch in method.batches(generator):
        method.loss(batch, generator)["total"].backward()
    optimiser.step()
    torch.testing.assert_close(method.representations(), method.propagate())
    method.eval()
    after = method.score(users, method.data)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, method.propagate()[0][:3] @ method.propagate()[1].T)


def test_embeds_the_propagated_items() -> None:
    method = build(blocks()).eval()
    table = method.embed(method.data)
    torch.testing.assert_close(table, method.propagate()[1].detach())
    scores = method.score(torch.arange(4), method.data)
    torch.testing.assert_close(scores, method.propagate()[0].detach()[:4] @ table.T)
    table.zero_()
    assert method.embed(method.data).abs().max() > 0


def test_same_seeds_same_model() -> None:
    first, second, other = build(blocks()), build(blocks()), build(blocks())
    assert train(first, 2, seed=4) == train(second, 2, seed=4)
    assert torch.equal(first.embeddings, second.embeddings)
    train(other, 2, seed=5)
    assert not torch.equal(first.embeddings, other.embeddings)
