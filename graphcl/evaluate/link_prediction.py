"""Link prediction: held-out edges against fixed non-edges.

The held-out edges are gone before anything else happens: communities, views and
training see the remaining graph only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from graphcl.evaluate.contract import Sealed, Split, Task, VectorTable, finite_embedding
from graphcl.evaluate.node_classification import describe_graph, node_table, unlabelled
from graphcl.evaluate.snapshot import graph_snapshot
from graphcl.methods.contract import Method

Decoder = Callable[[Tensor], np.ndarray]

DECODER_NUMBERS = 40_000_000
"""Most numbers in the logistic decoder's training matrix (320 MB)."""


@dataclass(frozen=True)
class EdgeTargets:
    """Edges (2, k) to be told from non-edges (2, k)."""

    positive: Tensor
    negative: Tensor


HITS = (10, 50, 100)
"""K of Hits@K."""

DEGREES = ("low", "middle", "high")
"""Thirds of the held-out edges by the smaller degree of their ends."""


class LinkPrediction(Task):
    """AUC, average precision, Hits@K and AUC by degree of held-out edges, from embeddings."""

    name = "link-prediction"
    metric = "auc"
    headline = ("auc", "average-precision", "hits@50")
    protocols: ClassVar[dict[str, str]] = {
        "link-85-5-10": "random 85 % of the undirected edges to train on, 5 % validation, "
        "10 % test by seed; as many fixed non-edges; decoder and epoch by validation"
    }
    baselines = ("raw-features", "random-encoder")

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read a graph and hold out edges.

        Raises:
            DataError: the graph has too few edges.
        """
        from graphcl.data import content_hash, load_graph, split_edges

        name = self.resolve_protocol(protocol, dataset)
        data = load_graph(dataset, data_root)
        parts = split_edges(data.edge_index, data.num_nodes, seed=seed)
        return Split(
            train=unlabelled(data, parts.train_edge_index),
            validation=EdgeTargets(parts.validation_positive, parts.validation_negative),
            test=Sealed(EdgeTargets(parts.test_positive, parts.test_negative)),
            dataset=describe_graph(dataset, data, content_hash(data)),
            protocol={
                "name": name,
                "split": self.protocols[name],
                "split seed": "the seed of the run",
                "hits": "share of edges that score above all but K - 1 of the fixed non-edges",
                "degrees": "AUC of each third of the edges, by the smaller degree of their ends "
                "in the training graph, against all non-edges",
                "decoders": "dot product, cosine, logistic regression on Hadamard products",
                "edges": [
                    parts.train_edge_index.shape[1] // 2,
                    parts.validation_positive.shape[1],
                    parts.test_positive.shape[1],
                ],
                "selection": "validation auc",
            },
            extra={"seed": seed, "node_ids": data.node_ids},
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """AUC and average precision of the best decoder on the validation edges."""
        return self._best_decoder(finite_embedding(method, split.train), split)[1]

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """All metrics on the test edges, of the decoder that validation chose."""
        decoder, _ = self._best_decoder(finite_embedding(method, split.train), split)
        targets = split.test.open()
        positive, negative = decoder(targets.positive), decoder(targets.negative)
        degree = torch.bincount(split.train.edge_index[0], minlength=split.train.num_nodes)
        smaller = degree[targets.positive].min(dim=0).values.numpy(force=True)
        return {
            **separation(positive, negative),
            **hits(positive, negative),
            **separation_by_degree(positive, negative, smaller),
        }

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Nodes coloured by the logarithm of their degree; see `graphcl.evaluate.snapshot`."""
        degree = torch.bincount(split.train.edge_index[0], minlength=split.train.num_nodes)
        return graph_snapshot(method, split.train, torch.log10(1 + degree), "log10(1 + degree)")

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """The embeddings of all nodes."""
        return node_table(method, split)

    def _best_decoder(self, embeddings: Tensor, split: Split) -> tuple[Decoder, dict[str, float]]:
        z = embeddings.detach()
        candidates = (
            dot_product_decoder(z),
            dot_product_decoder(torch.nn.functional.normalize(z, dim=1)),
            logistic_decoder(z, split.train.edge_index, split.extra["seed"]),
        )
        targets = split.validation
        scored = [
            (decoder, separation(decoder(targets.positive), decoder(targets.negative)))
            for decoder in candidates
        ]
        return max(scored, key=lambda pair: pair[1][self.metric])


def dot_product_decoder(z: Tensor) -> Decoder:
    """Scores a pair by the inner product of its embeddings."""
    return lambda pairs: np.concatenate(
        [(z[u] * z[v]).sum(dim=1).numpy(force=True) for u, v in _chunks(pairs)]
    )


def logistic_decoder(z: Tensor, train_edge_index: Tensor, seed: int) -> Decoder:
    """Logistic regression on z_u * z_v, trained on training edges and random pairs.

    The random pairs are drawn without looking at the held-out edges, which a training
    set cannot know. Very wide embeddings train on a sample of the edges.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = torch.Generator().manual_seed(seed)
    edges = train_edge_index.cpu()
    edges = edges[:, edges[0] < edges[1]]
    most = max(1, DECODER_NUMBERS // (2 * z.shape[1]))
    edges = edges[:, torch.randperm(edges.shape[1], generator=generator)[:most]]
    random_pairs = torch.randint(len(z), edges.shape, generator=generator)
    pairs = torch.cat([edges, random_pairs], dim=1)
    labels = np.repeat([1, 0], edges.shape[1])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    model.fit((z[pairs[0]] * z[pairs[1]]).numpy(force=True), labels)
    return lambda pairs: np.concatenate(
        [model.decision_function((z[u] * z[v]).numpy(force=True)) for u, v in _chunks(pairs)]
    )


def _chunks(pairs: Tensor, size: int = 8192) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(pairs[0].split(size), pairs[1].split(size), strict=True)


def separation(positive: np.ndarray, negative: np.ndarray) -> dict[str, float]:
    """AUC and average precision of the scores of edges (k,) against those of non-edges (m,)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = np.concatenate([positive, negative])
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "average-precision": float(average_precision_score(labels, scores)),
    }


def hits(positive: np.ndarray, negative: np.ndarray) -> dict[str, float]:
    """Hits@K for every K: the share of edges that score above the K-th best non-edge.

    Hu et al. 2020, Open Graph Benchmark, arXiv 2005.00687. An edge that ties with it is no hit.
    With fewer than K non-edges every edge is one.
    """
    ordered = np.sort(negative)[::-1]
    return {
        f"hits@{k}": float(np.mean(positive > ordered[k - 1])) if k <= len(ordered) else 1.0
        for k in HITS
    }


def separation_by_degree(
    positive: np.ndarray, negative: np.ndarray, degree: np.ndarray
) -> dict[str, float]:
    """AUC of each third of the edges by their `degree` (k,), against all non-edges.

    Equal degrees are divided as they come, so that the thirds are equally large. {} for fewer
    edges than thirds.
    """
    if len(positive) < len(DEGREES):
        return {}
    thirds = np.array_split(np.argsort(degree, kind="stable"), len(DEGREES))
    return {
        f"auc-{name}-degree": separation(positive[third], negative)["auc"]
        for name, third in zip(DEGREES, thirds, strict=True)
    }
