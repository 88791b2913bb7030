"""Encoders and heads: plain `nn.Module`s and functions on tensors and sparse matrices."""

from graphcl.encoders.activations import ACTIVATIONS, make_activation
from graphcl.encoders.direct_predictor import DirectPredictor
from graphcl.encoders.gcn import GCN, gcn_matrix
from graphcl.encoders.heads import ProjectionHead
from graphcl.encoders.lightgcn import bipartite_adjacency, propagate, propagate_layers
from graphcl.encoders.moving_average import MovingAverage
from graphcl.encoders.semantic_attention import SemanticAttention

__all__ = [
    "ACTIVATIONS",
    "GCN",
    "DirectPredictor",
    "MovingAverage",
    "ProjectionHead",
    "SemanticAttention",
    "bipartite_adjacency",
    "gcn_matrix",
    "make_activation",
    "propagate",
    "propagate_layers",
]
