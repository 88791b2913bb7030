"""What a backend is given: one validated problem in its accumulation dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from graphcl.kernels.contrast.exclusion import Exclusion

BlockWeight = Callable[[slice, slice], Tensor]
"""Log-weights (h, w), without gradient, of the pairs of a slice of rows and of columns."""


@dataclass(frozen=True)
class Problem:
    r"""Row and column log-sum-exp of s_ij = scale <q_i, k_j>.

    .. math::
        rows_i = \log \sum_{j : (i,j) \notin row\_excluded} e^{s_{ij} + key\_bias_j}
        \qquad
        columns_j = \log \sum_{i : (i,j) \notin column\_excluded} e^{s_{ij} + query\_bias_i}

    `query` is (M, d); `key` is (N, d), or None when it is `query` itself. The
    second sum is wanted only when `columns` is True. `scale` is a 0-d tensor.
    All tensors share one dtype, float32 or float64, and one device.
    Both exclusions are in (row, column) coordinates of s. `block_weight`, if
    given, is added to s without gradient; only the backends in
    `backends.WITH_BLOCKS` know it, and never together with `columns`.
    `precision` says how exact the products of float32 embeddings must be, as in
    `torch.set_float32_matmul_precision`: "high" allows three products of bfloat16
    roundings for each, "medium" one.
    """

    query: Tensor
    key: Tensor | None
    scale: Tensor
    query_bias: Tensor | None
    key_bias: Tensor | None
    row_excluded: Exclusion
    column_excluded: Exclusion
    columns: bool
    block_weight: BlockWeight | None = None
    precision: str = "highest"

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N)."""
        key = self.query if self.key is None else self.key
        return self.query.shape[0], key.shape[0]

    def mirrored_exclusion(self) -> Exclusion:
        """The exclusion of the column sums; a symmetric s leaves out what the rows do, mirrored."""
        return self.row_excluded.transposed() if self.key is None else self.column_excluded
