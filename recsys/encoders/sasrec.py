"""The SASRec encoder: a causal transformer over item sequences.

Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphcl.errors import ArgumentError
from recsys.encoders.contract import SequenceEncoder, check_sizes
from recsys.encoders.dropout import Dropout

Norm = Literal["pre", "post"]
Activation = Literal["relu", "gelu"]


class SASRecEncoder(SequenceEncoder):
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
        activation: "relu", as in the paper, or "gelu", of the feed-forward layers.
        gated: LiGR's layers: each sub-layer's output is multiplied by sigmoid(W x), x the
            input of the residual sum, and the feed-forward layer is a SwiGLU (Borisyuk et al.
            2025, arXiv 2502.03417); `norm` must be "pre" and `activation` has no effect.
        causal: whether a position sees its past only; False sees the whole sequence, as
            BERT4Rec does (Sun et al. 2019, arXiv 1904.06690).
        tokens: further ids after the padding, such as a mask (`mask_id`).

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
        activation: Activation = "relu",
        gated: bool = False,
        causal: bool = True,
        tokens: int = 0,
    ) -> None:
        super().__init__(num_items, dimension, max_length, tokens)
        width = dimension if feed_forward is None else feed_forward
        check_sizes({"layers": layers, "heads": heads, "feed_forward": width})
        if dimension % heads:
            raise ArgumentError(
                f"heads must divide dimension (got heads={heads}, dimension={dimension})"
            )
        if norm not in ("pre", "post"):
            raise ArgumentError(f"norm must be 'pre' or 'post' (got '{norm}')")
        if activation not in ("relu", "gelu"):
            raise ArgumentError(f"activation must be 'relu' or 'gelu' (got '{activation}')")
        if gated and norm != "pre":
            raise ArgumentError(
                f"gated layers (ligr) need norm 'pre' (got '{norm}'); give norm=pre"
            )
        self.norm = norm
        self.causal = causal
        self.positions = nn.Parameter(torch.empty(max_length, dimension))
        self.edge_norm = nn.LayerNorm(dimension)
        """On the output for pre-norm, on the embedding for post-norm."""
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            GatedBlock(dimension, heads, width, dropout, attention_dropout)
            if gated
            else Block(dimension, heads, width, dropout, attention_dropout, norm, activation)
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

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Hidden states (B, L, d) of `items` (B, L) integers; zero at padding.

        Entries at positions >= `lengths` (B,) may hold any valid id: nothing depends on
        them. A row of length 0 is all zeros. `vectors` are the embeddings (B, L, d) of `items`
        where the caller has looked them up.

        Raises:
            ArgumentError: L exceeds `max_length`, or the shapes disagree.
        """
        real = self.check(items, lengths, vectors)
        if items.numel() == 0:
            return self.items.weight.new_zeros(*items.shape, self.dimension)
        x = self._blocks(items, vectors, real, self.blocks)
        if self.norm == "pre":
            x = self.edge_norm(x)
        return x * real.unsqueeze(-1).to(x.dtype)

    def last(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """The hidden state (B, d) at the last item of each row; zero for an empty row.

        The last block is worked out at that place only: of the others it needs keys and values.
        """
        real = self.check(items, lengths, vectors)
        if items.numel() == 0:
            return self.items.weight.new_zeros(items.shape[0], self.dimension)
        x = self._blocks(items, vectors, real, self.blocks[:-1])
        final = cast(Block, self.blocks[-1])
        x = final.last(x, (lengths.long() - 1).clamp(min=0))
        if self.norm == "pre":
            x = self.edge_norm(x)
        return x * (lengths > 0).unsqueeze(-1).to(x.dtype)

    def _blocks(
        self, items: Tensor, vectors: Tensor | None, real: Tensor, blocks: nn.ModuleList
    ) -> Tensor:
        """Embedded items (B, L, d) after some blocks; anything at padding."""
        # With right padding the causal order already hides what follows a row's end. Seen from
        # both sides it must be hidden; the first place stays, or an empty row would be NaN.
        visible = None if self.causal else (real | (torch.arange(real.shape[1]) == 0).to(real))
        x = self.items(items) if vectors is None else vectors
        x = x + self.positions[: items.shape[1]]
        if self.norm == "post":
            x = self.edge_norm(x)
        x = self.dropout(x)
        for block in blocks:
            x = block(x, visible)
        return x


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
        activation: Activation,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.pre_norm = norm == "pre"
        self.activation = functional.relu if activation == "relu" else functional.gelu
        # One product for queries, keys and values.
        self.query_key_value = nn.Linear(dimension, 3 * dimension)
        self.output = nn.Linear(dimension, dimension)
        self.expand = nn.Linear(dimension, feed_forward)
        self.contract = nn.Linear(feed_forward, dimension)
        self.attention_norm = nn.LayerNorm(dimension)
        self.feed_forward_norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, L, d) -> (B, L, d); without bool `visible` (B, L) position t sees 0 .. t only."""
        return self._update(x, x, visible)

    def last(self, x: Tensor, places: Tensor) -> Tensor:
        """The output (B, d) at one place of each row of `x` (B, L, d), which sees 0 .. itself.

        That is `forward` at `places` (B,) int64 where nothing real stands behind them.
        """
        rows = torch.arange(x.shape[0], device=x.device)
        visible = torch.arange(x.shape[1], device=x.device) <= places[:, None]
        return self._update(x[rows, places].unsqueeze(1), x, visible).squeeze(1)

    def _update(self, x: Tensor, context: Tensor, visible: Tensor | None) -> Tensor:
        """States `x` (B, Q, d), part of `context` (B, L, d) or all of it, after the block."""
        if self.pre_norm:
            x = x + self.dropout(self._attend(x, context, visible))
            return x + self.dropout(self._feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self._attend(x, context, visible)))
        return self.feed_forward_norm(x + self.dropout(self._feed_forward(x)))

    def _attend(self, x: Tensor, context: Tensor, visible: Tensor | None) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self._projected(x, context)
        )
        rate = self.attention_dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if visible is None else visible[:, None, None],
            dropout_p=rate,
            is_causal=visible is None,
        )
        return self.output(attended.transpose(1, 2).flatten(2))

    def _projected(self, x: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Queries (B, Q, d) of `x`, keys and values (B, L, d) of `context`."""
        whole = x is context
        if self.pre_norm:
            context = self.attention_norm(context)
            x = context if whole else self.attention_norm(x)
        if whole:
            return self.query_key_value(x).chunk(3, dim=2)
        layer, width = self.query_key_value, x.shape[2]
        query = functional.linear(x, layer.weight[:width], layer.bias[:width])
        both = functional.linear(context, layer.weight[width:], layer.bias[width:])
        return query, *both.chunk(2, dim=2)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))


class GatedBlock(Block):
    """A pre-norm block whose sub-layers pass a learned gate; see `gated` of the encoder."""

    def __init__(
        self,
        dimension: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__(dimension, heads, feed_forward, dropout, attention_dropout, "pre", "relu")
        self.attention_gate = nn.Linear(dimension, dimension)
        self.feed_forward_gate = nn.Linear(dimension, dimension)
        self.swish = nn.Linear(dimension, feed_forward)

    def _update(self, x: Tensor, context: Tensor, visible: Tensor | None) -> Tensor:
        gate = torch.sigmoid(self.attention_gate(x))
        x = x + self.dropout(gate * self._attend(x, context, visible))
        seen = self._feed_forward(self.feed_forward_norm(x))
        return x + self.dropout(torch.sigmoid(self.feed_forward_gate(x)) * seen)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.contract(functional.silu(self.swish(x)) * self.expand(x))
