"""Graph recommenders with a contrast: their parts, and the limits in which they agree."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.config import configure
from graphcl.errors import ConfigError
from recsys.data import Interactions
from recsys.methods.bpr import BPRMF
from recsys.methods.directau import DirectAU
from recsys.methods.lightgcn import LightGCN
from recsys.methods.ncl import NCL
from recsys.methods.sgl import SGL
from recsys.methods.sides import batch_contrast
from recsys.methods.simgcl import SimGCL
from recsys.methods.xsimgcl import XSimGCL


def log(seed: int = 0) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    taken = torch.rand(12, 10, generator=generator) < 0.4
    taken[0] = False  # a user and an item without interactions
    taken[:, 3] = False
    user, item = taken.nonzero(as_tuple=True)
    return Interactions.from_indices(user, item, num_users=12, num_items=10)


def build(method: type, data: Interactions, **settings: object):
    torch.manual_seed(0)
    model = method(configure(method.Config, {"dimension": 6, "batch_size": 16, **settings}), data)
    return model, torch.Generator().manual_seed(0)


def loss(model, generator: torch.Generator) -> dict[str, Tensor]:
    return model.loss(next(iter(model.batches(generator))), generator)


def test_matrix_factorisation_is_lightgcn_without_layers() -> None:
    data = log()
    plain, first = build(BPRMF, data)
    graph, second = build(LightGCN, data, layers=0)
    for one, other in zip(loss(plain, first).values(), loss(graph, second).values(), strict=True):
        assert torch.equal(one, other)


def test_directau_is_its_formula() -> None:
    model, generator = build(DirectAU, log(), uniformity_weight=0.5)
    batch = next(iter(model.batches(generator)))
    parts = model.loss(batch, generator)
    users, items = model.propagate()
    rows = [
        torch.nn.functional.normalize(side.detach().double(), dim=1).tolist()
        for side in (users[batch.users], items[batch.positives])
    ]

    def squared(a: list[float], b: list[float]) -> float:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    count = len(rows[0])
    alignment = sum(squared(a, b) for a, b in zip(*rows, strict=True)) / count
    uniformity = 0.0
    for side in rows:
        pairs = [math.exp(-2 * squared(side[i], side[j])) for i in range(count) for j in range(i)]
        uniformity += math.log(sum(pairs) / len(pairs)) / 2
    assert float(parts["alignment"].detach()) == pytest.approx(alignment, rel=1e-5)
    assert float(parts["uniformity"].detach()) == pytest.approx(0.5 * uniformity, rel=1e-4)


def test_sgl_without_dropping_contrasts_the_graph_with_itself() -> None:
    model, generator = build(SGL, log(), drop_rate=0.0)
    view = model.view(model.draw_view(generator))
    for one, other in zip(view, model.propagate(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("augmentation", ["edge", "node", "walk"])
def test_sgl_views_are_thinned_and_drawn_anew(augmentation: str) -> None:
    model, generator = build(SGL, log(), drop_rate=0.4, augmentation=augmentation)
    full = model.adjacency.entries
    views = [model.draw_view(generator) for _ in range(2)]
    assert all(graph.entries < full for view in views for graph in view)
    assert not torch.equal(model.view(views[0])[0], model.view(views[1])[0])
    per_layer = views[0][0] is not views[0][1]
    assert per_layer == (augmentation == "walk")


def test_noise_has_its_length_and_orthant() -> None:
    model, generator = build(SimGCL, log(), noise=0.3, layers=1)
    clean = torch.cat(model.propagate())
    moved = model.noisy_layers(generator)[0] - clean
    present = clean.abs().sum(1) > 0
    torch.testing.assert_close(
        moved[present].norm(dim=1), torch.full((int(present.sum()),), 0.3), rtol=1e-4, atol=1e-4
    )
    assert (moved[present] * clean[present] >= 0).all()


def test_xsimgcl_without_noise_ranks_as_simgcl() -> None:
    data = log()
    simple, first = build(SimGCL, data, noise=0.0)
    cross, second = build(XSimGCL, data, noise=0.0)
    assert torch.equal(loss(simple, first)["bpr"], loss(cross, second)["bpr"])


def test_batch_contrast_takes_every_node_once() -> None:
    from graphcl.losses import InfoNCE

    torch.manual_seed(0)
    first, second = (torch.randn(4, 3), torch.randn(5, 3)), (torch.randn(4, 3), torch.randn(5, 3))
    objective = InfoNCE(0.2, symmetric=False)
    once = batch_contrast(objective, first, second, (torch.tensor([0, 2]), torch.tensor([1, 3])))
    twice = batch_contrast(
        objective, first, second, (torch.tensor([2, 0, 2, 0]), torch.tensor([3, 1, 1, 3]))
    )
    assert torch.equal(once, twice)


def test_ncl_prototypes_come_after_the_warm_up() -> None:
    model, generator = build(NCL, log(), warm_up=1, clusters=3, layers=2)
    model.epoch_start(1, generator)
    assert float(loss(model, generator)["prototype"].detach()) == 0
    model.epoch_start(2, generator)
    assert float(loss(model, generator)["prototype"].detach()) > 0


def test_layers_out_of_range_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"'structure_steps' must be at most layers = 3 \(got 4\)"
    ):
        build(NCL, log(), structure_steps=4)
    with pytest.raises(ConfigError, match=r"'contrast_layer' must be at most layers = 1 \(got 2\)"):
        build(XSimGCL, log(), layers=1, contrast_layer=2)
