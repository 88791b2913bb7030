"""Random arguments of the losses' `forward`, for documentation and the contract tests."""

import torch
from torch import Tensor


def two_views(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension) of the same nodes."""
    shape = (count, dimension)
    first = torch.randn(shape, generator=generator, dtype=dtype)
    return first, torch.randn(shape, generator=generator, dtype=dtype)


def scores(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Scores (count,) of positives and (count, dimension) of their negatives."""
    positive = torch.randn(count, generator=generator, dtype=dtype)
    return positive, torch.randn((count, dimension), generator=generator, dtype=dtype)


def rows_and_table(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Rows (count, dimension), a larger table, and each row's place (count,) in it."""
    size = 2 * count + 1
    rows = torch.randn((count, dimension), generator=generator, dtype=dtype)
    table = torch.randn((size, dimension), generator=generator, dtype=dtype)
    return rows, table, torch.randint(size, (count,), generator=generator)


def labelled_views(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two views of every node, (count, 2, dimension), and the label (count,) of every node."""
    views = torch.randn((count, 2, dimension), generator=generator, dtype=dtype)
    return views, torch.randint(3, (count,), generator=generator)


def node_views(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Three views of every node, (count, 3, dimension)."""
    return (torch.randn((count, 3, dimension), generator=generator, dtype=dtype),)


def two_views_and_clusters(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension), 4 centroids, and the cluster (count,) of every node."""
    centroids = torch.randn((4, dimension), generator=generator, dtype=dtype)
    clusters = torch.randint(4, (count,), generator=generator)
    return *two_views(count, dimension, generator, dtype), centroids, clusters
