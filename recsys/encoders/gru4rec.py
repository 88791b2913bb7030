"""The GRU4Rec encoder: a recurrent network over item sequences.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016
(arXiv 1511.06939).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys.encoders.contract import SequenceEncoder, check_sizes
from recsys.encoders.dropout import Dropout


class GRU4RecEncoder(SequenceEncoder):
    """Item sequences -> one hidden state per position, each having read its past.

    Deviations from the authors' code: items are embedded instead of one-hot, histories are
    rows of a batch instead of streams in session-parallel order, and a linear map takes the
    state back to the width of the items, so that the output is tied to them. As the field's
    sequence papers do (for instance ICSRec's GRU variant).

    Cost: O(B L (d h + h^2)) per layer, one position after the other.

    Args:
        num_items: items are 0 .. num_items - 1; `padding_id` equals `num_items`.
        dimension: width d of item embeddings and hidden states.
        hidden: width h of the recurrent state; None is 2 d.
        layers: number of recurrent layers.
        max_length: longest sequence; None for any.
        dropout: rate on the embedding and on the output.
        tokens: further ids after the padding, such as a mask (`mask_id`).

    Raises:
        ArgumentError: a size is below 1.
    """

    def __init__(
        self,
        num_items: int,
        dimension: int = 64,
        *,
        hidden: int | None = None,
        layers: int = 1,
        max_length: int | None = None,
        dropout: float = 0.2,
        tokens: int = 0,
    ) -> None:
        super().__init__(num_items, dimension, max_length, tokens)
        width = 2 * dimension if hidden is None else hidden
        check_sizes({"hidden": width, "layers": layers})
        self.dropout = Dropout(dropout)
        self.recurrent = nn.GRU(dimension, width, num_layers=layers, batch_first=True)
        self.output = nn.Linear(width, dimension)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Item embeddings from N(0, 0.02^2), matrices Xavier-uniform, biases 0."""
        nn.init.normal_(self.items.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[self.padding_id].zero_()
        for name, parameter in (
            *self.recurrent.named_parameters(),
            *self.output.named_parameters(),
        ):
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)

    def forward(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Hidden states (B, L, d) of `items` (B, L) integers; zero at padding.

        `vectors` are the embeddings (B, L, d) of `items` where the caller has looked them up.

        Raises:
            ArgumentError: L exceeds `max_length`, or the shapes disagree.
        """
        real = self.check(items, lengths, vectors)
        if 0 in items.shape:
            return self.items.weight.new_zeros(*items.shape, self.dimension)
        # What follows a row's end is read after all its states are out: it changes none.
        states, _ = self.recurrent(self.dropout(self.items(items) if vectors is None else vectors))
        x: Tensor = self.output(self.dropout(states))
        return x * real.unsqueeze(-1).to(x.dtype)
