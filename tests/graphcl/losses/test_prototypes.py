"""SwAV, its codes, and ProtoCLIP against loops over nodes and prototypes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import ProtoCLIP, SwAV, proto_clip, swav
from graphcl.losses.proto_clip import proto_clip_prototypes
from graphcl.losses.sinkhorn import sinkhorn
from graphcl.losses.swav import swav_codes

# ------------------------------------------------------------------ codes


def sinkhorn_loop(scores: Tensor, epsilon: float, iterations: int) -> list[list[float]]:
    """Caron et al. 2020: Q starts as e^(score/ε); columns, then rows, are scaled in turn."""
    B, K = scores.shape
    q = [[math.exp(float(scores[i, k]) / epsilon) for k in range(K)] for i in range(B)]
    for _ in range(iterations):
        for k in range(K):
            total = sum(q[i][k] for i in range(B))
            for i in range(B):
                q[i][k] /= total * K
        for i in range(B):
            total = sum(q[i])
            for k in range(K):
                q[i][k] /= total * B
    return [[entry * B for entry in row] for row in q]


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_is_its_definition(loops: Any, iterations: int) -> None:
    scores = loops.random(6, 4).clamp(-1, 1)
    expected = torch.tensor(sinkhorn_loop(scores, 0.2, iterations), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, 0.2, iterations), expected)


def test_codes_use_all_prototypes_equally_in_the_limit(loops: Any) -> None:
    # Every row likes prototype 0 best; a softmax would give it almost everything.
    scores = loops.random(40, 5) * 0.1
    scores[:, 0] += 1.0
    codes = sinkhorn(scores, 0.05, 300)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((5,), 8.0, dtype=torch.float64))


def test_sinkhorn_does_not_overflow(loops: Any) -> None:
    scores = loops.random(30, 4).float() * 1e4
    codes = sinkhorn(scores, 1e-3)
    assert torch.isfinite(codes).all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(30))
    assert sinkhorn(torch.randn(0, 3)).shape == (0, 3)
    assert sinkhorn(torch.randn(4, 3, dtype=torch.float16)).dtype == torch.float32


def test_sinkhorn_names_mistakes() -> None:
    with pytest.raises(ArgumentError, match="epsilon must be a finite number above 0; got 0"):
        sinkhorn(torch.ones(2, 2), 0)
    with pytest.raises(ArgumentError, match="iterations must be an integer of at least 1; got 0"):
        SwAV(iterations=0)
    with pytest.raises(NonFiniteArgumentError, match="scores must be finite"):
        sinkhorn(torch.tensor([[math.inf, 0.0]]))


def test_a_queue_takes_part_in_the_balance_and_gets_no_code(loops: Any) -> None:
    z, queue, prototypes = (
        loops.random(4, 3),
        loops.random(9, 3, seed=1),
        loops.random(5, 3, seed=2),
    )
    codes = swav_codes(z, prototypes, queue)
    assert torch.equal(codes, swav_codes(torch.cat([queue, z]), prototypes)[9:])
    assert not torch.allclose(codes, swav_codes(z, prototypes))


# ------------------------------------------------------------------ SwAV


def test_swav_is_its_definition(loops: Any) -> None:
    z1, z2, prototypes = loops.random(5, 3), loops.random(5, 3, seed=1), loops.random(4, 3, seed=2)

    def scores(z: Tensor, prototypes: Tensor) -> list[list[Tensor]]:
        return [[loops.cosine(row, prototype) for prototype in prototypes] for row in z]

    def definition(z1: Tensor, z2: Tensor, prototypes: Tensor) -> list[Tensor]:
        first, second = scores(z1, prototypes), scores(z2, prototypes)
        values = []
        for i in range(5):
            value = torch.zeros((), dtype=torch.float64)
            for student, teacher in ((first, second), (second, first)):
                # Codes have no gradient.
                numbers = torch.tensor(
                    [[float(entry.detach()) for entry in row] for row in teacher],
                    dtype=torch.float64,
                )
                code = sinkhorn_loop(numbers, 0.1, 3)[i]
                total = sum(torch.exp(entry / 0.2) for entry in student[i])
                for k in range(4):
                    value = value - code[k] * torch.log(torch.exp(student[i][k] / 0.2) / total) / 2
            values.append(value)
        return values

    loops.agree(
        lambda *inputs: swav(*inputs, temperature=0.2, epsilon=0.1, reduction="none"),
        definition,
        z1,
        z2,
        prototypes,
    )


def test_given_codes_are_used(loops: Any) -> None:
    z1, z2, prototypes = loops.random(5, 3), loops.random(5, 3, seed=1), loops.random(4, 3, seed=2)
    codes = [swav_codes(z, prototypes) for z in (z1, z2)]
    loss = SwAV()
    assert torch.equal(loss(z1, z2, prototypes, *codes), loss(z1, z2, prototypes))
    assert not torch.equal(loss(z1, z2, prototypes, *codes[::-1]), loss(z1, z2, prototypes))


def test_prototypes_are_normalised_on_use(loops: Any) -> None:
    z1, z2, prototypes = loops.random(5, 3), loops.random(5, 3, seed=1), loops.random(4, 3, seed=2)
    lengths = torch.tensor([0.1, 1.0, 10.0, 1e6], dtype=torch.float64)[:, None]
    torch.testing.assert_close(SwAV()(z1, z2, prototypes * lengths), SwAV()(z1, z2, prototypes))


def test_swav_names_mistakes() -> None:
    z = torch.randn(4, 3)
    with pytest.raises(ArgumentError, match=r"prototypes must be \(rows, 3\) with at least 1 row"):
        SwAV()(z, z, torch.randn(5, 2))
    with pytest.raises(ArgumentError, match=r"codes2 must be \(4, 5\); got \(4, 6\)"):
        SwAV()(z, z, torch.randn(5, 3), None, torch.rand(4, 6))


# ------------------------------------------------------------------ ProtoCLIP


def means(rows: list[list[Tensor]], labels: list[int], clusters: int) -> list[list[float]]:
    result = []
    for c in range(clusters):
        members = [row for row, label in zip(rows, labels, strict=True) if label == c]
        columns = range(len(rows[0]))
        result.append(
            [sum(float(row[k].detach()) for row in members) / max(len(members), 1) for k in columns]
        )
    return result


@pytest.mark.parametrize("target_temperature", [None, 0.3])
@pytest.mark.parametrize("back_translation", [False, True])
def test_proto_clip_is_its_definition(
    loops: Any, target_temperature: float | None, back_translation: bool
) -> None:
    # Cluster 2 of the second view is empty.
    labels = ([0, 1, 1, 2, 0, 2], [3, 0, 3, 1, 1, 0])

    def definition(z1: Tensor, z2: Tensor) -> list[Tensor]:
        units = [[loops.unit(row) for row in z] for z in (z1, z2)]
        values = []
        for i in range(6):
            value = torch.zeros((), dtype=torch.float64)
            for s, t in ((0, 1), (1, 0)):
                K = max(labels[t]) + 1
                of_teacher = means(units[t], labels[t], K)
                of_student = means(units[s], labels[t], K) if back_translation else of_teacher
                y = labels[t][i]
                if target_temperature is None:
                    target = [float(k == y) for k in range(K)]
                else:
                    raised = [
                        math.exp(
                            sum(a * b for a, b in zip(of_teacher[y], of_teacher[k], strict=True))
                            / target_temperature
                        )
                        for k in range(K)
                    ]
                    target = [entry / sum(raised) for entry in raised]
                e = [
                    torch.exp(
                        sum(a * b for a, b in zip(units[s][i], of_student[k], strict=True)) / 0.2
                    )
                    for k in range(K)
                ]
                for k in range(K):
                    value = value - target[k] * torch.log(e[k] / sum(e)) / 2
            values.append(value)
        return values

    loops.agree(
        lambda a, b: proto_clip(
            a,
            b,
            *(torch.tensor(part) for part in labels),
            temperature=0.2,
            target_temperature=target_temperature,
            back_translation=back_translation,
            reduction="none",
        ),
        definition,
        *loops.random(2, 6, 3),
    )


def test_prototypes_of_an_episode_serve_its_batches(loops: Any) -> None:
    z1, z2 = loops.random(2, 40, 3)
    prototypes = proto_clip_prototypes(z1, z2, 4, generator=torch.Generator().manual_seed(0))
    again = proto_clip_prototypes(z1, z2, 4, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(prototypes, again, strict=True))
    loss = ProtoCLIP(reduction="none")
    whole = loss(z1, z2, *prototypes)
    batch = loss(z1[:10], z2[:10], prototypes[0][:10], prototypes[1][:10], *prototypes[2:])
    torch.testing.assert_close(batch, whole[:10])
    # With all nodes in the batch, the means over it are those prototypes.
    torch.testing.assert_close(loss(z1, z2, *prototypes[:2], *prototypes[2:4]), whole)


def test_proto_clip_names_mistakes(loops: Any) -> None:
    z, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ArgumentError, match="assignment1 must be at least 0 and at most 1"):
        ProtoCLIP()(z, z, labels, labels, torch.randn(2, 3))
    with pytest.raises(ArgumentError, match=r"centroids1 must be \(rows, 3\)"):
        ProtoCLIP()(z, z, labels, labels, torch.randn(3, 2))
    with pytest.raises(
        ArgumentError, match=r"translated1 must have a row per cluster of view 2, 3; got 5"
    ):
        ProtoCLIP()(z, z, labels, labels, translated1=torch.randn(5, 3))
    with pytest.raises(ArgumentError, match="target_temperature must lie in"):
        ProtoCLIP(target_temperature=0.0)
