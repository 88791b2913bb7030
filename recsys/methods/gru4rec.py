"""GRU4Rec: a recurrent network over histories, trained on every position.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016
(arXiv 1511.06939); the cross-entropy objective is that of Hidasi & Karatzoglou, CIKM 2018
(arXiv 1706.03847).

    h_t = W GRU(v_{s_1}, ..., v_{s_t}),    total = mean over (user, t) of  L(<h_t, v_i>, s_{t+1})

with L the full softmax by default and `loss` for the sampled ones (`bpr` is the 2016 paper's).

Deviations: histories are rows of a batch and not streams in session-parallel order; item
embeddings are learned and tied between input and output; negatives are uniform and not the other
targets of the batch; Adam instead of Adagrad.

Cost of an epoch over N interactions: O(N (d h + h^2 + d num_items)) time with state width h; the
positions of a batch follow one another.
"""

from __future__ import annotations

from graphcl.config import tunable
from recsys.encoders.contract import SequenceEncoder
from recsys.encoders.gru4rec import GRU4RecEncoder
from recsys.methods.sequential import SequentialConfig, SequentialRecommender


class GRU4RecConfig(SequentialConfig):
    """Settings of GRU4Rec."""

    layers: int = tunable(1, choices=[1, 2], ge=1)
    hidden: int | None = None
    """Width of the recurrent state; null is twice `dimension`."""


class GRU4Rec(SequentialRecommender):
    """A gated recurrent network over histories (Hidasi et al. 2016)."""

    Config = GRU4RecConfig

    def make_encoder(self) -> SequenceEncoder:
        """The recurrent encoder."""
        config = self.config
        return GRU4RecEncoder(
            self.data.num_items,
            config.dimension,
            hidden=config.hidden,
            layers=config.layers,
            max_length=config.max_length,
            dropout=config.dropout,
        )
