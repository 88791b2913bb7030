"""Graph convolutional network (Kipf & Welling, ICLR 2017) on the library's own sparse product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphcl.encoders.initialise import initialise
from graphcl.encoders.layers import layer_activations, layer_shapes
from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix, spmm


class Propagation(Protocol):
    """Any matrix that can be multiplied with node features, such as `graphcl.views.LowRank`."""

    def matmul(self, dense: Tensor) -> Tensor:
        """The product with (N, d)."""
        ...


def gcn_matrix(
    edge_index: Tensor,
    num_nodes: int,
    edge_weight: Tensor | None = None,
    *,
    undirected: bool = False,
    dtype: torch.dtype | None = None,
) -> SparseMatrix:
    """A_hat = D^-1/2 (A + I) D^-1/2 with messages from source to target, (N, N).

    D is the degree over incoming edges, self-loops included; existing self-loops keep their
    weight. Equals the matrix that PyG's `GCNConv` uses, for directed graphs too.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        num_nodes: number of nodes.
        edge_weight: (E,) or None for ones; gradients flow through it.
        undirected: promise that every edge occurs in both directions with equal weight; then
            the product needs no transpose, and edges sorted by source are not sorted again.
        dtype: of the values; default the weight's, or torch's default dtype.
    """
    adjacency = SparseMatrix.from_edge_index(
        edge_index, edge_weight, shape=num_nodes, rows="target", symmetric=undirected, dtype=dtype
    )
    return adjacency.normalised("gcn", self_loops=True)


class GCN(nn.Module):
    """Layers H <- act(A_hat H W + b), A_hat = D^-1/2 (A + I) D^-1/2.

    Args:
        in_features: width of x.
        widths: width of every layer, e.g. `[512, 256]`; the last one is the output's.
        activation: "relu", "prelu", "rrelu" (its mean slope), "elu" or "identity".
        last_activation: whether the last layer is followed by the activation too, as in GRACE,
            GCA and CSGCL.
        dropout: probability of zeroing an entry of each layer's input while training.
        bias: whether layers have a bias (initialised to zero).
        normalisation: "batch" or "layer" normalises every layer before its activation (BGRL);
            None does not.
        batch_momentum: weight of the newest batch in the running statistics of "batch".
        generator: source of the Glorot initialisation; None is torch's global one.

    Raises:
        ArgumentError: no widths, a width below one, dropout outside [0, 1), unknown normalisation.
        UnknownNameError: unknown activation.
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        *,
        activation: str = "relu",
        last_activation: bool = True,
        dropout: float = 0.0,
        bias: bool = True,
        normalisation: Literal["batch", "layer"] | None = None,
        batch_momentum: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        shapes = layer_shapes(in_features, widths)
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout must be in [0, 1), got {dropout}")
        self.in_features = in_features
        self.out_features = shapes[-1][1]
        self.dropout = dropout
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        self.biases = nn.ParameterList(
            [nn.Parameter(torch.zeros(width)) for _, width in shapes] if bias else []
        )
        if normalisation not in (None, "batch", "layer"):
            raise ArgumentError(
                f"normalisation must be 'batch', 'layer' or None, got {normalisation!r}"
            )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, momentum=batch_momentum)
            if normalisation == "batch"
            else nn.LayerNorm(width)
            for _, width in (shapes if normalisation else ())
        )
        self.activations = layer_activations(activation, len(shapes), last=last_activation)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Glorot-uniform weights and zero biases."""
        for weight in self.weights:
            initialise(weight, nn.init.xavier_uniform_, generator)
        for bias in self.biases:
            nn.init.zeros_(bias)
        norm: Any
        for norm in self.norms:
            norm.reset_parameters()

    def forward(
        self,
        x: Tensor | SparseMatrix,
        graph: Tensor | SparseMatrix | Propagation,
        edge_weight: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Node embeddings, (N, widths[-1]).

        Args:
            x: (N, in_features) floating point; a `SparseMatrix` for bags of words, where the
                first product then costs only the words that are there.
            graph: `edge_index` (2, E), or a propagation matrix as `gcn_matrix` makes it, which
                saves normalising the same graph again and again, or any other `Propagation`.
            edge_weight: (E,), only with `edge_index`.
            generator: source of the dropout masks; None is torch's global one.
        """
        matrix: SparseMatrix | Propagation
        if isinstance(graph, Tensor):
            matrix = gcn_matrix(graph, x.shape[0], edge_weight, dtype=x.dtype)
        else:
            if edge_weight is not None:
                raise ArgumentError("edge_weight goes with edge_index; a matrix has its own")
            matrix = graph
        hidden: Any = x
        for layer, (weight, activation) in enumerate(
            zip(self.weights, self.activations, strict=True)
        ):
            hidden = self._multiply(matrix, hidden, weight, generator)
            if len(self.biases) > 0:
                hidden = hidden + self.biases[layer]
            if len(self.norms) > 0:
                self._check_batch(hidden)
                hidden = self.norms[layer](hidden)
            hidden = activation(hidden)
        return hidden

    def _check_batch(self, hidden: Tensor) -> None:
        if self.training and len(hidden) < 2 and isinstance(self.norms[0], nn.BatchNorm1d):
            raise ArgumentError(
                f"batch normalisation needs at least two nodes in training, got {len(hidden)}"
            )

    def _multiply(
        self,
        matrix: SparseMatrix | Propagation,
        x: Tensor | SparseMatrix,
        weight: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """A X W, in the cheaper order."""
        if isinstance(x, SparseMatrix):
            if self.training and self.dropout > 0:
                # Zeros stay zeros, so dropping stored entries is dropping entries.
                x = x.with_value(self._drop(x.value, generator))
            return _propagate(matrix, spmm(x, weight))
        x = self._drop(x, generator)
        if weight.size(0) < weight.size(1):
            # Multiply where the rows are shorter: A (X W) = (A X) W.
            return _propagate(matrix, x) @ weight
        return _propagate(matrix, x @ weight)

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        if generator is None:
            return functional.dropout(x, self.dropout)
        draw = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device)
        return x * (draw >= self.dropout) / (1 - self.dropout)


def _propagate(matrix: SparseMatrix | Propagation, dense: Tensor) -> Tensor:
    return spmm(matrix, dense) if isinstance(matrix, SparseMatrix) else matrix.matmul(dense)
