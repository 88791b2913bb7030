"""Embeddings to two dimensions for looking at: UMAP where it is installed, else PCA."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_FOR_UMAP = 50
MAXIMUM_POINTS = 3000
_NEIGHBORS = 15


@dataclass(frozen=True)
class Projection:
    """Where the points went, and how."""

    points: NDArray[np.float64]
    """(m, 2)."""
    index: NDArray[np.int64]
    """(m,): which rows of the embedding were drawn, ascending."""
    description: str
    """How the map was made, for its caption: a sentence without the full stop."""


def project(embedding: NDArray[np.float32], most: int = MAXIMUM_POINTS) -> Projection | None:
    """Map (n, d) to (m, 2) with m = min(n, most), the same way every time.

    UMAP (McInnes, Healy and Melville, 2018; cosine distance, 15 neighbours) needs 50 points
    and the package umap-learn; whatever goes wrong there, PCA is drawn and the description
    says so. None where there is nothing to draw: fewer than two points with finite values.
    """
    index = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    if len(index) < 2 or embedding.shape[1] == 0:
        return None
    notes: list[str] = []
    if len(index) < len(embedding):
        notes.append(f"{len(embedding) - len(index)} rows that are not finite left out")
    if len(index) > most:
        notes.append(f"{most:,} of {len(index):,} points, drawn at random")
        chosen = np.random.default_rng(0).choice(len(index), most, replace=False)
        index = index[np.sort(chosen)]
    rows = embedding[index].astype(np.float64)
    if len(rows) < MINIMUM_FOR_UMAP:
        points, how = _pca(rows), "PCA"
    else:
        try:
            points = _umap(rows)
            how = (
                f"UMAP (cosine distance, {_NEIGHBORS} neighbours, fixed seed; "
                "distances between far groups mean little)"
            )
        except ImportError:
            points, how = _pca(rows), "PCA (umap-learn is not installed)"
        # UMAP sits on numba, whose failures have no common type; a map is worth less than
        # the rest of the page, and the caption names what happened.
        except Exception as error:
            points, how = _pca(rows), f"PCA (UMAP failed with {type(error).__name__})"
    return Projection(points, index, "; ".join([how, *notes]))


def _umap(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        mapper = UMAP(
            n_components=2, n_neighbors=_NEIGHBORS, metric="cosine", random_state=0, n_jobs=1
        )
        points = np.asarray(mapper.fit_transform(rows), dtype=np.float64)
    if points.shape != (len(rows), 2) or not np.isfinite(points).all():
        raise FloatingPointError("UMAP left points without a place")
    return points


def _pca(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.decomposition import PCA

    count = min(2, *rows.shape)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Constant embeddings (a collapsed method) have no variance to divide by.
        warnings.simplefilter("ignore")
        points = PCA(n_components=count, svd_solver="full").fit_transform(rows)
    return np.pad(np.asarray(points, dtype=np.float64), ((0, 0), (0, 2 - count)))
