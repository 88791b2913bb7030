"""The view that changes nothing: the encoder's dropout is the augmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.views.checks import check_sequences


class DropoutTwice:
    """Leave the sequence as it is; two encodings of it differ by the encoder's dropout.

    The unsupervised view of DuoRec (Qiu et al. 2022, arXiv 2110.05730), after SimCSE. It exists
    so that a method can take "dropout only" where it takes any other view.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns copies.

    Args:
        none.

    Raises:
        ArgumentError: shapes or dtypes are wrong.

    Example:
        >>> items, lengths = DropoutTwice()(torch.tensor([[1, 2]]), torch.tensor([2]))
    """

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same sequences."""
        check_sequences(items, lengths)
        return items.clone(), lengths.long().clone()

    def __repr__(self) -> str:
        return "DropoutTwice()"
