"""Mixtures of two rows as extra candidates of an anchor, without storing them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.pair_logits import pair_products
from graphcl.kernels.row_products import check_columns, row_products
from graphcl.losses.unit_rows import unit_rows

# Squared lengths below this are of opposite rows that cancelled: no direction.
NO_LENGTH = 1e-12


@dataclass(frozen=True)
class Mixtures:
    r"""s mixtures for each of M anchors, as a recipe.

    .. math::
        h_{il} = w_{il} f_{il} + (1 - w_{il}) k_{c(i, l)}, \qquad
        f_{il} = k_{b(i, l)} \text{ or } a_i

    of unit rows. `cosines` gives <q_i, h_il> / |h_il| from inner products of the
    ingredients, so that no (M, s, d) tensor exists; `vectors` makes it where it is wanted.

    Args:
        second: (M, s) int64 row c of the keys, -1 for no mixture.
        weight: (M, s) w, the share of the first ingredient, in [0, 1].
        first: (M, s) int64 row b of the keys, -1 for no mixture; None: the anchor itself.
    """

    second: Tensor
    weight: Tensor
    first: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """(M, s) bool, whether there is a mixture."""
        return self.second >= 0 if self.first is None else (self.second >= 0) & (self.first >= 0)

    def cosines(self, query: Tensor, keys: Tensor, anchor: Tensor | None = None) -> Tensor:
        """Cosines (M, s) of each query with its mixtures, -inf where there is none.

        Gradients reach all three arguments; hand in `keys.detach()` and
        `query.detach()` as anchor for constant mixtures.

        Args:
            query: (M, d), un-normalised.
            keys: (N, d), un-normalised.
            anchor: (M, d) the first ingredient where it is not a key; None: the query.
        """
        q, k, a = self._unit(query, keys, anchor)
        weight = self.weight.to(q.dtype)
        on_second = row_products(q, k, self.second)
        lengths = k.square().sum(dim=1)
        second_length = lengths[self.second.clamp_min(0)]
        if self.first is None:
            on_first = (q * a).sum(dim=1, keepdim=True)
            first_length = a.square().sum(dim=1, keepdim=True)
            across = on_second if anchor is None else row_products(a, k, self.second)
        else:
            on_first = row_products(q, k, self.first)
            first_length = lengths[self.first.clamp_min(0)]
            across = _products(k, self.first, self.second)
        squared = (
            weight.square() * first_length
            + (1 - weight).square() * second_length
            + 2 * weight * (1 - weight) * across
        )
        directed = squared > NO_LENGTH
        cosine = (weight * on_first + (1 - weight) * on_second) * torch.where(
            directed, squared, 1.0
        ).rsqrt()
        cosine = torch.where(directed, cosine, 0.0)
        return cosine.masked_fill(~self.present, -torch.inf)

    def log_sum_exp(
        self,
        query: Tensor,
        keys: Tensor,
        scale: float | Tensor,
        *,
        anchor: Tensor | None = None,
        log_weight: Tensor | None = None,
    ) -> Tensor:
        """(M,) log-sum-exp of scale * cosine + log_weight; -inf, with gradient 0, of nothing.

        `graphcl.kernels.contrast.log_add_exp` joins it to the denominator of the
        real candidates.
        """
        logits = scale * self.cosines(query, keys, anchor)
        if log_weight is not None:
            logits = torch.where(self.present, logits + log_weight, -torch.inf)
        some = (logits > -torch.inf).any(dim=1)
        total = torch.where(some[:, None], logits, 0.0).logsumexp(dim=1)
        return torch.where(some, total, -torch.inf)

    def vectors(self, keys: Tensor, anchor: Tensor | None = None) -> Tensor:
        """The mixtures (M, s, d) as unit vectors, 0 where there is none; for small sizes."""
        if self.first is None and anchor is None:
            raise ArgumentError("mixtures with the anchor need `anchor` (M, d); got None")
        _, k, a = self._unit(keys[:0] if anchor is None else anchor, keys, anchor)
        first = a[:, None] if self.first is None else k[self.first.clamp_min(0)]
        weight = self.weight.to(k.dtype)[:, :, None]
        mixed = weight * first + (1 - weight) * k[self.second.clamp_min(0)]
        unit = unit_rows(mixed.flatten(0, 1)).view(mixed.shape)
        return unit.masked_fill(~self.present[:, :, None], 0.0)

    def labels(self, labels: Tensor) -> Tensor:
        """(M, s) the labels mixed like the rows, for M = N anchors that are the keys; NaN: none."""
        weight = self.weight.to(labels.dtype)
        first = labels[:, None] if self.first is None else labels[self.first.clamp_min(0)]
        mixed = weight * first + (1 - weight) * labels[self.second.clamp_min(0)]
        return mixed.masked_fill(~self.present, torch.nan)

    def _unit(
        self, query: Tensor, keys: Tensor, anchor: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = self.second.shape[0]
        for index in (self.first, self.second):
            if index is not None:
                check_columns("mixtures of keys", index, rows, keys.shape[0])
        q, k = unit_rows(query), unit_rows(keys)
        return q, k, q if anchor is None else unit_rows(anchor)


def _products(keys: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(M, s) products of two listed keys each, of any keys where one is missing."""
    flat = left.clamp_min(0).reshape(-1), right.clamp_min(0).reshape(-1)
    return pair_products(keys, None, *flat, dense=False).view(left.shape)
