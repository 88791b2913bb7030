"""Encoders and heads: plain `nn.Module`s and functions on tensors and sparse matrices.

`ENCODERS` names the encoders of node features and a graph that a config can choose from.
"""

from torch import nn

from graphcl.encoders.activations import ACTIVATIONS, make_activation
from graphcl.encoders.direct_predictor import DirectPredictor
from graphcl.encoders.gcn import GCN, gcn_matrix
from graphcl.encoders.heads import ProjectionHead
from graphcl.encoders.lightgcn import bipartite_adjacency, propagate, propagate_layers
from graphcl.encoders.mlp import MLP
from graphcl.encoders.moving_average import MovingAverage
from graphcl.encoders.semantic_attention import SemanticAttention

ENCODERS: dict[str, type[nn.Module]] = {"GCN": GCN, "MLP": MLP}

__all__ = [
    "ACTIVATIONS",
    "ENCODERS",
    "GCN",
    "MLP",
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
