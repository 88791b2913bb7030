"""`ProjectionHead` is Linear - activation - Linear, seeded on request."""

import pytest
import torch
from torch.nn import functional

from graphcl.encoders import ProjectionHead
from graphcl.errors import UnknownNameError


def test_equals_the_formula():
    head = ProjectionHead(4, 6, 3)
    x = torch.randn(5, 4)
    hidden = functional.elu(x @ head.first.weight.T + head.first.bias)
    torch.testing.assert_close(head(x), hidden @ head.second.weight.T + head.second.bias)
    assert ProjectionHead(4, 6)(x).shape == (5, 4)


def test_seeded():
    before = None
    for _ in range(2):
        head = ProjectionHead(4, 6, generator=torch.Generator().manual_seed(1))
        state = torch.cat([p.flatten() for p in head.parameters()])
        assert before is None or torch.equal(state, before)
        before = state
    assert head.first.weight.abs().max() <= 0.5
    other = ProjectionHead(4, 6, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(head.first.weight, other.first.weight)


def test_unknown_activation():
    with pytest.raises(UnknownNameError, match="did you mean 'relu'"):
        ProjectionHead(4, 6, activation="reluu")
