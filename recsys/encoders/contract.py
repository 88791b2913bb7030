"""What every sequence encoder is: an item table and hidden states for padded sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from recsys.views.checks import check_tensor


def check_sizes(sizes: dict[str, int]) -> None:
    """Refuse a size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name} must be at least 1 (got {size})")


class SequenceEncoder(nn.Module):
    """Base of the encoders. Sequences are padded on the right; only `lengths` tells the padding.

    Args:
        num_items: items are 0 .. num_items - 1, then comes `padding_id`.
        dimension: width d of item embeddings and hidden states.
        max_length: longest sequence, or None for any.
        tokens: further ids after the padding, from `mask_id`, which are inputs but never scored.

    Raises:
        ArgumentError: a size is below 1, or `tokens` below 0.
    """

    def __init__(
        self, num_items: int, dimension: int, max_length: int | None, tokens: int = 0
    ) -> None:
        super().__init__()
        check_sizes({"num_items": num_items, "dimension": dimension})
        check_sizes({} if max_length is None else {"max_length": max_length})
        if tokens < 0:
            raise ArgumentError(f"tokens must be at least 0 (got {tokens})")
        self.num_items = num_items
        self.padding_id = num_items
        self.dimension = dimension
        self.max_length = max_length
        self.tokens = tokens
        self.items = nn.Embedding(num_items + 1 + tokens, dimension, padding_idx=num_items)

    @property
    def mask_id(self) -> int:
        """The number of the first further token, for views that mask.

        Raises:
            ArgumentError: the encoder was made without one.
        """
        if self.tokens < 1:
            raise ArgumentError("a mask needs an encoder with tokens of at least 1 (got 0)")
        return self.num_items + 1

    @property
    def item_table(self) -> Tensor:
        """Item embeddings (num_items, d) without padding and tokens, for the tied output."""
        return self.items.weight[: self.num_items]

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Hidden states (B, L, d) of `items` (B, L) integers; zero at padding.

        Entries at positions >= `lengths` (B,) may hold any valid id: nothing depends on
        them. A row of length 0 is all zeros. `vectors` are the embeddings (B, L, d) of `items`
        where the caller has looked them up.

        Raises:
            ArgumentError: L exceeds `max_length`, or the shapes disagree.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """The hidden state (B, d) at the last item of each row; zero for an empty row.

        Raises:
            ArgumentError: as `forward`.
        """
        hidden: Tensor = self(items, lengths, vectors)
        if items.shape[1] == 0:
            return hidden.new_zeros(items.shape[0], self.dimension)
        # Not len(items), which torch.export would take for a constant.
        rows = torch.arange(items.shape[0], device=items.device)
        return hidden[rows, (lengths.long() - 1).clamp(min=0)]

    def check(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """bool (B, L): True at items.

        Raises:
            ArgumentError: L exceeds `max_length`, or the shapes disagree.
        """
        if items.dim() != 2 or lengths.shape != items.shape[:1]:
            raise ArgumentError(
                "items must be (B, L) and lengths (B,) "
                f"(got {tuple(items.shape)} and {tuple(lengths.shape)})"
            )
        if vectors is not None:
            self._check_vectors(vectors, (*items.shape, self.dimension))
        length = items.shape[1]
        if self.max_length is not None and length > self.max_length:
            raise ArgumentError(
                f"sequences may have at most max_length={self.max_length} items (got {length})"
            )
        return torch.arange(length, device=items.device) < lengths[:, None]

    def _check_vectors(self, vectors: Tensor, shape: tuple[int, ...]) -> None:
        check_tensor("vectors", vectors)
        if vectors.shape != shape or vectors.dtype != self.items.weight.dtype:
            raise ArgumentError(
                f"vectors must be {shape} of {self.items.weight.dtype}, one for each of the items "
                f"(got {tuple(vectors.shape)} of {vectors.dtype})"
            )
