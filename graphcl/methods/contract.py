"""What every method is: a `Config`, `loss(batch, generator)` and `embed(data)`.

The training loop and the command line know methods through this class alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from graphcl.config import Config, Count, check_numbers, tunable
from graphcl.kernels.contrast.precision import Precision
from graphcl.methods.sharing import Sharing


class MethodConfig(Config):
    """Settings that every method has; learned methods set their own defaults."""

    goes_with: ClassVar[Mapping[str, str]] = {}
    """Settings that are of no use but with the value of another one that a config was written for:
    where the other is changed on the command line, a config's are left out."""

    epochs: int = tunable(100, low=10, high=2000, log=True, ge=0)
    learning_rate: float = tunable(1e-3, low=1e-4, high=1e-1, log=True, gt=0)
    weight_decay: float = tunable(0.0, choices=[0.0, 1e-5, 1e-4], ge=0)
    evaluate_every: Count = 10
    """Epochs between two looks at the validation split; 0 never looks."""
    patience: Count = 0
    """Evaluations without improvement before training stops; 0 trains all epochs."""
    minimum_epochs: Count = 0
    """Training never stops early before this epoch: contrastive losses help late."""
    precision: Precision = "highest"
    """Of float32 products in training, as in `torch.set_float32_matmul_precision`: three
    products of bfloat16 roundings ("high") or one ("medium") where the processor is faster so.
    In sequence methods only contrasts and the scores of a softmax are rounded, since the products
    of their encoders are too small to gain. Embeddings are computed and evaluated in full
    precision."""

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        for name, value in self:
            check_numbers(name, value)
        return self


@dataclass(frozen=True)
class PortableEncoder:
    """An encoder as a function of tensors alone, which `torch.export` can take elsewhere."""

    module: nn.Module
    """Called with `arguments`, positionally."""
    arguments: dict[str, Tensor]
    """An example of every argument by its name, no varying size 0 or 1. It is stored with the
    exported program, so it holds nothing of the data."""
    varying: dict[str, dict[int, tuple[str, int | None]]]
    """Argument -> dimension -> the name of its size and the largest allowed, None for any."""
    meaning: str
    """What goes in and what comes out, a sentence for the model card."""


class Method(nn.Module):
    """Base of all methods.

    A subclass sets `Config` and `tasks`, and implements `loss` and `embed`. `data`
    is what the task's `load` calls `train`: the only data a method ever sees.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    tasks: ClassVar[tuple[str, ...]] = ()
    """Names of the tasks the method serves; the first is its default."""
    trainable: ClassVar[bool] = True
    """False for baselines that have nothing to learn: the loop skips them."""
    supervised: ClassVar[bool] = False
    """True for baselines that are given the labels of the training nodes."""
    divides_batches: ClassVar[bool] = False
    """Whether several processes train one model together and divide every batch (`sharing`), which
    pays where most of a step goes into the rows of its batch. Otherwise they divide the seeds."""
    rounds_contrasts_only: ClassVar[bool] = False
    """Whether `precision` is of the contrast engine's products alone: those of a small encoder gain
    nothing from rounding, and lose on a CPU."""
    sharing: Sharing = Sharing()
    """Which of several processes this is, for methods that divide their batches."""

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__()
        self.config = config
        self.data = data

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """One epoch of batches. By default a single batch: the training data itself."""
        yield self.data

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of one batch: scalar `total` and every named part it is made of."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss()")

    def embed(self, data: Any) -> Tensor:
        """Embeddings (nodes or items, d) of `data`, without gradient and without augmentation."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed()")

    def histograms(self) -> dict[str, Tensor]:
        """What a report shows of how the views are drawn; {} where there is nothing to show.

        `TITLE` or `TITLE/SERIES` -> values of any number; series of one title share a chart.
        """
        return {}

    def portable_encoder(self) -> PortableEncoder | None:
        """The trained encoder for use outside this library; None where there is no such thing."""
        return None

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Called before each epoch (1-based): schedules, clustering, re-drawn views."""

    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of all parameters; Adam unless a method says otherwise."""
        return torch.optim.Adam(
            self.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
