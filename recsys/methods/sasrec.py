"""SASRec: self-attentive sequential recommendation, trained with the full softmax.

Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).

The encoder is the paper's causal transformer. The objective is the cross-entropy over all items
at every position,

    total = cross_entropy = mean over (user, t) of  -log softmax_i(<h_t, v_i>) at i = s_{t+1},

with the item embeddings v tied between input and output, or (`loss`) its estimate by sampled
negatives, gBCE, or the paper's binary cross-entropy (`loss: bce`, `negatives: 1`).

Deviations: the paper scores one sampled negative a step with a binary cross-entropy. The full
softmax reaches a far higher accuracy with the same model (Klenitskiy & Vasilev, RecSys 2023,
arXiv 2309.07602), so comparing a contrastive method with the sampled one would flatter the
method. Histories longer than `max_length` are trained in several windows, so that no target is
lost; the authors' code keeps the latest items only. `recsys.encoders.SASRecEncoder` lists how
the encoder differs; `encoder: ligr` gives it gated layers.

Cost of an epoch over N interactions: O(N d (d + L + num_items)) time, with num_items replaced by
`negatives` where these are sampled. Padding is removed before the scores and the scores are taken
tile by tile, so no (tokens x items) matrix is ever held.
"""

from __future__ import annotations

from typing import Literal

from graphcl.config import tunable
from recsys.methods.sequential import SequentialRecommender, TransformerConfig


class SASRecConfig(TransformerConfig):
    """Settings of SASRec."""

    encoder: Literal["sasrec", "ligr"] = tunable("sasrec", choices=["sasrec", "ligr"])


class SASRec(SequentialRecommender):
    """A causal transformer over histories, full cross-entropy everywhere (Kang & McAuley 2018)."""

    Config = SASRecConfig
