"""The checks of losses and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphcl.errors import NonFiniteError
from graphcl.train.guard import check_gradients


def test_sparse_gradients():
    table = nn.Embedding(10, 4, sparse=True)
    table(torch.tensor([1, 1])).sum().backward()
    check_gradients(table.named_parameters(), 1, 1)
    table.zero_grad()
    (table(torch.tensor([1])).sum() * float("nan")).backward()
    with pytest.raises(NonFiniteError, match="the gradient of parameter 'weight' is not finite"):
        check_gradients(table.named_parameters(), 1, 1)
