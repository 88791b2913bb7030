import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import ConfigError
from recsys.data import Interactions
from recsys.data.batches import TripleBatch
from recsys.methods.lightgcl import LightGCL


def blocks(users: int = 24, items: int = 20, share: float = 0.6, seed: int = 0) -> Interactions:
    """Two planted blocks: even users take even items only, odd users odd items only."""
    generator = torch.Generator().manual_seed(seed)
    taken = torch.rand(users, items, generator=generator) < share
    taken &= torch.arange(users)[:, None] % 2 == torch.arange(items) % 2
    user, item = taken.nonzero(as_tuple=True)
    return Interactions.from_indices(user, item, num_users=users, num_items=items)


def build(data: Interactions, seed: int = 0, **settings: object) -> LightGCL:
    torch.manual_seed(seed)
    small = {"dimension": 8, "layers": 2, "batch_size": 64, "learning_rate": 2e-2}
    return LightGCL(configure(LightGCL.Config, small | settings), data)


def train(method: LightGCL, epochs: int, seed: int = 0) -> list[dict[str, float]]:
    generator = torch.Generator().manual_seed(seed)
    optimizer = method.optimizer()
    history = []
    for _ in range(epochs):
        method.train()
        for batch in method.batches(generator):
            optimizer.zero_grad(set_to_none=True)
            parts = method.loss(batch, generator)
            parts["total"].backward()
            optimizer.step()
        history.append({name: float(value.detach()) for name, value in parts.items()})
    method.eval()
    return history


def dense_parts(data: Interactions) -> tuple[Tensor, Tensor]:
    """A = D_u^-1/2 R D_i^-1/2 and its best approximation of rank 3, dense, float64."""
    matrix = torch.zeros(data.num_users, data.num_items, dtype=torch.float64)
    matrix[data.edges()] = 1.0
    normal = matrix / matrix.sum(1).sqrt()[:, None] / matrix.sum(0).sqrt()
    left, singular, right = torch.linalg.svd(normal, full_matrices=False)
    return normal, left[:, :3] @ torch.diag(singular[:3]) @ right[:3]


def in_float64(data: Interactions, **settings: object) -> LightGCL:
    """The method with everything, the SVD included, in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        return build(data, **settings)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_both_views_equal_the_dense_computation(layers: int) -> None:
    data = blocks()
    method = in_float64(data, layers=layers, rank=3)
    normal, low_rank = dense_parts(data)
    users, items = method.split(method.embeddings.detach())
    main, view = [users, items], [users, items]
    for _ in range(layers):
        # The low-rank view starts from the main view's previous layer.
        view = [view[0] + low_rank @ items, view[1] + low_rank.T @ users]
        users, items = normal @ items, normal.T @ users
        main = [main[0] + users, main[1] + items]
    got_main, got_view = method.views(method.adjacency)
    torch.testing.assert_close(got_main.detach(), torch.cat(main), rtol=0, atol=1e-10)
    torch.testing.assert_close(got_view.detach(), torch.cat(view), rtol=0, atol=1e-8)
    torch.testing.assert_close(torch.cat(method.propagate()), got_main, rtol=0, atol=1e-10)


@pytest.mark.parametrize("negatives", ["all", "batch"])
def test_loss_matches_the_formula(negatives: str) -> None:
    data = blocks()
    method = in_float64(
        data, negatives=negatives, temperature=0.3, contrast_weight=0.7, l2=0.1, rank=3
    )
    batch = TripleBatch(torch.tensor([0, 3, 0]), torch.tensor([2, 5, 4]), torch.tensor([1, 8, 3]))
    parts = method.loss(batch, torch.Generator())
    main, view = method.views(method.adjacency)
    sides = []
    for (keys, queries), anchors in zip(
        zip(method.split(main), method.split(view), strict=True),
        ([0, 3], [2, 4, 5]),  # each node once, however often the batch has it
        strict=True,
    ):
        candidates = range(len(keys)) if negatives == "all" else anchors
        values = []
        for anchor in anchors:
            cosine = {
                j: torch.cosine_similarity(queries[anchor], keys[j], dim=0) for j in candidates
            }
            exponentials = torch.stack([torch.exp(value / 0.3) for value in cosine.values()])
            values.append(exponentials.sum().log() - cosine[anchor] / 0.3)
        sides.append(torch.stack(values).mean())
    torch.testing.assert_close(parts["contrast"], 0.7 * (sides[0] + sides[1]))
    torch.testing.assert_close(parts["total"], parts["bpr"] + parts["contrast"] + parts["l2"])
    assert set(parts) == {"total", "bpr", "contrast", "l2"}


BATCH = TripleBatch(torch.tensor([0, 3, 0]), torch.tensor([2, 5, 4]), torch.tensor([1, 8, 3]))


def factored(method: LightGCL) -> Tensor:
    """U S V^T (M, N) as the method holds it."""
    return method.user_factor @ torch.diag(method.singular) @ method.item_factor.T


def test_released_loss_matches_the_formula() -> None:
    """Raw inner products, all nodes, repeated anchors and negatives, one clamp, all parameters."""
    data = blocks()
    settings = {"variant": "released", "temperature": 0.02, "contrast_weight": 0.7, "l2": 0.1}
    method = in_float64(data, rank=3, layers=2, **settings)
    with torch.no_grad():
        method.embeddings.mul_(0.5)
    parts = method.loss(BATCH, torch.Generator())
    normal, low_rank = dense_parts(data)[0], factored(method)
    users, items = method.split(method.embeddings)
    main, view = [users, items], [users, items]
    for _ in range(2):
        view = [view[0] + low_rank @ items, view[1] + low_rank.T @ users]
        users, items = normal @ items, normal.T @ users
        main = [main[0] + users, main[1] + items]
    contrast = torch.zeros((), dtype=torch.float64)
    clamped = 0
    for query, key, anchors in zip(view, main, ([0, 3, 0], [2, 5, 4, 1, 8, 3]), strict=True):
        values = []
        for anchor in anchors:
            logits = key @ query[anchor] / 0.02
            clamped += int(abs(logits[anchor].detach()) > 5)
            values.append(logits.exp().sum().log() - logits[anchor].clamp(-5, 5))
        contrast = contrast + torch.stack(values).mean()
    assert clamped > 0
    torch.testing.assert_close(parts["contrast"], 0.7 * contrast)
    torch.testing.assert_close(parts["l2"], 0.1 * method.embeddings.square().sum())
    gap = (main[0][BATCH.users] * (main[1][BATCH.positives] - main[1][BATCH.negatives])).sum(1)
    torch.testing.assert_close(parts["bpr"], -torch.sigmoid(gap).log().mean())
    torch.testing.assert_close(parts["total"], parts["bpr"] + parts["contrast"] + parts["l2"])


def test_paper_loss_matches_the_formula() -> None:
    """Activation, residual, each layer by itself, a learned matrix, a random half, a hinge."""
    data = blocks()
    settings = {"variant": "paper", "temperature": 0.5, "contrast_weight": 0.7, "l2": 0.0}
    method = in_float64(data, rank=3, layers=2, **settings)
    parts = method.loss(BATCH, torch.Generator().manual_seed(1))
    normal, low_rank = dense_parts(data)[0], factored(method)
    matrix = torch.zeros(data.num_users, data.num_items, dtype=torch.float64)
    matrix[data.edges()] = 1.0
    left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(low_rank, left[:, :3] @ torch.diag(singular[:3]) @ right[:3])
    generator = torch.Generator().manual_seed(1)
    halves = []
    for nodes in ([0, 3], [2, 4, 5]):
        drawn = torch.rand(len(nodes), generator=generator).tolist()
        halves.append([node for node, x in zip(nodes, drawn, strict=True) if x < 0.5])
    assert 0 < sum(map(len, halves)) < 5

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.5 * x)

    users, items = method.split(method.embeddings)
    total = [users, items]
    contrast = torch.zeros((), dtype=torch.float64)
    for weight in method.weights:
        main = [act(normal @ items), act(normal.T @ users)]
        view = [act(low_rank @ items), act(low_rank.T @ users)]
        for z, g, anchors in zip(main, view, halves, strict=True):
            turned = [weight @ g[b] for b in anchors]
            for a, own in zip(anchors, turned, strict=True):
                cosine = [torch.cosine_similarity(z[a], other, dim=0) / 0.5 for other in turned]
                own_cosine = torch.cosine_similarity(z[a], own, dim=0) / 0.5
                contrast = contrast + torch.logsumexp(torch.stack(cosine), 0) - own_cosine
        users, items = main[0] + users, main[1] + items
        total = [total[0] + users, total[1] + items]
    torch.testing.assert_close(parts["contrast"], 0.7 * contrast)
    gap = (total[0][BATCH.users] * (total[1][BATCH.positives] - total[1][BATCH.negatives])).sum(1)
    torch.testing.assert_close(parts["hinge"], (1 - gap).clamp(min=0).mean())
    for got, wanted in zip(method.propagate(), total, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_the_other_variants_learn_planted_blocks_too(variant: str) -> None:
    data = blocks()
    weight = {"released": 0.01, "paper": 1e-4}[variant]
    method = build(data, variant=variant, contrast_weight=weight, temperature=0.5, l2=1e-6)
    history = train(method, 20)
    ranking = "hinge" if variant == "paper" else "bpr"
    assert history[-1][ranking] < 0.6 * history[0][ranking]
    scores = method.score(torch.arange(data.num_users), data)
    scores[data.edges()] = -torch.inf
    right = torch.arange(data.num_users) % 2 == scores.argmax(1) % 2
    assert right.float().mean() > 0.85


def test_learns_planted_blocks() -> None:
    data = blocks()
    method = build(data, contrast_weight=0.02)
    history = train(method, 20)
    assert history[-1]["bpr"] < 0.5 * history[0]["bpr"]
    scores = method.score(torch.arange(data.num_users), data)
    seen = torch.zeros_like(scores, dtype=torch.bool)
    seen[data.edges()] = True
    top = scores.masked_fill(seen, -torch.inf).argmax(1)
    assert (torch.arange(data.num_users) % 2 == top % 2).all()


def test_a_heavy_contrast_is_learned_too() -> None:
    history = train(build(blocks(), contrast_weight=10.0, temperature=0.5), 20)
    assert history[-1]["contrast"] < history[0]["contrast"] - 1


@pytest.mark.parametrize("part", ["bpr", "contrast"])
def test_each_part_has_gradients_in_every_embedding(part: str) -> None:
    method = build(blocks())
    generator = torch.Generator().manual_seed(0)
    for batch in method.batches(generator):
        method.loss(batch, generator)[part].backward()
    assert method.embeddings.grad is not None
    assert method.embeddings.grad.isfinite().all()
    assert (method.embeddings.grad.abs().amax(1) > 0).all()


@pytest.mark.parametrize("variant", ["cosine", "released", "paper"])
def test_stays_finite_where_the_released_code_overflows(variant: str) -> None:
    method = build(blocks(), temperature=1e-3, variant=variant)
    with torch.no_grad():
        method.embeddings.mul_(1e3)
    generator = torch.Generator().manual_seed(0)
    batch = next(iter(method.batches(generator)))
    parts = method.loss(batch, generator)
    parts["total"].backward()
    assert all(value.isfinite() for value in parts.values())
    assert method.embeddings.grad is not None
    assert method.embeddings.grad.isfinite().all()


def test_edge_dropout_is_symmetric_unbiased_and_off_in_evaluation() -> None:
    method = build(blocks(), edge_dropout=0.25).train()
    generator = torch.Generator().manual_seed(0)
    full = method.adjacency.to_dense()
    dropped = [method.drop_edges(0.25, generator).to_dense() for _ in range(400)]
    for one in dropped[:5]:
        assert torch.equal(one, one.T)
        kept = one[full > 0] > 0
        assert 0.5 < kept.float().mean() < 0.95
        torch.testing.assert_close(one[full > 0][kept], full[full > 0][kept] / 0.75)
    torch.testing.assert_close(torch.stack(dropped).mean(0), full, rtol=0.2, atol=0)
    assert method.eval().drop_edges(0.25, generator) is method.adjacency


def test_directions_have_their_own_draws_where_released() -> None:
    method = build(blocks()).train()
    generator = torch.Generator().manual_seed(0)
    full = method.adjacency.to_dense()
    dropped = [method.drop_edges(0.5, generator, undirected=False).to_dense() for _ in range(400)]
    assert not torch.equal(dropped[0], dropped[0].T)
    torch.testing.assert_close(torch.stack(dropped).mean(0), full, rtol=0.35, atol=0)


def test_same_seeds_same_model() -> None:
    first, second = (build(blocks(), edge_dropout=0.1) for _ in range(2))
    assert train(first, 2, seed=4) == train(second, 2, seed=4)
    assert torch.equal(first.embeddings, second.embeddings)


def test_the_low_rank_view_is_not_part_of_the_state() -> None:
    method = build(blocks())
    assert set(method.state_dict()) == {"embeddings"}
    other = build(blocks(), seed=7)
    # The SVD does not depend on the run's seed.
    assert torch.equal(method.singular, other.singular)
    assert torch.equal(method.user_factor, other.user_factor)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="variant"):
        configure(LightGCL.Config, {"variant": "published"})
    with pytest.raises(ConfigError, match="temperature"):
        configure(LightGCL.Config, {"temperature": 0.0})
    with pytest.raises(ConfigError, match=r"setting 'rank' must be at most 20 .*got 21"):
        build(blocks(), rank=21)
    with pytest.raises(ConfigError, match=r"'rank' must be at most 4 for 4 users and 4 items"):
        build(blocks(users=4, items=4), rank=6)


@pytest.mark.parametrize(("users", "items"), [(2, 9), (6, 3), (4, 4)])
def test_the_default_rank_fits_a_tiny_log(users: int, items: int) -> None:
    method = build(blocks(users=users, items=items, share=1.0))
    assert method.singular.shape == (min(users, items),)
    assert all(value == value for value in train(method, 2)[-1].values())
