"""A trained GCN as a function of x and edge_index alone, for `torch.export`.

The same numbers as on the library's own sparse product, by gathering and adding rows: slower,
but made of plain tensor operations that every runtime has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graphcl.encoders import GCN
from graphcl.methods.contract import PortableEncoder
from graphcl.methods.features import FeatureScaling, scale_features


class PortableGCN(nn.Module):
    """Features and edges -> embeddings, as `graphcl.encoders.GCN` in evaluation mode.

    Args:
        encoder: the trained encoder; its parameters are shared, not copied.
        scaling: what every node's features are divided by, as for
            `graphcl.methods.features.scale_features`.
        edges: whether edges are used at all; without them the encoder is an MLP.
        smoothing: the embedding H becomes H + A_hat^n H for n steps above 0, as in GGD.
    """

    def __init__(
        self, encoder: GCN, *, scaling: FeatureScaling, edges: bool = True, smoothing: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.scaling: FeatureScaling = scaling
        self.edges = edges
        self.smoothing = smoothing

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """(N, F) floating and (2, E) integers, both directions of every edge -> (N, d)."""
        x = scale_features(x, self.scaling)
        graph = _Propagation(x, edge_index if self.edges else edge_index[:, :0])
        hidden = x
        for layer, (weight, activation) in enumerate(
            zip(self.encoder.weights, self.encoder.activations, strict=True)
        ):
            # Propagated where the rows are shorter, as `GCN` does.
            if weight.shape[0] < weight.shape[1]:
                hidden = graph.matmul(hidden) @ weight
            else:
                hidden = graph.matmul(hidden @ weight)
            if len(self.encoder.biases) > 0:
                hidden = hidden + self.encoder.biases[layer]
            if len(self.encoder.norms) > 0:
                hidden = self.encoder.norms[layer](hidden)
            hidden = activation(hidden)
        if self.smoothing == 0:
            return hidden
        smooth = hidden
        for _ in range(self.smoothing):
            smooth = graph.matmul(smooth)
        return hidden + smooth


class _Propagation:
    """A_hat = D^-1/2 (A + I) D^-1/2 by edges; existing self loops keep their weight of one."""

    def __init__(self, x: Tensor, edge_index: Tensor) -> None:
        self.source, self.target = edge_index[0], edge_index[1]
        ones = torch.ones_like(self.source, dtype=x.dtype)
        nothing = x.new_zeros(x.shape[0])
        looped = nothing.index_add(0, self.target, ones * (self.source == self.target))
        self.loop = (looped == 0).to(x.dtype)
        degree = nothing.index_add(0, self.target, ones) + self.loop
        self.scale = degree.rsqrt()[:, None]

    def matmul(self, dense: Tensor) -> Tensor:
        scaled = dense * self.scale
        gathered = scaled * self.loop[:, None]
        return gathered.index_add(0, self.target, scaled[self.source]) * self.scale


def portable_gcn(
    encoder: GCN, data: Any, *, scaling: FeatureScaling, edges: bool = True, smoothing: int = 0
) -> PortableEncoder:
    """`PortableGCN` of a method's encoder for graphs with features like those of `data`."""
    # Made up: `torch.export` stores its example, and the data may not be passed on.
    example = {
        "x": data.x.new_ones(3, data.x.shape[1]),
        "edge_index": data.edge_index.new_tensor([[0, 1], [1, 0]]),
    }
    return PortableEncoder(
        PortableGCN(encoder, scaling=scaling, edges=edges, smoothing=smoothing),
        example,
        {"x": {0: ("nodes", None)}, "edge_index": {1: ("edges", None)}},
        f"x float32 (nodes, {data.x.shape[1]}), the features as the data set has them, and "
        "edge_index int64 (2, edges) with both directions of every edge; returns embeddings "
        "(nodes, d)" + ("" if edges else "; the edges have no effect"),
    )
