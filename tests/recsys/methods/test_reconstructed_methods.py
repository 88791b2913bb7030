"""The two methods reconstructed from abstracts: that their parts are what their modules say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import DataError
from recsys.data import Interactions, Labels, Numbers
from recsys.data.batches import TripleBatch
from recsys.methods.feature_encoder import FeatureEncoder, standardised
from recsys.methods.featurecl import FeatureCL
from recsys.methods.semantic_item_graph import SemanticItemGraph, perturbed

USERS, ITEMS = 7, 6
BATCH = TripleBatch(torch.tensor([0, 3, 0]), torch.tensor([2, 4, 4]), torch.tensor([1, 5, 3]))


def log() -> Interactions:
    generator = torch.Generator().manual_seed(0)
    taken = torch.rand(USERS, ITEMS, generator=generator) < 0.5
    taken[1] = False  # a user and an item without interactions
    taken[:, 5] = False
    taken[0, [2, 4]] = True
    taken[3, 4] = True
    user, item = taken.nonzero(as_tuple=True)
    made = Interactions.from_indices(user, item, num_users=USERS, num_items=ITEMS)
    image = Numbers(torch.randn(ITEMS, 3, generator=generator))
    tags = Labels.from_lists([["a"], ["a", "b"], [], ["b"], ["c"], ["a", "c"]])
    kind = Labels.from_lists([["x"] if u % 2 else ["y"] for u in range(USERS)])
    return made.with_features({"kind": kind}, {"image": image, "tags": tags})


def build(method: type, **settings: object):
    data = log()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        config = configure(method.Config, {"dimension": 4, **settings})
        return method(config, data)
    finally:
        torch.set_default_dtype(torch.float32)


def same(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got.detach(), wanted.detach(), rtol=0, atol=1e-10)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a, b, dim=0, eps=1e-300)


def nce(query: Tensor, key: Tensor, nodes: list[int], tau: float) -> Tensor:
    values = []
    for a in nodes:
        logits = torch.stack([cosine(query[a], key[b]) / tau for b in nodes])
        values.append(torch.logsumexp(logits, 0) - cosine(query[a], key[a]) / tau)
    return torch.stack(values).mean()


NODES = ([0, 3], [2, 4])


def test_both_are_labelled_as_reconstructed() -> None:
    import recsys.methods.featurecl as second
    import recsys.methods.semantic_item_graph as first

    for module in (first, second):
        assert "RECONSTRUCTED FROM ITS ABSTRACT" in module.__doc__
    for method in (SemanticItemGraph, FeatureCL):
        assert "from" in method.__doc__.splitlines()[0]


def test_an_enhanced_graph_is_semantic_plus_weighted_co_occurrence() -> None:
    model = build(SemanticItemGraph, neighbours=ITEMS, co_occurring=ITEMS, alpha=0.5)
    taken = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    taken[log().edges()] = 1.0
    length = taken.norm(dim=0).clamp(min=1e-300)
    together = taken.T @ taken / length[:, None] / length
    together.fill_diagonal_(0.0)
    # All other items are neighbours by image; by tags those that have some.
    known = torch.tensor([1.0, 1, 0, 1, 1, 1], dtype=torch.float64)
    tags = known[:, None] * known
    tags[2, 2] = 1.0
    for graph, semantic in zip(
        model.item_graphs, (torch.ones(ITEMS, ITEMS, dtype=torch.float64), tags), strict=True
    ):
        whole = semantic + 0.5 * together
        wanted = whole / whole.sum(1).sqrt()[:, None] / whole.sum(0).sqrt()
        torch.testing.assert_close(graph.to_dense(), wanted, rtol=0, atol=1e-7)


def test_semantic_parts_are_their_formulas() -> None:
    weights = {"perturb_weight": 0.0, "anchor_weight": 0.3, "align_weight": 0.7}
    model = build(SemanticItemGraph, **weights, temperature=0.5)
    behaviour = model.behaviour()
    modalities = model.modalities()
    taken = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    taken[log().edges()] = 1.0
    means = taken / taken.sum(1, keepdim=True).clamp(min=1)
    for users, items in modalities:
        same(users, means @ items)
    fused = model.fused(modalities)
    for side in (0, 1):
        stacked = [modality[side] for modality in modalities]
        logits = [torch.tanh(model.attention(z)) @ model.query for z in stacked]
        share = torch.softmax(torch.stack(logits), 0)
        same(fused[side], sum(w[:, None] * z for w, z in zip(share, stacked, strict=True)))
        same(model.propagate()[side], behaviour[side] + fused[side])
    parts = model.loss(BATCH, torch.Generator().manual_seed(0))
    anchor = sum(
        nce(behaviour[side], modality[side], NODES[side], 0.5)
        for modality in modalities
        for side in (0, 1)
    )
    align = sum(
        (
            nce(behaviour[side], fused[side], NODES[side], 0.5)
            + nce(fused[side], behaviour[side], NODES[side], 0.5)
        )
        / 2
        for side in (0, 1)
    )
    same(parts["anchor"], 0.3 * anchor)
    same(parts["align"], 0.7 * align)
    # The anchors stay where they are: behaviour gets no gradient from that part.
    gradient = torch.autograd.grad(parts["anchor"], model.embeddings, allow_unused=True)[0]
    assert gradient is None or gradient.abs().sum() == 0


def test_perturbation_has_its_personal_length_and_keeps_the_orthant() -> None:
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).double()
    rows[0] *= 100
    rows[1] /= 100
    moved = perturbed(rows, 0.1, torch.Generator().manual_seed(1)) - rows
    length = rows.norm(dim=1)
    wanted = 0.1 * (length / length.mean()).clamp(0.5, 2.0)
    torch.testing.assert_close(moved.norm(dim=1), wanted, rtol=1e-6, atol=0)
    assert (moved * rows >= 0).all()
    assert perturbed(rows[:0], 0.1, torch.Generator()).shape == (0, 8)
    assert torch.isfinite(perturbed(torch.zeros(3, 8), 0.1, torch.Generator())).all()


def test_encoders() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [0.0, 0.0]])
    scaled = standardised(values)
    assert scaled.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    assert torch.equal(standardised(torch.zeros(2, 3)), torch.zeros(2, 3))
    encoder = FeatureEncoder(Labels.from_lists([["a", "b"], [], ["b"]]), 3)
    vectors = encoder()
    torch.testing.assert_close(vectors[0], encoder.table.mean(0))
    assert vectors[1].abs().sum() == 0
    torch.testing.assert_close(vectors[2], encoder.table[1])


def test_a_node_without_interactions_has_the_unknown_number() -> None:
    model = build(FeatureCL)
    users, items = model.propagate()
    with torch.no_grad():
        model.embeddings[1] += 7.0  # user 1 and item 5 are never trained on
        model.embeddings[USERS + 5] += 7.0
    same(model.propagate()[0], users)
    same(model.propagate()[1], items)
    with torch.no_grad():
        model.items.unknown += 1.0
    changed = (model.propagate()[1] - items).abs().sum(1) > 0
    assert changed.tolist() == [False] * 5 + [True]


def test_fusion_is_its_formula() -> None:
    model = build(FeatureCL)
    side, own = model.items, model.embeddings[USERS:].clone()
    own = torch.where(side.known[:, None], own, side.unknown)
    fields = torch.stack([encoder() for encoder in side.encoders], 1)
    weight = torch.sigmoid(side.select(fields.reshape(ITEMS, -1)))
    semantic = side.network(sum(weight[:, f, None] * fields[:, f] for f in (0, 1)))
    logits = torch.stack([torch.tanh(side.attention(v)) @ side.query for v in (own, semantic)])
    share = torch.softmax(logits, 0)
    same(model.propagate()[1], share[0][:, None] * own + share[1][:, None] * semantic)


def test_scores_of_a_cold_item_come_from_its_features() -> None:
    """Two groups: a film nobody took is recommended to those who like its genre."""
    generator = torch.Generator().manual_seed(0)
    taken = torch.rand(30, 20, generator=generator) < 0.6
    taken &= torch.arange(30)[:, None] % 2 == torch.arange(20) % 2
    taken[:, [18, 19]] = False
    user, item = taken.nonzero(as_tuple=True)
    genre = Labels.from_lists([["even"] if i % 2 == 0 else ["odd"] for i in range(20)])
    data = Interactions.from_indices(user, item, num_items=20).with_features(items={"genre": genre})
    torch.manual_seed(0)
    settings = {"dimension": 8, "batch_size": 64, "learning_rate": 2e-2, "contrast_weight": 0.0}
    model = FeatureCL(configure(FeatureCL.Config, settings), data)
    optimizer = model.optimizer()
    for _ in range(20):
        for batch in model.batches(generator):
            optimizer.zero_grad()
            model.loss(batch, generator)["total"].backward()
            optimizer.step()
    scores = model.eval().score(torch.arange(30), data)
    right = (scores[:, 18] > scores[:, 19]) == (torch.arange(30) % 2 == 0)
    assert right.all()


@pytest.mark.parametrize(("choice", "met"), [("all", True), ("known", False)])
def test_new_items_are_negatives_where_asked(choice: str, met: bool) -> None:
    method = build(FeatureCL, negatives=choice)
    new = method.data.item_counts() == 0
    assert new.any()
    generator = torch.Generator().manual_seed(0)
    seen = [batch.negatives for _ in range(20) for batch in method.batches(generator)]
    assert bool(new[torch.cat(seen)].any()) is met


def test_without_features_they_say_how_to_give_some() -> None:
    bare = log().with_features({}, {})
    with pytest.raises(DataError, match=r"needs features of the items"):
        SemanticItemGraph(SemanticItemGraph.Config(), bare)
    with pytest.raises(DataError, match=r"needs features of the users or items"):
        FeatureCL(FeatureCL.Config(), bare)
