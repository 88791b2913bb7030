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
