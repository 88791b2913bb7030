"""Contrast of two views of a user-item graph, users among users and items among items."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.losses import InfoNCE, InfoNCEAllNodes

Sides = tuple[Tensor, Tensor]
"""Something of the users and the same of the items."""


def batch_contrast(loss: InfoNCE, first: Sides, second: Sides, nodes: Sides) -> Tensor:
    """Sum over both sides of `loss` among the distinct nodes of a batch.

    A node that a batch holds twice would be its own negative; each is taken once.

    Args:
        loss: of two views (n, d) of the same nodes.
        first, second: users (M, d) and items (N, d) of the two views.
        nodes: numbers int64 of the batch's users and of its items, repetitions allowed.

    Returns:
        0-d.
    """
    sides = []
    for one, other, chosen in zip(first, second, nodes, strict=True):
        distinct = torch.unique(chosen)
        sides.append(loss(one[distinct], other[distinct]))
    return sides[0] + sides[1]


def all_node_contrast(loss: InfoNCEAllNodes, query: Sides, key: Sides, nodes: Sides) -> Sides:
    """`loss` of the distinct nodes of a batch in one view against all nodes of the other.

    Arguments as of `batch_contrast`; the two sides are returned apart: 0-d and 0-d.
    """
    sides = []
    for anchors, candidates, chosen in zip(query, key, nodes, strict=True):
        distinct = torch.unique(chosen)
        sides.append(loss(anchors[distinct], candidates, distinct))
    return sides[0], sides[1]
