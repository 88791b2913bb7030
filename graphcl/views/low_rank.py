"""A global view of a graph: its adjacency reduced to the leading singular triplets."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix
from graphcl.kernels.svd import truncated_svd

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData


@dataclass(frozen=True, eq=False)
class LowRank:
    """U diag(S) V^T of shape (M, N), kept as factors: the M x N matrix is never formed.

    Attributes:
        left: U, (M, rank).
        singular: S, (rank,), largest first.
        right: V, (N, rank).
    """

    left: Tensor
    singular: Tensor
    right: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N)."""
        return self.left.size(0), self.right.size(0)

    @property
    def rank(self) -> int:
        """Number of triplets."""
        return self.singular.numel()

    @property
    def T(self) -> LowRank:
        """The transpose, sharing the factors."""
        return LowRank(self.right, self.singular, self.left)

    def matmul(self, dense: Tensor) -> Tensor:
        """(U diag(S)) (V^T dense): (N, d) -> (M, d) in O(rank (M + N) d); differentiable."""
        if dense.dim() not in (1, 2) or dense.size(0) != self.right.size(0):
            raise ArgumentError(
                f"dense must have shape ({self.right.size(0)}, d) for a view of shape "
                f"{self.shape}, got {tuple(dense.shape)}"
            )
        return (self.left * self.singular) @ (self.right.T @ dense)

    def __matmul__(self, dense: Tensor) -> Tensor:
        return self.matmul(dense)

    def to(self, *arguments: Any, **settings: Any) -> LowRank:
        """As `Tensor.to`, for every factor."""
        return LowRank(
            self.left.to(*arguments, **settings),
            self.singular.to(*arguments, **settings),
            self.right.to(*arguments, **settings),
        )


def low_rank_view(
    matrix: SparseMatrix,
    rank: int,
    *,
    method: Literal["krylov", "power"] = "krylov",
    iterations: int | None = None,
    generator: torch.Generator | None = None,
) -> LowRank:
    """The best approximation of `matrix` with `rank` singular triplets (Cai et al., ICLR 2023).

    LightGCL takes the normalised user-item matrix R_ui / sqrt(d_u d_i), which is
    `matrix.normalised("symmetric")`. `method="power"` is the less accurate decomposition behind
    its published numbers. Arguments and errors: `graphcl.kernels.svd.truncated_svd`.
    """
    factors = truncated_svd(matrix, rank, method=method, iterations=iterations, generator=generator)
    return LowRank(*factors)


class LowRankView(BaseTransform):
    r"""Store the graph's leading singular triplets as a smooth global view of it.

    The adjacency, scaled to A_uv / sqrt(d_u d_v), is replaced by its best approximation of the
    given rank, U diag(S) V^T. LightGCL, Cai et al., ICLR 2023, section 3.2. The result is kept
    factored on `data.low_rank` (for a HeteroData, on the edge type); `data.low_rank.matmul(x)`
    propagates through it. The edges themselves stay as they are.

    Shapes: `edge_index` (2, E) with sources in [0, M) and targets in [0, N) -> `LowRank` of shape
    (M, N); M = N for a Data.

    Args:
        rank: number of triplets, at most min(M, N).
        edge_type: for a HeteroData with several edge types.
        method: "krylov" (accurate) or "power" (as LightGCL's published numbers).
        iterations: of the decomposition; None is the method's default.
        generator: source of the random start; None is torch's global one.

    Raises:
        ArgumentError: rank no integer in [1, min(M, N)]; neither a Data nor a HeteroData; several
            edge types and none named, or one named that is not there.

    Example:
        >>> view = LowRankView(5, generator=torch.Generator().manual_seed(0))(data)
        >>> smooth = view.low_rank.matmul(view.x)
    """

    def __init__(
        self,
        rank: int,
        *,
        edge_type: tuple[str, str, str] | None = None,
        method: Literal["krylov", "power"] = "krylov",
        iterations: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise ArgumentError(f"rank must be an integer of at least 1, got {rank!r}")
        self.rank = rank
        self.edge_type = edge_type
        self.method: Literal["krylov", "power"] = method
        self.iterations = iterations
        self.generator = generator

    def forward(self, data: Data | HeteroData) -> Data | HeteroData:
        """A shallow copy of `data` with the factors; `data` itself is not changed."""
        from torch_geometric.data import Data, HeteroData

        if not isinstance(data, Data | HeteroData):
            raise ArgumentError(
                f"this view takes a torch_geometric Data or HeteroData, got {type(data).__name__}"
            )
        result = copy.copy(data)
        store = self._store(result)
        edge_index = getattr(store, "edge_index", None)
        if edge_index is None:
            raise ArgumentError("this view needs edge_index, which is missing")
        size = store.size()
        if size[0] is None or size[1] is None:
            raise ArgumentError("the number of nodes is unknown; set num_nodes")
        weight = getattr(store, "edge_weight", None)
        matrix = SparseMatrix.from_edge_index(edge_index, weight, shape=(size[0], size[1]))
        store.low_rank = low_rank_view(
            matrix.normalised("symmetric"),
            self.rank,
            method=self.method,
            iterations=self.iterations,
            generator=self.generator,
        )
        return result

    def _store(self, data: Any) -> Any:
        stores = data.edge_stores
        if self.edge_type is not None:
            known = getattr(data, "edge_types", [])
            if self.edge_type not in known:
                raise ArgumentError(
                    f"edge_type must be one of the graph's ({known}), got {self.edge_type}"
                )
            return data[self.edge_type]
        if len(stores) != 1:
            raise ArgumentError(f"name one edge_type, got a graph with {len(stores)} edge types")
        return stores[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rank})"
