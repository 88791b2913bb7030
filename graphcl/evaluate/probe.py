"""Probes of frozen, L2-normalised embeddings: logistic regression, and nearest neighbours.

Two ways of choosing the regularisation, and never by the test nodes: on a validation
set (`probe_by_validation`), or by cross-validation inside the training nodes where the
protocol has no validation set (`probe_by_cross_validation`, as GRACE does). The number of
neighbours is chosen likewise (`nearest_neighbours_probe`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STRENGTHS = tuple(2.0**power for power in range(-10, 10))
"""Inverse regularisation strengths C tried by cross-validation (GRACE's grid)."""

VALIDATION_STRENGTHS = tuple(10.0**power for power in range(-2, 5))
"""C tried on a validation set; coarser, as one set cannot tell neighbours apart."""


NEIGHBOURS = (1, 3, 5, 10, 20)
"""Numbers of neighbours tried by the k-NN probe."""


def l2_normalise(embeddings: Array) -> Array:
    """Rows scaled to length 1; zero rows stay zero."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1.0)


def probe_by_validation(
    train: Array, train_labels: Array, validation: Array, validation_labels: Array
) -> Any:
    """The multinomial logistic regression whose C is best on the validation nodes.

    Args:
        train, validation: L2-normalised embeddings (n, d), float64.
        train_labels, validation_labels: classes (n,), int.
    """
    from sklearn.linear_model import LogisticRegression

    best, best_accuracy = None, -1.0
    for strength in VALIDATION_STRENGTHS:
        classifier = LogisticRegression(C=strength, max_iter=300)
        with warnings.catch_warnings():
            # A weakly regularised fit may stop at max_iter; validation judges it as it is.
            warnings.simplefilter("ignore")
            classifier.fit(train, train_labels)
        accuracy = float(classifier.score(validation, validation_labels))
        if accuracy > best_accuracy:
            best, best_accuracy = classifier, accuracy
    return best


def probe_by_cross_validation(train: Array, train_labels: Array, folds: int = 5) -> Any:
    """GRACE's probe: one-vs-rest liblinear, C from `STRENGTHS` by stratified cross-validation.

    Zhu et al. 2020 (arXiv 2006.04131), evaluation of the authors' release. There are fewer
    folds where even the largest class has fewer training nodes than that.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    classifier = OneVsRestClassifier(LogisticRegression(solver="liblinear", random_state=0))
    grid = {"estimator__C": list(STRENGTHS)}
    return _search(classifier, grid, train, train_labels, folds)


def nearest_neighbours_probe(
    train: Array,
    train_labels: Array,
    validation: Array | None = None,
    validation_labels: Array | None = None,
    folds: int = 5,
) -> Any:
    """The majority among the nearest training nodes by cosine, their number from `NEIGHBOURS`.

    It has no parameter to fit, so it shows the geometry that a linear probe can mend. The number
    is the smallest of those that are best on the validation nodes, or without any by stratified
    cross-validation inside the training nodes.

    Args:
        train, validation: L2-normalised embeddings (n, d), float64.
        train_labels, validation_labels: classes (n,), int.
    """
    from sklearn.neighbors import KNeighborsClassifier

    # On unit vectors the nearest by Euclid's distance are the nearest by cosine.
    # Half of the nodes are there in the smallest training part of a cross-validation.
    counts = [count for count in NEIGHBOURS if count <= max(1, len(train) // 2)]
    classifier = KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    if validation is None:
        return _search(classifier, {"n_neighbors": counts}, train, train_labels, folds)
    classifier.fit(train, train_labels)
    scores = [
        classifier.set_params(n_neighbors=count).score(validation, validation_labels)
        for count in counts
    ]
    return classifier.set_params(n_neighbors=counts[int(np.argmax(scores))])


def _search(
    classifier: Any, grid: dict[str, list[Any]], train: Array, labels: Array, folds: int
) -> Any:
    from sklearn.model_selection import GridSearchCV

    folds = min(folds, int(np.unique(labels, return_counts=True)[1].max()))
    if folds < 2:
        return classifier.fit(train, labels)
    search = GridSearchCV(classifier, grid, cv=folds)
    with warnings.catch_warnings():
        # A class with fewer nodes than folds is missing from some of them.
        warnings.simplefilter("ignore")
        return search.fit(train, labels)


def classification_metrics(labels: Array, predicted: Array) -> dict[str, float]:
    """Accuracy (equal to micro-F1 here) and macro-F1."""
    from sklearn.metrics import f1_score

    return {
        "accuracy": float(np.mean(labels == predicted)),
        "macro-f1": float(f1_score(labels, predicted, average="macro")),
    }
