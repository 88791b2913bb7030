"""SRA-CL: what is retrieved, how it is mixed, and that nothing leaks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from graphcl.config import configure
from graphcl.errors import ArgumentError, DataError
from graphcl.train.seeds import seed_everything
from recsys.data import leave_one_out
from recsys.data.load import load_interactions
from recsys.methods.sequence_contrast import paired_info_nce
from recsys.methods.sracl import SRACL
from recsys.views import NeighbourSynthesis, nearest_rows


def mixed_by_definition(
    mix: NeighbourSynthesis, anchor: list[float], near: list[list[float]], states: list[list[float]]
) -> list[float]:
    weight = mix.project.weight.tolist()
    own, other = mix.attend_anchor.weight[0].tolist(), mix.attend_neighbour.weight[0].tolist()

    def attention(part: list[float], vector: list[float]) -> float:
        projected = [sum(w * x for w, x in zip(row, vector, strict=True)) for row in weight]
        return sum(a * p for a, p in zip(part, projected, strict=True))

    energies = []
    for vector in near:
        energy = attention(own, anchor) + attention(other, vector)
        energies.append(energy if energy > 0 else 0.2 * energy)
    total = sum(math.exp(energy) for energy in energies)
    weights = [math.exp(energy) / total for energy in energies]
    return [
        sum(alpha * state[i] for alpha, state in zip(weights, states, strict=True))
        for i in range(len(states[0]))
    ]


def test_synthesis_by_its_definition() -> None:
    torch.manual_seed(0)
    mix = NeighbourSynthesis(5, 4).double().eval()
    generator = torch.Generator().manual_seed(0)
    anchor = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    near = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    states = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    value = mix(anchor, near, states, present)
    for row in range(2):
        kept = torch.nonzero(present[row]).flatten().tolist()
        expected = mixed_by_definition(
            mix,
            anchor[row].tolist(),
            [near[row, j].tolist() for j in kept],
            [states[row, j].tolist() for j in kept],
        )
        assert value[row].tolist() == pytest.approx(expected, abs=1e-12)
    assert value[2].tolist() == [0.0] * 6
    assert torch.autograd.gradcheck(
        lambda near, states: mix(anchor, near, states, present), (near.requires_grad_(), states)
    )


def test_synthesis_drops_weights_in_training_only() -> None:
    torch.manual_seed(0)
    mix = NeighbourSynthesis(3, 4, dropout=0.5)
    anchor, near, states = torch.randn(2, 3), torch.randn(2, 9, 3), torch.ones(2, 9, 1)
    mix.eval()
    torch.testing.assert_close(mix(anchor, near, states), torch.ones(2, 1))
    mix.train()
    assert not torch.allclose(mix(anchor, near, states), torch.ones(2, 1))
    with pytest.raises(ArgumentError, match="anchor must be"):
        mix(anchor, near, states[:, :3])
    with pytest.raises(ArgumentError, match="dropout"):
        NeighbourSynthesis(3, 4, dropout=1.0)


def test_nearest_rows_of_a_pool_by_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 6, generator=generator)
    rows[7] = rows[21] = 0.0
    groups = torch.arange(40) // 4
    pool = torch.tensor([0, 3, 7, 8, 9, 20, 22, 30])
    found = nearest_rows(rows, 3, groups=groups, pool=pool)
    for row in range(40):
        others = [j for j in pool.tolist() if groups[j] != groups[row] and rows[j].any()]
        cosine = torch.nn.functional.cosine_similarity(rows[row][None], rows[others])
        order = cosine.argsort(descending=True)[:3]
        expected = [others[j] for j in order.tolist()] if rows[row].any() else [-1] * 3
        assert found[row].tolist() == expected
    nobody = nearest_rows(rows, 2, groups=groups, pool=torch.tensor([7]))
    assert (nobody == -1).all()


@pytest.fixture
def split(tiny_log):
    return leave_one_out(load_interactions(str(tiny_log)))


def made(data, matrix: torch.Tensor | None = None, **settings: object):
    generator = seed_everything(0)
    settings = {"dimension": 8, "layers": 1, "max_length": 9, "anchors": 64, **settings}
    return SRACL(configure(SRACL.Config, settings), data, matrix), generator


def test_neighbours_are_training_subsequences_of_others(split) -> None:
    model, _ = made(split.train, neighbours=5)
    rows = model.subsequences
    assert len(rows) == len(split.train) - split.train.num_users
    found = model.neighbours
    assert (found >= 0).any(1).all()
    owners = rows.users[found.clamp(min=0)]
    assert (owners != rows.users[:, None])[found >= 0].all()
    # The two groups of the log share no item, so no neighbour crosses between them.
    half = torch.tensor([int(name[1:]) % 2 for name in split.train.user_ids])
    assert (half[owners] == half[rows.users][:, None])[found >= 0].float().mean() > 0.99


def test_held_out_items_change_nothing(tiny_log) -> None:
    """Two logs that differ in everybody's last two items only give the same neighbours."""
    log = load_interactions(str(tiny_log))
    from_end = log.offsets[1:][log.users()] - 1 - torch.arange(len(log))
    other = (log.items + 7) % log.num_items
    changed = replace(log, items=other.where(from_end < 2, log.items))
    one, _ = made(leave_one_out(log).train)
    two, _ = made(leave_one_out(changed).train)
    assert torch.equal(one.meaning, two.meaning)
    assert torch.equal(one.neighbours, two.neighbours)
    assert torch.equal(one.substitute.neighbours.table, two.substitute.neighbours.table)
    three, _ = made(changed)
    assert not torch.equal(one.substitute.neighbours.table, three.substitute.neighbours.table)


def test_drawn_neighbours_are_different_ones_of_the_list(split) -> None:
    model, generator = made(split.train, neighbours=5, encoded=3)
    rows = torch.arange(len(model.subsequences)).repeat(20)
    drawn = model.drawn_neighbours(rows, generator)
    assert drawn.shape == (len(rows), 3)
    listed = model.neighbours[rows]
    assert (drawn[:, :, None] == listed[:, None]).any(2).all()
    assert (drawn.sort(dim=1).values.diff(dim=1) > 0)[(drawn >= 0).all(1)].all()
    # Every neighbour is drawn about equally often: 20 * 3 / 5 times for each row.
    often = torch.stack([(drawn == listed[:, j, None]).any(1).float().mean() for j in range(5)])
    torch.testing.assert_close(often, torch.full((5,), 0.6), rtol=0, atol=0.05)
    model.neighbours[0] = torch.tensor([4, -1, -1, -1, -1])
    assert model.drawn_neighbours(torch.tensor([0]), generator).tolist() == [[4, -1, -1]]


@pytest.mark.parametrize("longest", [9, 3])
def test_loss_by_its_formula(split, longest: int) -> None:
    """In later windows of long histories, too, where a window holds the end of an anchor only."""
    weights = {"contrast_weight": 0.3, "intra_weight": 0.7}
    settings = {"dropout": 0.0, "max_length": longest, **weights}
    model, generator = made(split.train, neighbours=3, encoded=3, anchors=2000, **settings)
    model.double()
    model.meaning = model.meaning.double()
    batch = next(iter(model.batches(generator)))
    found = model.loss(batch, torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    chosen = model.anchors(batch, again)
    rows = model.subsequences.row_at[batch.places[chosen]]
    views = [
        model.encoder.last(*model.substitute(*model.subsequences.gather(rows), again))
        for _ in range(2)
    ]
    torch.testing.assert_close(found["intra"], paired_info_nce(*views, 1.0))
    states = model.encoder.last(*model.subsequences.gather(torch.arange(len(model.subsequences))))
    positive = []
    for row in rows.tolist():
        near = [j for j in model.neighbours[row].tolist() if j >= 0]
        anchor, vectors = model.meaning[row].tolist(), model.meaning[near].tolist()
        positive.append(
            mixed_by_definition(model.synthesis, anchor, vectors, states[near].tolist())
        )
    cross = paired_info_nce(states[rows], torch.tensor(positive, dtype=torch.float64), 1.0)
    torch.testing.assert_close(found["cross"], cross, rtol=1e-9, atol=1e-9)
    total = found["cross_entropy"] + 0.3 * found["cross"] + 0.7 * found["intra"]
    torch.testing.assert_close(found["total"], total)


def test_any_matrix_will_do(split, tmp_path) -> None:
    """From memory or from a file; rows of zeros are items of which nothing is known."""
    matrix = torch.randn(split.train.num_items, 7, generator=torch.Generator().manual_seed(0))
    matrix[3] = 0.0
    np.save(tmp_path / "items.npy", matrix.numpy())
    given, generator = made(split.train, matrix)
    stored, _ = made(split.train, embedding=str(tmp_path / "items.npy"))
    assert torch.equal(given.neighbours, stored.neighbours)
    assert (given.substitute.neighbours.counts[3]) == 0
    assert not (given.substitute.neighbours.table == 3).any()
    nothing, _ = made(split.train, torch.zeros(split.train.num_items, 2))
    parts = nothing.loss(next(iter(nothing.batches(generator))), generator)
    assert parts["cross"].item() == 0.0
    parts["total"].backward()
    with pytest.raises(ArgumentError, match=rf"embedding must be \({split.train.num_items}, D\)"):
        made(split.train, matrix[:-1])
    with pytest.raises(DataError, match="needs item texts"):
        made(split.train, embedding="words")


def test_encoder_of_ones_choice(split) -> None:
    for encoder in ("ligr", "gru4rec"):
        model, generator = made(split.train, encoder=encoder)
        parts = model.loss(next(iter(model.batches(generator))), generator)
        assert all(torch.isfinite(value) for value in parts.values())
