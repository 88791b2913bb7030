"""What a task is: the only thing the command line and the training loop know of evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import ConfigError, NonFiniteError, SealedError, unknown_name
from graphcl.methods.contract import Method


class Sealed:
    """Holds the test split and gives it out once.

    Nothing can be chosen by the test split when it can be read only at the end.
    """

    def __init__(self, content: Any) -> None:
        self._content = content
        self._opened = False

    def open(self) -> Any:
        """The content.

        Raises:
            SealedError: it was opened before.
        """
        if self._opened:
            raise SealedError("the test split of this run was already opened; it opens once")
        self._opened = True
        return self._content

    def opened(self) -> Any:
        """The content again, for a report on what was already measured.

        Raises:
            SealedError: it was not opened yet.
        """
        if not self._opened:
            raise SealedError("the test split of this run is still sealed; test() opens it")
        return self._content


@dataclass(frozen=True)
class Split:
    """A data set under a protocol: what may be trained on, chosen by, and tested on."""

    train: Any
    """All that a method sees; it is moved to a GPU by its method `to`, if it has one."""
    validation: Any
    """What `Task.validate` compares with; None where the protocol has no validation part."""
    test: Sealed
    dataset: dict[str, Any]
    """Name, content hash and statistics, for `result.json`."""
    protocol: dict[str, Any]
    """The protocol's name and every choice that changes the number, for `result.json`."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the task itself needs to keep (labels of the training nodes, titles)."""


@dataclass(frozen=True)
class VectorTable:
    """Vectors under the ids that their owner knows."""

    ids: np.ndarray
    """(n,) integers or text, as the data set has them."""
    vectors: np.ndarray
    """(n, d) floating."""
    meaning: str
    """What the vectors are good for, a sentence or two for the model card."""
    titles: np.ndarray | None = None
    """(n,) text."""
    search: Literal["inner product", "cosine"] | None = None
    """How an index for nearest neighbours should compare these vectors; None makes no index."""


class Task:
    """Base of all tasks. Metrics are fractions in [0, 1], higher is better."""

    name: ClassVar[str]
    metric: ClassVar[str]
    """The metric that validation selects on."""
    headline: ClassVar[tuple[str, ...]] = ()
    """The metrics that tables show, in their order; () shows all. `result.json` holds all."""
    protocols: ClassVar[dict[str, str]]
    """Protocol name -> what it fixes, one sentence; the first is the default."""
    reads_tables: ClassVar[bool] = False
    """Whether `load` takes `columns`, the names of the columns of a table of one's own."""
    baselines: ClassVar[tuple[str, ...]] = ()
    """Methods run beside every method of this task."""

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read `dataset` (a name or a path) and split it by `protocol` and `seed`."""
        raise NotImplementedError(f"{type(self).__name__} does not define load()")

    def training_data(self, method_class: type[Method], split: Split) -> Any:
        """What a method of `method_class` is made with and sees: `split.train`."""
        return split.train

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Metrics on the validation part; called often."""
        raise NotImplementedError(f"{type(self).__name__} does not define validate()")

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """Metrics on the test part; opens it, so it works once per split."""
        raise NotImplementedError(f"{type(self).__name__} does not define test()")

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Arrays that a report draws: `embedding` (n, d), `colour` (n,), `colour_name`.

        `graphcl.evaluate.snapshot` lists what more there may be. Called after `test`, so that
        it may colour by what the test split holds.
        """
        return {}

    def tables(self, method: Method, split: Split) -> dict[str, VectorTable]:
        """What `graphcl export` writes: name ("nodes", "users", "items") -> vectors with ids."""
        return {}

    def recommendations(self, method: Method, split: Split) -> Any:
        """Lists of items for users, newcomers and items: `recsys.recommend.Recommendations`.

        Raises:
            ConfigError: the task has no users and items.
        """
        raise ConfigError(
            f"a run of the task '{self.name}' has no users and items to recommend from; "
            "give a run of a recommender, such as lightgcn or sasrec"
        )

    def default_protocol(self, dataset: str) -> str:
        """The protocol of `dataset` where none is asked for: the first, if a task knows no more."""
        return next(iter(self.protocols))

    def resolve_protocol(self, protocol: str | None, dataset: str) -> str:
        """`protocol` if this task has it, the default of `dataset` for None.

        Raises:
            UnknownNameError: this task has no such protocol.
        """
        if protocol is None:
            return self.default_protocol(dataset)
        if protocol not in self.protocols:
            raise unknown_name(f"{self.name} protocol", protocol, self.protocols)
        return protocol


def finite_embedding(method: Method, data: Any) -> Tensor:
    """`method.embed(data)`.

    Raises:
        NonFiniteError: it holds NaN or infinity, so there is nothing to measure.
    """
    embedding = method.embed(data)
    if not bool(torch.isfinite(embedding).all()):
        raise NonFiniteError("the embeddings are not finite; a smaller learning rate may help")
    return embedding
