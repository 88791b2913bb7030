"""What is known of users or items besides who took what: numbers, or labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from graphcl.kernels.sparse_matrix import SparseMatrix


@dataclass(frozen=True, eq=False)
class Numbers:
    """A vector of numbers for each user or item, such as an image's embedding."""

    values: Tensor
    """float32 (n, width), finite. A row of zeros says that nothing is known."""

    def __post_init__(self) -> None:
        values = self.values
        if values.dim() != 2 or values.dtype != torch.float32:
            raise DataError(
                f"a feature of numbers must be float32 of shape (n, width) "
                f"(got {values.dtype} of shape {tuple(values.shape)})"
            )
        bad = torch.nonzero(~values.isfinite().all(1)).flatten()
        if len(bad):
            raise DataError(f"a feature of numbers must be finite (got others in row {bad[0]})")

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Numbers({len(self)} x {self.values.shape[1]})"

    def take(self, rows: Tensor) -> Numbers:
        """The rows int64 (m,) in that order; -1 is a row of zeros."""
        taken = self.values[rows.clamp(min=0)]
        return Numbers(taken * (rows >= 0)[:, None])

    def to(self, device: torch.device | str) -> Numbers:
        """The same on `device`."""
        return Numbers(self.values.to(device))

    def arrays(self) -> list[np.ndarray]:
        """What the feature is made of, for a digest."""
        return [self.values.cpu().numpy()]


@dataclass(frozen=True, eq=False)
class Labels:
    """Any number of labels for each user or item, such as genres or tags."""

    offsets: Tensor
    """int64 (n + 1,): the labels of row r are `labels[offsets[r]:offsets[r + 1]]`."""
    labels: Tensor
    """int64 (S,): label numbers, no label twice in a row."""
    names: np.ndarray
    """(number of labels,) strings: what the labels are called."""

    @staticmethod
    def from_lists(lists: list[list[str]]) -> Labels:
        """From the names of each row's labels, in any order; repetitions count once."""
        names = sorted({name for row in lists for name in row})
        number = {name: position for position, name in enumerate(names)}
        rows = [sorted({number[name] for name in row}) for row in lists]
        counts = torch.tensor([0, *map(len, rows)], dtype=torch.int64)
        return Labels(
            counts.cumsum(0),
            torch.tensor([label for row in rows for label in row], dtype=torch.int64),
            np.array(names, dtype=np.str_),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"Labels({len(self)} rows, {len(self.names)} labels)"

    def take(self, rows: Tensor) -> Labels:
        """The rows int64 (m,) in that order; -1 has no label. Labels keep their numbers."""
        safe = rows.clamp(min=0)
        counts = self.offsets.diff()[safe] * (rows >= 0)
        starts = self.offsets[:-1][safe]
        zero = self.offsets.new_zeros(1)
        offsets = torch.cat((zero, counts.cumsum(0)))
        owner = torch.arange(len(rows), device=rows.device).repeat_interleave(counts)
        place = torch.arange(len(owner), device=rows.device) - offsets[owner] + starts[owner]
        return Labels(offsets, self.labels[place], self.names)

    def to(self, device: torch.device | str) -> Labels:
        """The same on `device`."""
        return Labels(self.offsets.to(device), self.labels.to(device), self.names)

    def arrays(self) -> list[np.ndarray]:
        """What the feature is made of, for a digest."""
        return [self.offsets.cpu().numpy(), self.labels.cpu().numpy()]

    def matrix(self) -> SparseMatrix:
        """Rows by labels, (n, number of labels), one where a row has a label."""
        values = torch.ones(len(self.labels), device=self.labels.device)
        return SparseMatrix(self.offsets, self.labels, values, (len(self), len(self.names)))


Feature = Numbers | Labels


def describe_features(features: Mapping[str, Feature]) -> dict[str, str]:
    """Size and content of each feature in a few words, for `result.json`."""
    described = {}
    for name, feature in features.items():
        digest = hashlib.sha256()
        for array in feature.arrays():
            digest.update(np.ascontiguousarray(array).tobytes())
        if isinstance(feature, Labels):
            digest.update("\x1f".join(map(str, feature.names.tolist())).encode())
            size = f"{len(feature.names)} labels"
        else:
            size = f"{feature.values.shape[1]} numbers"
        described[name] = f"{size}, sha256 {digest.hexdigest()[:16]}"
    return described
