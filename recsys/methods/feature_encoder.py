"""From a feature of users or items to vectors of one width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.spmm import spmm
from recsys.data.features import Feature, Labels


class FeatureEncoder(nn.Module):
    """Numbers by a network of one hidden layer, labels by the mean of their learned vectors.

    Numbers are standardised column by column over the rows of which something is known. A row
    without labels gets zeros.

    Args:
        feature: of n rows.
        dimension: d.
    """

    values: Tensor

    def __init__(self, feature: Feature, dimension: int) -> None:
        super().__init__()
        self.labels = isinstance(feature, Labels)
        if isinstance(feature, Labels):
            self.matrix = feature.matrix().normalised("row")
            self.table = nn.Parameter(torch.empty(len(feature.names), dimension))
            nn.init.normal_(self.table, std=0.1)
            return
        self.register_buffer(
            "values", standardised(feature.values.to(torch.get_default_dtype())), persistent=False
        )
        self.network = nn.Sequential(
            nn.Linear(feature.values.shape[1], dimension),
            nn.LeakyReLU(0.2),
            nn.Linear(dimension, dimension),
        )

    def forward(self) -> Tensor:
        """The vectors of all rows, (n, d)."""
        if self.labels:
            return spmm(self.matrix, self.table)
        vectors: Tensor = self.network(self.values)
        return vectors


def standardised(values: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1 over the rows that are not all zero; those stay zero."""
    known = values.abs().sum(1) > 0
    if not bool(known.any()):
        return values
    rows = values[known]
    spread = rows.std(0, unbiased=False)
    scaled = (values - rows.mean(0)) / spread.where(spread > 0, 1.0)
    return torch.where(known[:, None], scaled, 0.0)
