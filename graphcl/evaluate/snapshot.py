"""What a report draws of a method: the arrays of `snapshot.npz` that tasks fill alike.

embedding (n, d), colour (n,), colour_name    the embedding map
spectrum (at most d,)                         singular values of the centred embedding
alignment, uniformity (0-d), positives        one point of the alignment/uniformity plane,
                                              and what its positive pairs are
histogram/TITLE/SERIES (any,)                 how the method draws its views
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphcl.diagnostics import alignment, uniformity
from graphcl.evaluate.contract import finite_embedding
from graphcl.methods.contract import Method

LARGEST_SNAPSHOT = 3000
"""Points of the map, and rows whose pairs the uniformity is a mean over."""
WIDEST_SPECTRUM = 2048
MOST_VALUES = 10_000
"""Values of one histogram that are stored."""
VIEW_RATE = 0.2
"""Share of edges dropped and of features masked in the views that alignment compares."""


def graph_snapshot(
    method: Method, data: Any, colour: Tensor, colour_name: str
) -> dict[str, np.ndarray]:
    """All arrays of a method on one graph; every method is looked at in the same way.

    Args:
        method: trained, in evaluation mode.
        data: the PyG `Data` or `HeteroData` that it was trained on.
        colour: (N,) class or number of every node.
        colour_name: what it is.
    """
    embedding = finite_embedding(method, data)
    chosen = evenly(len(embedding), LARGEST_SNAPSHOT).to(embedding.device)
    return {
        "embedding": embedding[chosen].numpy(force=True).astype(np.float32),
        "colour": colour[chosen.to(colour.device)].numpy(force=True),
        "colour_name": np.array(colour_name),
        **spectrum_array(embedding),
        **plane_arrays(method, data, embedding),
        **histogram_arrays(method),
    }


def plane_arrays(method: Method, data: Any, embedding: Tensor) -> dict[str, np.ndarray]:
    """The point of the alignment/uniformity plane; {} for a heterogeneous graph.

    The views that the methods are compared by drop edges of one kind.
    """
    if not isinstance(data, Data):
        return {}
    share = f"{100 * VIEW_RATE:g} %"
    return {
        "alignment": np.array(view_alignment(method, data)),
        "uniformity": np.array(sampled_uniformity(embedding)),
        "positives": np.array(
            f"the same node in two views, each with {share} of the edges dropped and {share} of "
            "the features masked"
        ),
    }


def spectrum_array(embedding: Tensor) -> dict[str, np.ndarray]:
    """`spectrum`: singular values of (N, d) minus its mean row, largest first.

    {} for an embedding wider than 2048, whose values would cost more than they tell.
    """
    if not 0 < embedding.shape[1] <= WIDEST_SPECTRUM or len(embedding) < 2:
        return {}
    rows = embedding.detach().double()
    rows = rows - rows.mean(dim=0)
    squares = torch.linalg.eigvalsh(rows.T @ rows).flip(0)
    return {"spectrum": squares.clamp(min=0).sqrt()[: len(rows)].numpy(force=True)}


def sampled_uniformity(embedding: Tensor) -> float:
    """Uniformity of at most 3000 rows (N, d), drawn the same way every time; t = 2."""
    generator = torch.Generator().manual_seed(0)
    rows = embedding.detach().float()
    return float(uniformity(rows, sample=LARGEST_SNAPSHOT, generator=generator))


def view_alignment(method: Method, data: Any) -> float:
    """Mean squared distance on the sphere of every node's embeddings in two random views.

    The views are the same for all methods (a fifth of the edges dropped, a fifth of the feature
    columns masked), so that methods with views of their own can be compared, and those without.
    """
    from torch_geometric.transforms import Compose

    from graphcl.views import DropEdges, MaskFeatures

    generator = torch.Generator().manual_seed(0)
    draw = Compose(
        [DropEdges(VIEW_RATE, generator=generator), MaskFeatures(VIEW_RATE, generator=generator)]
    )
    first, second = (finite_embedding(method, draw(data)).detach() for _ in range(2))
    return float(alignment(first, second))


def histogram_arrays(method: Method) -> dict[str, np.ndarray]:
    """`histogram/TITLE/SERIES` for everything in `method.histograms()`, by quantiles if large."""
    arrays = {}
    for title, values in method.histograms().items():
        ordered = values.detach().float().cpu().sort().values
        arrays[f"histogram/{title}"] = ordered[evenly(len(ordered), MOST_VALUES)].numpy()
    return arrays


def evenly(count: int, most: int) -> Tensor:
    """At most `most` indices below `count`, evenly spaced."""
    if count <= most:
        return torch.arange(count)
    return torch.linspace(0, count - 1, most).long()
