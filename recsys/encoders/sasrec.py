"""The SASRec encoder: a causal transformer over item sequences.

Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphcl.errors import ArgumentError
from recsys.encoders.dropout import Dropout

Norm = Literal["pre", "post"]


class SASRecEncoder(nn.Module):
    """Item sequences -> one hidden state per position, each seeing only its past.

    Sequences are padded on the RIGHT, so positions count from the first item. The hidden
    state at position t is therefore the same whether the sequence ends there or goes on:
    one pass over a sequence trains on all of its prefixes at once.

    Deviations from the authors' code, which pads on the left and counts positions from
    there: normalisation on queries only becomes the usual pre- or post-norm; the item
    embedding is not multiplied by sqrt(d); attention weights are dropped only when
    `attention_dropout` asks for it, because on CPUs that forbids the fused attention.

    Cost: O(B L d (d + L)) per block.

    Args:
        num_items: items are 0 .. num_items - 1; `padding_id` equals `num_items`.
        dimension: width d of embeddings and hidden states.
        layers: number of transformer blocks.
        heads: attention heads; must divide `dimension`.
        max_length: longest sequence, i.e. rows of the position table.
        dropout: rate after the embedding and after each sub-layer (paper, section III.C).
        attention_dropout: rate on attention weights.
        feed_forward: width of the feed-forward layer; None is `dimension`, as in the paper.
        norm: "pre" normalises each sub-layer's input and the output, "post" normalises
            after each residual sum and after the embedding.

    Raises:
        ArgumentError: a size is below 1, or `heads` does not divide `dimension`.
    """

    def __init__(
        self,
        num_items: int,
        dimension: int = 64,
        *,
        layers: int = 2,
        heads: int = 2,
        max_length: int = 200,
        dropout: float = 0.2,
        attention_dropout: float = 0.0,
        feed_forward: int | None = None,
        norm: Norm = "pre",
    ) -> None:
        super().__init__()
        sizes = {
            "num_items": num_items,
            "dimension": dimension,
            "layers": layers,
            "heads": heads,
            "max_length": max_length,
            "feed_forward": dimension if feed_forward is None else feed_forward,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ArgumentError(f"{name} must be at least 1 (got {size})")
        if dimension % heads:
            raise ArgumentError(
                f"heads must divide dimension (got heads={heads}, dimension={dimension})"
            )
        if norm not in ("pre", "post"):
            raise ArgumentError(f"norm must be 'pre' or 'post' (got '{norm}')")
        self.num_items = num_items
        self.padding_id = num_items
        self.dimension = dimension
        self.max_length = max_length
        self.norm = norm
        self.items = nn.Embedding(num_items + 1, dimension, padding_idx=num_items)
        self.positions = nn.Parameter(torch.empty(max_length, dimension))
        self.edge_norm = nn.LayerNorm(dimension)
        """On the output for pre-norm, on the embedding for post-norm."""
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dimension, heads, sizes["feed_forward"], dropout, attention_dropout, norm)
            for _ in range(layers)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights, embeddings and positions from N(0, 0.02^2), biases 0, scales 1."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        nn.init.normal_(self.positions, std=0.02)
        nn.init.normal_(self.items.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[self.padding_id].zero_()

    @property
    def item_table(self) -> Tensor:
        """Item embeddings (num_items, d) without the padding row, for the tied output."""
        return self.items.weight[: self.num_items]

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states (B, L, d) of `items` (B, L) integers; zero at padding.

        Entries at positions >= `lengths` (B,) may hold any valid id: nothing depends on
        them. A row of length 0 is all zeros.

        Raises:
            ArgumentError: L exceeds `max_length`, or the shapes disagree.
        """
        if items.dim() != 2 or lengths.shape != items.shape[:1]:
            raise ArgumentError(
                "items must be (B, L) and lengths (B,) "
                f"(got {tuple(items.shape)} and {tuple(lengths.shape)})"
            )
        length = items.shape[1]
        if length > self.max_length:
            raise ArgumentError(
                f"sequences may have at most max_length={self.max_length} items (got {length})"
            )
        x = self.items(items) + self.positions[:length]
        if self.norm == "post":
            x = self.edge_norm(x)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        if self.norm == "pre":
            x = self.edge_norm(x)
        real = torch.arange(length, device=items.device) < lengths[:, None]
        return x * real.unsqueeze(-1).to(x.dtype)


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each with a residual sum.

    Takes and returns (B, L, d).
    """

    def __init__(
        self,
        dimension: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.pre_norm = norm == "pre"
        # One product for queries, keys and values.
        self.query_key_value = nn.Linear(dimension, 3 * dimension)
        self.output = nn.Linear(dimension, dimension)
        self.expand = nn.Linear(dimension, feed_forward)
        self.contract = nn.Linear(feed_forward, dimension)
        self.attention_norm = nn.LayerNorm(dimension)
        self.feed_forward_norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, d) -> (B, L, d); position t depends on positions 0 .. t."""
        if self.pre_norm:
            x = x + self.dropout(self._attend(self.attention_norm(x)))
            return x + self.dropout(self._feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self._attend(x)))
        return self.feed_forward_norm(x + self.dropout(self._feed_forward(x)))

    def _attend(self, x: Tensor) -> Tensor:
        batch, length, dimension = x.shape
        mixed = self.query_key_value(x).view(batch, length, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        rate = self.attention_dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=rate, is_causal=True
        )
        return self.output(attended.transpose(1, 2).reshape(batch, length, dimension))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.contract(functional.relu(self.expand(x)))
