"""What DGI, MVGRL and GGD share: a graph and its corruption through one GCN layer, and scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.encoders import GCN
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm


def shuffled_rows(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """DGI's corruption: which node's features every node gets, a random permutation (count,)."""
    return torch.randperm(count, generator=generator, device=generator.device).to(device)


def encode_with_corruption(
    encoder: GCN, features: Tensor | SparseMatrix, matrix: SparseMatrix, order: Tensor
) -> tuple[Tensor, Tensor]:
    """Embeddings (N, d) of the graph, and of the graph whose node i has the features of order[i].

    For an encoder of one layer without normalisation. Shuffling rows commutes with the product
    with the weights, P X W = P (X W), so the widest product is computed once for both.
    """
    weight = encoder.weights[0]
    product = spmm(features, weight) if isinstance(features, SparseMatrix) else features @ weight
    real, corrupted = (
        encoder.activations[0](spmm(matrix, rows) + encoder.biases[0])
        for rows in (product, product[order])
    )
    return real, corrupted


class SummaryDiscriminator(nn.Module):
    """The bilinear scores h^T W s + b of nodes (N, d) and one summary (d,)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dimension, dimension))
        self.bias = nn.Parameter(torch.zeros(()))
        # Glorot's bound of a bilinear form with one output, as the authors' nn.Bilinear has it.
        nn.init.xavier_uniform_(self.weight.view(1, dimension, dimension))

    def forward(self, nodes: Tensor, summary: Tensor) -> Tensor:
        """Scores (N,)."""
        # W s first: O(N d) instead of O(N d^2).
        return nodes @ (self.weight @ summary) + self.bias


def summarise(nodes: Tensor) -> Tensor:
    """DGI's summary of a graph: the sigmoid of the mean embedding, (d,)."""
    return torch.sigmoid(nodes.mean(dim=0))
