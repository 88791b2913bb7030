"""The definition of the contrast operators: loops over single numbers, one per candidate."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphcl.kernels.contrast import Pairs
from graphcl.native import missing_reason

Rows = list[dict[int, Tensor]]


class Definition:
    """Logit of every candidate of every row, as 0-d tensors that autograd can follow."""

    def __init__(
        self,
        query: Tensor,
        key: Tensor | None = None,
        *,
        scale: float | Tensor,
        positive: Tensor | None = None,
        row_ids: Tensor | None = None,
        column_ids: Tensor | None = None,
        row_groups: Tensor | None = None,
        column_groups: Tensor | None = None,
        exclude: Pairs | None = None,
        weights: Pairs | Callable[[slice, slice], Tensor] | None = None,
        row_bias: Tensor | None = None,
        column_bias: Tensor | None = None,
        hardness: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        itself = key is None
        if itself:
            column_ids = row_ids if column_ids is None else column_ids
            column_groups = row_groups if column_groups is None else column_groups
        key = query if key is None else key
        left_out = set()
        if exclude is not None:
            left_out = set(zip(exclude.rows.tolist(), exclude.columns.tolist(), strict=True))
        weight = {}
        if isinstance(weights, Pairs) and weights.log_weight is not None:
            pairs = zip(weights.rows.tolist(), weights.columns.tolist(), strict=True)
            weight = dict(zip(pairs, weights.log_weight, strict=True))
        elif weights is not None and not isinstance(weights, Pairs):
            for i in range(len(query)):
                for j in range(len(key)):
                    weight[i, j] = weights(slice(i, i + 1), slice(j, j + 1))[0, 0]
        self.query = query
        self.rows: Rows = []
        self.positives: list[Tensor] = []
        for i in range(len(query)):
            logits: dict[int, Tensor] = {}
            self.positives.append(0 * query[i].sum())
            for j in range(len(key)):
                product = sum(a * b for a, b in zip(query[i], key[j], strict=True))
                logit = scale * product + weight.get((i, j), 0.0)
                logit = logit if row_bias is None else logit + row_bias[i]
                logit = logit if column_bias is None else logit + column_bias[j]
                target = positive is not None and int(positive[i]) == j
                if target:
                    self.positives[i] = logit
                if (
                    (row_ids is not None and row_ids[i] == column_ids[j])
                    or (itself and row_ids is None and i == j)
                    or (row_groups is not None and row_groups[i] != column_groups[j])
                    or (i, j) in left_out
                    or (decoupled and target)
                ):
                    continue
                logits[j] = logit + hardness * product.detach()
            self.rows.append(logits)

    def positive(self) -> Tensor:
        return torch.stack(self.positives)

    def denominator(self) -> Tensor:
        values = []
        for i, logits in enumerate(self.rows):
            top = max((float(value.detach()) for value in logits.values()), default=-torch.inf)
            if top == -torch.inf:
                values.append(0 * self.query[i].sum() - torch.inf)
            else:
                values.append(top + sum((value - top).exp() for value in logits.values()).log())
        return torch.stack(values)

    def mean(self) -> Tensor:
        values = []
        for i, (logits, total) in enumerate(zip(self.rows, self.denominator(), strict=True)):
            terms = [
                (value - total).exp() * value for value in logits.values() if value > -torch.inf
            ]
            values.append(sum(terms, start=0 * self.query[i].sum()))
        return torch.stack(values)

    def pair_sum(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack(
            [
                sum((function(value) for value in logits.values()), start=0 * self.query[i].sum())
                for i, logits in enumerate(self.rows)
            ]
        )


@pytest.fixture(scope="session")
def define() -> type[Definition]:
    return Definition


def unusable_backends() -> dict[str, str]:
    """Why a backend cannot run on CPU tensors here."""
    reasons = {}
    if missing_reason() is not None:
        reasons["native"] = f"no compiled kernels: {missing_reason()}"
    if importlib.util.find_spec("triton") is None:
        reasons["triton"] = "triton is not installed"
    elif os.environ.get("TRITON_INTERPRET") != "1":
        reasons["triton"] = "triton serves CPU tensors with TRITON_INTERPRET=1 only"
    return reasons


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = unusable_backends()
    for item in items:
        called = getattr(item, "callspec", None)
        backend = called.params.get("backend") if called else None
        if isinstance(backend, str) and backend in reasons:
            item.add_marker(pytest.mark.skip(reason=reasons[backend]))
        if backend == "triton":
            # The interpreter takes a second for what the others do in a millisecond;
            # test_contrast_triton.py covers the kernels with fewer and smaller cases.
            item.add_marker(pytest.mark.slow)
