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


def rows_and_sampled_negatives(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Rows, table and targets as `rows_and_table`, uniform shared negatives and their log q."""
    rows, table, target = rows_and_table(count, dimension, generator, dtype)
    negatives = torch.randint(table.shape[0], (7,), generator=generator)
    negatives[-1] = table.shape[0] - 1
    return rows, table, target, negatives, torch.full((7,), 1 / table.shape[0], dtype=dtype).log()


def labelled_views(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two views (2, count, dimension) of the same nodes, and the label (count,) of every node."""
    views = torch.randn((2, count, dimension), generator=generator, dtype=dtype)
    return views, torch.randint(3, (count,), generator=generator)


def two_views_and_clusters(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension), 4 centroids, and the cluster (count,) of every node."""
    centroids = torch.randn((4, dimension), generator=generator, dtype=dtype)
    clusters = torch.randint(4, (count,), generator=generator)
    return *two_views(count, dimension, generator, dtype), centroids, clusters


def several_views(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Three embeddings (3, count, dimension) of the same nodes, as one tensor."""
    return (torch.randn((3, count, dimension), generator=generator, dtype=dtype),)


def views_and_permutations(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Three embeddings (3, count, dimension) of the same nodes, and a permutation for each."""
    orders = [torch.randperm(count, generator=generator) for _ in range(3)]
    return *several_views(count, dimension, generator, dtype), torch.stack(orders)


def two_views_and_groups(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension) of the same nodes, and the group (count,) of each."""
    groups = torch.randint(max(count // 3, 1), (count,), generator=generator)
    return *two_views(count, dimension, generator, dtype), groups


def views_prototypes_codes(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension), 5 prototypes (5, dimension), codes (count, 5) of both."""
    prototypes = torch.randn((5, dimension), generator=generator, dtype=dtype)
    logits = torch.randn((2, count, 5), generator=generator, dtype=dtype)
    return *two_views(count, dimension, generator, dtype), prototypes, *logits.softmax(dim=2)


def views_clusters_prototypes(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Two embeddings (count, dimension), a cluster of each node for both, prototypes of both.

    4 clusters and their (4, dimension) prototypes, in their own view and in the other.
    """
    clusters = torch.randint(4, (2, count), generator=generator)
    prototypes = torch.randn((4, 4, dimension), generator=generator, dtype=dtype)
    return *two_views(count, dimension, generator, dtype), *clusters, *prototypes


def clustered_graph(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Embeddings (count, dimension), clusters (count,), a ring with self-loops, its weights."""
    z = torch.randn((count, dimension), generator=generator, dtype=dtype)
    clusters = torch.randint(max(count // 3, 1), (count,), generator=generator)
    nodes = torch.arange(count)
    following = (nodes + 1) % max(count, 1)
    edges = torch.stack([torch.cat([nodes, nodes]), torch.cat([nodes, following])])
    return z, clusters, edges, torch.rand(2 * count, generator=generator, dtype=dtype)
