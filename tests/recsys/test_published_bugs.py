"""Bugs found in others' code, each as a test that it is not here.

The comments name where the bug is or was.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from graphcl.config import configure
from graphcl.errors import SealedError
from graphcl.evaluate.contract import Sealed
from graphcl.losses import BPR, InfoNCE
from graphcl.train.folder import CheckpointFolder
from graphcl.train.log import RunLog
from graphcl.train.loop import Trainer
from recsys.data import Interactions, random_ratio_per_user
from recsys.data.batches import TripleBatch, TripleBatches
from recsys.evaluate.full_ranking import Holdout, mean_metrics, rank_users
from recsys.evaluate.ranking import Ranking
from recsys.methods.contract import Recommender
from recsys.methods.lightgcn import LightGCN
from recsys.methods.sgl import SGL
from recsys.methods.sides import batch_contrast
from recsys.methods.simgcl import SimGCL


class Given(Recommender):
    """Scores that are given."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__(None, None)
        self.scores = scores

    def score(self, users, history):
        return self.scores[users]


def log(taken: torch.Tensor) -> Interactions:
    user, item = taken.nonzero(as_tuple=True)
    users, items = taken.shape
    return Interactions.from_indices(user, item, num_users=users, num_items=items)


def write_log(folder: Path, interactions: Interactions) -> str:
    pairs = zip(*(end.tolist() for end in interactions.edges()), strict=True)
    path = folder / "log.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    return str(path)


def random_log(users: int = 12, items: int = 15, seed: int = 0) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    return log(torch.rand(users, items, generator=generator) < 0.4)


# NGCF, LATTICE, MMSSL, MMHCL: the ideal list is that of the hits found, 0.631 here.
def test_ndcg_is_relative_to_the_best_possible_list() -> None:
    targets = torch.zeros(1, 100, dtype=torch.bool)
    targets[0, [1, *range(50, 59)]] = True
    nothing = log(targets).select(torch.zeros(10, dtype=torch.bool))
    method = Given(torch.arange(100, 0, -1.0)[None])
    found = mean_metrics(rank_users(method, Holdout(nothing, log(targets)), (20,)))
    assert found["ndcg@20"] == pytest.approx(0.1389, abs=5e-5)
    assert found["recall@20"] == pytest.approx(0.1)


# SSLRec, MMHCL: only the training items are masked, so validation items fill the test lists.
def test_validation_items_are_no_candidates_at_the_test() -> None:
    parts = random_ratio_per_user(random_log(), seed=0)
    favours_validation = torch.zeros(12, 15)
    favours_validation[parts.validation.edges()] = 5.0
    favours_validation[parts.test.edges()] = 1.0
    favours_validation[parts.train.edges()] = 9.0
    found = rank_users(Given(favours_validation), Holdout(parts.history, parts.test), (1,))
    assert (found["hit@1"] == 1).all()


# LightGCL: the mean over batches of 256 users of their means counts the last, short one as whole.
def test_the_last_short_block_of_users_is_not_over_weighted(monkeypatch) -> None:
    targets = log(torch.eye(5, dtype=torch.bool))
    nothing = targets.select(torch.zeros(5, dtype=torch.bool))
    scores = torch.zeros(5, 5)
    scores[4, 4] = 1.0  # the last user alone is served
    scores[:4, 0] = torch.tensor([-1.0, 1, 1, 1])
    monkeypatch.setattr("recsys.evaluate.full_ranking.CELLS", 10)  # two users at a time
    found = mean_metrics(rank_users(Given(scores), Holdout(nothing, targets), (1,)))
    assert found["hit@1"] == pytest.approx(1 / 5)  # theirs: (0 + 0 + 1) / 3


# LightGCL's first code: seen items are multiplied by 0, which outranks negative scores.
def test_a_seen_item_never_outranks_an_unseen_one() -> None:
    seen = log(torch.tensor([[True, False, False]]))
    target = log(torch.tensor([[False, True, False]]))
    method = Given(torch.tensor([[-5.0, -1.0, -2.0]]))
    assert float(rank_users(method, Holdout(seen, target), (1,))["hit@1"]) == 1


# implicit: "precision" divides by min(k, number of targets).
def test_precision_divides_by_the_length_of_the_list() -> None:
    target = log(torch.tensor([[False, True, False, False]]))
    nothing = target.select(torch.zeros(1, dtype=torch.bool))
    method = Given(torch.tensor([[0.0, 9.0, 0.0, 0.0]]))
    found = mean_metrics(rank_users(method, Holdout(nothing, target), (2,)))
    assert found["precision@2"] == 0.5


# RecBole, MMRec with scipy >= 1.13: users who delete the failing line train on an empty graph.
def test_the_graph_has_every_edge_twice_and_is_normalised_on_both_sides() -> None:
    data = random_log()
    model = LightGCN(LightGCN.Config(dimension=4), data)
    edges = len(data.pair_keys())
    assert edges > 0
    adjacency = model.adjacency.to_dense()
    assert int((adjacency != 0).sum()) == 2 * edges
    assert torch.equal(adjacency, adjacency.T)  # LATTICE normalises rows only
    user, item = (int(end[0]) for end in data.edges())
    degrees = int(data.lengths()[user]) * int(data.item_counts()[item])
    assert float(adjacency[user, 12 + item]) == pytest.approx(degrees**-0.5)


# SELFRec: `if aug_type == 0 or 1` is always true, so a random walk has one graph for all layers.
def test_every_layer_of_a_random_walk_has_its_own_graph() -> None:
    config = configure(SGL.Config, {"augmentation": "walk", "layers": 3, "drop_rate": 0.5})
    model = SGL(config, random_log())
    graphs = [graph.to_dense() for graph in model.draw_view(torch.Generator().manual_seed(0))]
    assert len(graphs) == 3
    assert not any(torch.equal(graphs[a], graphs[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


# SELFRec: users and items are put into one InfoNCE, so that items are negatives of users.
def test_users_are_contrasted_with_users_and_items_with_items() -> None:
    settings = {"dimension": 4, "drop_rate": 0.0, "temperature": 0.5, "contrast_weight": 1.0}
    model = SGL(configure(SGL.Config, settings), random_log())
    batch = TripleBatch(torch.tensor([1, 2, 1]), torch.tensor([3, 4, 5]), torch.tensor([5, 6, 7]))
    found = model.loss(batch, torch.Generator().manual_seed(0))["contrast"].detach()
    wanted = torch.zeros(())
    for side, anchors in zip(model.propagate(), ([1, 2], [3, 4, 5]), strict=True):
        rows = torch.nn.functional.normalize(side.detach(), dim=1)
        logits = rows[anchors] @ rows.T / 0.5
        wanted += (
            logits.logsumexp(1) - logits.gather(1, torch.tensor(anchors)[:, None])[:, 0]
        ).mean()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


# SSLRec's DCCF: the contrast of the items is divided by the number of users.
def test_each_side_is_averaged_over_its_own_nodes() -> None:
    torch.manual_seed(0)
    first, second = ((torch.randn(9, 4), torch.randn(9, 4)) for _ in range(2))
    users, items = torch.tensor([0, 1]), torch.tensor([2, 3, 4, 5, 6])
    objective = InfoNCE(0.5, symmetric=False)
    found = batch_contrast(objective, first, second, (users, items))
    summed = InfoNCE(0.5, symmetric=False, reduction="sum")
    of_users, of_items = (
        float(summed(first[side][nodes], second[side][nodes]))
        for side, nodes in enumerate((users, items))
    )
    assert float(found) == pytest.approx(of_users / 2 + of_items / 5, rel=1e-5)


# SELFRec, LightGCN-PyTorch: the best epoch is chosen on the test items.
def test_training_chooses_without_opening_the_test_items(tmp_path) -> None:
    split = Ranking().load(write_log(tmp_path, random_log()), "random-8-1-1", 0, None)
    model = LightGCN(LightGCN.Config(dimension=4, epochs=3, evaluate_every=1), split.train)
    progress = Trainer(
        model, Ranking(), split, seed=0, generator=torch.Generator().manual_seed(0),
        folder=CheckpointFolder(tmp_path / "checkpoints"), log=RunLog(tmp_path / "log.jsonl"),
        fingerprint="",
    ).fit()  # fmt: skip
    assert progress.best_epoch in (1, 2, 3)
    assert isinstance(split.test, Sealed)
    with pytest.raises(SealedError, match="still sealed"):
        split.test.opened()


# SELFRec: BPR is -log(1e-5 + sigmoid); L2 is a norm, not its square, and without the negative item.
# PyG's LightGCN divided BPR by the batch twice.
def test_bpr_and_l2_have_their_closed_forms() -> None:
    model = SimGCL(configure(SimGCL.Config, {"dimension": 4, "l2": 0.3}), random_log())
    batch = TripleBatch(torch.tensor([1, 2]), torch.tensor([3, 4]), torch.tensor([5, 6]))
    rows = [model.embeddings[i] for i in (1, 2, 12 + 3, 12 + 4, 12 + 5, 12 + 6)]
    squares = sum(float(row.detach().square().sum()) for row in rows)
    assert float(model.penalty(batch).detach()) == pytest.approx(0.3 * squares / 4, rel=1e-5)
    gaps = torch.tensor([0.7, -1.2, 2.0])
    value = float(BPR()(gaps, torch.zeros(3)))
    assert value == pytest.approx(sum(math.log1p(math.exp(-g)) for g in gaps.tolist()) / 3)


# LightGCL, HCCF, RecBole-GNN: log(sigmoid(x)) is minus infinity at x = -110 in float32.
def test_bpr_is_finite_where_a_sigmoid_is_zero() -> None:
    gap = torch.tensor([-110.0, -1e4], requires_grad=True)
    value = BPR(reduction="none")(gap, torch.zeros(2))
    assert value.tolist() == pytest.approx([110.0, 1e4])
    value.sum().backward()
    assert gap.grad.tolist() == pytest.approx([-1.0, -1.0])


# SELFRec: the temperature of SimGCL is fixed at 0.2, whatever the settings say.
def test_the_temperature_is_the_one_that_was_set() -> None:
    values = []
    for temperature in (0.2, 0.5):
        torch.manual_seed(0)
        model = SimGCL(configure(SimGCL.Config, {"temperature": temperature}), random_log())
        generator = torch.Generator().manual_seed(0)
        batch = next(iter(model.batches(generator)))
        values.append(float(model.loss(batch, generator)["contrast"].detach()))
    assert values[0] != values[1]


# LightGCN's authors draw users uniformly, which changes how often popular items are seen.
def test_an_epoch_is_every_interaction_once_with_a_true_negative() -> None:
    data = random_log()
    seen = []
    for batch in TripleBatches(data, 7).epoch(torch.Generator().manual_seed(0)):
        seen += (batch.users * 15 + batch.positives).tolist()
        assert not torch.isin(batch.users * 15 + batch.negatives, data.pair_keys()).any()
    assert sorted(seen) == data.pair_keys().tolist()


# SSLRec: an edge is dropped in one direction and kept in the other, and kept ones are not scaled.
def test_edges_leave_in_both_directions_and_the_mean_stays() -> None:
    model = LightGCN(LightGCN.Config(dimension=4), random_log()).train()
    generator = torch.Generator().manual_seed(0)
    full = model.adjacency.to_dense()
    drawn = [model.drop_edges(0.4, generator).to_dense() for _ in range(400)]
    assert torch.equal(drawn[0], drawn[0].T)
    assert not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(torch.stack(drawn).mean(0), full, rtol=0.25, atol=0)
