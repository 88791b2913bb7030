"""Views of embeddings: pure functions of tensors and a generator, for use before a loss.

`EMBEDDING_VIEWS` names those that turn rows into rows: `view(z, strength, generator=...)`,
where strength 0 is the identity. The others describe extra candidates as
`Mixtures`, whose cosines are joined to a loss's denominator: `mix_hard_negatives` (MoCHi),
`mix_label_positives` and `mix_label_negatives` (SupReMix).
"""

from collections.abc import Callable
from typing import Any

from graphcl.views.embedding.feature_transformation import (
    extrapolate_positives,
    extrapolated_cosine,
    interpolate_negatives,
)
from graphcl.views.embedding.mixtures import Mixtures
from graphcl.views.embedding.mixup import Mixup, mixup
from graphcl.views.embedding.mochi import mix_hard_negatives
from graphcl.views.embedding.noise import gaussian_noise, signed_noise
from graphcl.views.embedding.supremix import mix_label_negatives, mix_label_positives

EMBEDDING_VIEWS: dict[str, Callable[..., Any]] = {
    "extrapolate_positives": extrapolate_positives,
    "gaussian_noise": gaussian_noise,
    "interpolate_negatives": interpolate_negatives,
    "mixup": mixup,
    "signed_noise": signed_noise,
}

__all__ = [
    "EMBEDDING_VIEWS",
    "Mixtures",
    "Mixup",
    "extrapolate_positives",
    "extrapolated_cosine",
    "gaussian_noise",
    "interpolate_negatives",
    "mix_hard_negatives",
    "mix_label_negatives",
    "mix_label_positives",
    "mixup",
    "signed_noise",
]
