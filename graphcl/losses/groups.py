"""Labels as groups of rows: compact ids, sizes, sums."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_tensor


class Groups(NamedTuple):
    """`ids` (N,) int64 in 0 .. G - 1 and `sizes` (G,) int64."""

    ids: Tensor
    sizes: Tensor

    def sums(self, rows: Tensor) -> Tensor:
        """(G, d) sum of the rows (N, d) of every group."""
        zeros = rows.new_zeros(self.sizes.numel(), rows.shape[1])
        return zeros.index_add(0, self.ids, rows)


def group_labels(name: str, labels: Tensor, count: int) -> Groups:
    """Groups of equal labels (count,); every negative label is a group of its own."""
    check_tensor(name, labels)
    if tuple(labels.shape) != (count,):
        raise ArgumentError(f"{name} must have shape ({count},); got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ArgumentError(f"{name} must be of integer dtype; got {labels.dtype}")
    labels = labels.long()
    if count and int(labels.min()) < 0:
        alone = labels.max() + 1 + torch.arange(count, device=labels.device)
        labels = torch.where(labels < 0, alone, labels)
    _, ids, sizes = labels.unique(return_inverse=True, return_counts=True)
    return Groups(ids, sizes)
