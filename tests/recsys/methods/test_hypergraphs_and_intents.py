"""HCCF, DCCF and MMHCL against their formulas, in dense float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import DataError
from graphcl.losses import InfoNCE
from recsys.data import Interactions, Labels, Numbers
from recsys.data.batches import TripleBatch
from recsys.methods.dccf import DCCF
from recsys.methods.hccf import HCCF
from recsys.methods.hypergraph import Hypergraph
from recsys.methods.mmhcl import MMHCL

USERS, ITEMS = 9, 8
BATCH = TripleBatch(torch.tensor([0, 3, 0]), torch.tensor([2, 5, 4]), torch.tensor([1, 7, 3]))


def log(seed: int = 0) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    taken = torch.rand(USERS, ITEMS, generator=generator) < 0.4
    taken[1] = False  # a user and an item without interactions
    taken[:, 6] = False
    taken[0, [2, 4]] = True
    taken[3, 5] = True
    user, item = taken.nonzero(as_tuple=True)
    features = {
        "image": Numbers(torch.randn(ITEMS, 3, generator=generator)),
        "tags": Labels.from_lists([["a"], ["a", "b"], [], ["b"], ["c"], ["a", "c"], ["b"], ["c"]]),
    }
    made = Interactions.from_indices(user, item, num_users=USERS, num_items=ITEMS)
    return made.with_features(items=features)


def build(method: type, seed: int = 0, **settings: object):
    """The method with everything in float64."""
    data = log()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        return method(configure(method.Config, {"dimension": 4, "layers": 2, **settings}), data)
    finally:
        torch.set_default_dtype(torch.float32)


def dense() -> tuple[Tensor, Tensor]:
    """R (M, N) and [[0, A], [A^T, 0]] with A = D_u^-1/2 R D_i^-1/2."""
    taken = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    taken[log().edges()] = 1.0
    scale = [degree.clamp(min=1e-300).rsqrt() for degree in (taken.sum(1), taken.sum(0))]
    normal = scale[0][:, None] * taken * scale[1]
    adjacency = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    adjacency[:USERS, USERS:] = normal
    adjacency[USERS:, :USERS] = normal.T
    return taken, adjacency


def cosine(a: Tensor, b: Tensor) -> Tensor:
    length = a.norm() * b.norm()
    return a @ b / length if length > 0 else a.sum() * 0


def nce(query: Tensor, key: Tensor, anchors: list[int], candidates: list[int], tau: float):
    """Mean over the anchors of InfoNCE by cosine, in loops."""
    values = []
    for a in anchors:
        logits = torch.stack([cosine(query[a], key[c]) / tau for c in candidates])
        values.append(torch.logsumexp(logits, 0) - cosine(query[a], key[a]) / tau)
    return torch.stack(values).mean()


SIDES = ((slice(0, USERS), [0, 3]), (slice(USERS, None), [2, 4, 5]))
"""Each side of the nodes, and the distinct nodes of the batch on it."""


def same(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got.detach(), wanted.detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_hccf_is_its_formula(slope: float) -> None:
    model = build(
        HCCF, slope=slope, hyperedges=3, dropout=0.0, temperature=0.4, contrast_weight=0.7
    )
    _, adjacency = dense()
    start = model.embeddings

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, slope * x)

    memberships = start[:USERS] @ model.user_hyperedges, start[USERS:] @ model.item_hyperedges
    current, total, contrast = start, start, 0.0
    for _ in range(2):
        local = act(adjacency @ current)
        parts = []
        for (side, _), h in zip(SIDES, memberships, strict=True):
            parts.append(act(h @ act(h.T @ current[side])))
        hyper = torch.cat(parts)
        for side, anchors in SIDES:
            everyone = list(range(len(hyper[side])))
            contrast += nce(local[side], hyper[side], anchors, everyone, 0.4)
        current = local + hyper
        total = total + current
    parts = model.loss(BATCH, torch.Generator())
    same(torch.cat(model.propagate()), total)
    same(parts["contrast"], 0.7 * contrast)
    same(parts["total"], parts["bpr"] + parts["contrast"] + parts["l2"])


def test_hccf_leaves_out_edges_and_memberships_in_training_only() -> None:
    model = build(HCCF, hyperedges=50, dropout=0.5)
    generator = torch.Generator().manual_seed(0)
    whole, thinned = model.memberships(None), model.memberships(generator)
    for one, other in zip(whole, thinned, strict=True):
        kept = other != 0
        assert 0.3 < kept.double().mean() < 0.7
        same(other[kept], 2 * one[kept])
    same(model.views()[0], model.views()[0])
    assert not torch.equal(model.views(generator)[0], model.views(generator)[0])


def test_hccf_moves_the_hypergraph_towards_the_graph_only() -> None:
    model = build(HCCF, hyperedges=3, dropout=0.0, layers=1)
    _, local, _ = model.views()
    local[0].retain_grad()
    model.loss(BATCH, torch.Generator())["contrast"].backward()
    assert model.user_hyperedges.grad.abs().sum() > 0
    # Z^(1) = A E: without the gradient through it, E of a node outside the hypergraph's
    # anchors gets one through G alone, which the formula test covers; Z itself gets none.
    assert local[0].grad is None


def test_dccf_is_its_formula() -> None:
    model = build(DCCF, intents=3, temperature=0.5, contrast_weight=0.7, intent_l2=0.2)
    taken, adjacency = dense()
    edges = taken.nonzero().tolist()
    current = model.embeddings
    total, contrast = current, 0.0

    def masked(view: Tensor) -> Tensor:
        """Row by row: the mean of the neighbours weighted by (cos + 1) / 2."""
        weight = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
        for user, item in edges:
            likeness = (cosine(view[user], view[USERS + item]) + 1) / 2
            here = torch.zeros_like(weight)
            here[user, USERS + item] = here[USERS + item, user] = 1.0
            weight = weight + likeness * here
        sums = weight.sum(1, keepdim=True)
        return torch.where(sums > 0, weight / sums.clamp(min=1e-300), 0.0) @ current

    for _ in range(2):
        local = adjacency @ current
        intent = torch.cat(
            [
                torch.softmax(current[side] @ c, 1) @ c.T
                for (side, _), c in zip(
                    SIDES, (model.user_intents, model.item_intents), strict=True
                )
            ]
        )
        views = intent, masked(local), masked(intent)
        for view in views:
            for side, anchors in SIDES:
                contrast += nce(local[side], view[side], anchors, anchors, 0.5)
        current = local + sum(views) + current
        total = total + current
    parts = model.loss(BATCH, torch.Generator())
    same(torch.cat(model.propagate()), total)
    same(parts["contrast"], 0.7 * contrast)
    prototypes = model.user_intents.square().sum() + model.item_intents.square().sum()
    same(parts["intent_l2"], 0.2 * prototypes)
    # Gradients flow through the masks as through the formula.
    wanted = torch.autograd.grad(total.square().sum() + contrast, model.embeddings)[0]
    got = torch.autograd.grad(
        torch.cat(model.propagate()).square().sum() + parts["contrast"] / 0.7, model.embeddings
    )[0]
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_dccf_never_holds_the_embeddings_of_all_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    user, item = torch.randint(60, (2, 3000), generator=generator)
    data = Interactions.from_indices(user, item, num_users=60, num_items=60)
    model = DCCF(configure(DCCF.Config, {"dimension": 32, "layers": 1, "intents": 4}), data)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.views()[0].sum().backward()
    edges = model.interactions.entries
    assert edges > 1500
    # The largest thing kept is one number an edge, or the nodes' embeddings.
    assert max(kept) <= max(2 * edges, 120 * 32)
    assert max(kept) < edges * 32


def neighbours(similarity: Tensor, known: Tensor, count: int) -> Tensor:
    """I_m from a table of cosines: oneself, then the most similar that are known."""
    chosen = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for item in range(ITEMS):
        others = [j for j in range(ITEMS) if j != item and known[j] and known[item]]
        others.sort(key=lambda j: -float(similarity[item, j]))
        for j in [item, *others[: count - 1]]:
            chosen[item, j] = 1.0
    return chosen * known[:, None] * known


def modality_graphs(count: int) -> list[Tensor]:
    features = log().item_features
    image = torch.nn.functional.normalize(features["image"].values.double(), dim=1)
    tags = features["tags"].matrix().to_dense().double()
    known = tags.sum(1) > 0
    tags = tags / tags.norm(dim=1, keepdim=True).clamp(min=1e-300)
    whole = torch.ones(ITEMS, dtype=torch.bool)
    graphs = [neighbours(image @ image.T, whole, count), neighbours(tags @ tags.T, known, count)]
    graphs[1][2, 2] = 1.0  # an item without tags has itself
    return graphs


def test_mmhcl_is_its_formula() -> None:
    # With all neighbours kept, equal cosines of tags choose nothing.
    settings = {"neighbours": ITEMS, "user_layers": 2, "item_layers": 2, "temperature": 0.6}
    model = build(MMHCL, **settings, user_weight=0.3, item_weight=0.7, l2=0.1)
    taken, adjacency = dense()
    start = model.embeddings
    layers = [start, adjacency @ start, adjacency @ adjacency @ start]
    user_item = sum(layers) / 3
    shared = taken @ taken.T
    shared.fill_diagonal_(0.0)
    degree = shared.sum(1, keepdim=True)
    by_users = torch.where(degree > 0, shared / degree.clamp(min=1e-300), 0.0)
    together = sum(graph @ graph.T for graph in modality_graphs(ITEMS))
    scale = together.sum(1).rsqrt()
    by_items = scale[:, None] * together * scale
    alike = by_users @ by_users @ model.user_table, by_items @ by_items @ model.item_table
    unit = [side / side.norm(dim=1, keepdim=True).clamp(min=1e-300) for side in alike]
    final = user_item[:USERS] + unit[0], user_item[USERS:] + unit[1]
    for got, wanted in zip(model.propagate(), final, strict=True):
        same(got, wanted)

    def synergy(one: Tensor, other: Tensor) -> Tensor:
        values = []
        for a in range(len(one)):
            logits = [cosine(one[a], other[b]) / 0.6 for b in range(len(one))]
            logits += [cosine(one[a], one[b]) / 0.6 for b in range(len(one)) if b != a]
            values.append(torch.logsumexp(torch.stack(logits), 0) - logits[a])
        return torch.stack(values).mean()

    parts = model.loss(BATCH, torch.Generator())
    same(parts["user_contrast"], 0.3 * synergy(final[0], alike[0]))
    same(parts["item_contrast"], 0.7 * synergy(final[1], alike[1]))
    rows = final[0][BATCH.users], final[1][BATCH.positives], final[1][BATCH.negatives]
    same(parts["l2"], 0.1 / 6 * sum(row.square().sum() for row in rows))
    same(parts["total"], sum(value for name, value in parts.items() if name != "total"))


def test_mmhcl_contrast_is_graces_in_one_direction() -> None:
    model = build(MMHCL, temperature=0.6)
    (users, _), (alike, _) = model.views()
    wanted = InfoNCE(0.6, intra_view=True, symmetric=False)(users, alike)
    same(model.contrast(users, alike, None), wanted)
    some = model.contrast(users, alike, torch.tensor([4, 2, 4]))
    each = InfoNCE(0.6, intra_view=True, symmetric=False, reduction="none")(users, alike)
    same(some, each[[2, 4]].mean())


def test_a_hypergraph_is_never_formed_and_has_no_node_without_peers() -> None:
    taken, _ = dense()
    from graphcl.kernels.sparse_matrix import SparseMatrix

    sparse = SparseMatrix.from_edge_index(taken.nonzero().T, shape=(USERS, ITEMS)).to(
        dtype=torch.float64
    )
    graph = Hypergraph.mean_of_others(sparse)
    x = torch.randn(USERS, 3, dtype=torch.float64, requires_grad=True)
    assert graph(x)[1].abs().sum() == 0
    torch.autograd.gradcheck(graph, x)
    assert all(part.numel() <= max(USERS, ITEMS) for part in (graph.left, graph.right, graph.loops))


def test_mmhcl_without_features_says_how_to_give_some() -> None:
    bare = log().with_features(items={})
    with pytest.raises(DataError, match=r"mmhcl needs features of the items, .* \.item file"):
        MMHCL(MMHCL.Config(), bare)


@pytest.mark.parametrize(
    ("method", "settings"),
    [(HCCF, {}), (DCCF, {"intents": 8, "contrast_weight": 0.01}), (MMHCL, {})],
)
def test_learns_planted_blocks(method: type, settings: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    taken = torch.rand(24, 20, generator=generator) < 0.6
    taken &= torch.arange(24)[:, None] % 2 == torch.arange(20) % 2
    user, item = taken.nonzero(as_tuple=True)
    groups = Numbers(torch.nn.functional.one_hot(torch.arange(20) % 2).float())
    data = Interactions.from_indices(user, item).with_features(items={"group": groups})
    torch.manual_seed(0)
    small = {"dimension": 8, "batch_size": 64, "learning_rate": 2e-2, **settings}
    model = method(configure(method.Config, small), data)
    optimizer = model.optimizer()
    for _ in range(10):
        for batch in model.batches(generator):
            optimizer.zero_grad()
            model.loss(batch, generator)["total"].backward()
            optimizer.step()
    scores = model.eval().score(torch.arange(24), data).masked_fill(taken, -torch.inf)
    right = scores.argmax(1) % 2 == torch.arange(24) % 2
    # Of the items left to a user about four of fourteen are of the own block.
    assert right.float().mean() > 0.85
