"""How several processes that train one model divide the work on a batch.

Every process holds the same model and draws the same batch. A method computes its own rows of
what costs most, and says so; whatever it does not divide, every process computes in full. The
gradient is the mean over the processes either way, and that of one process on the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from graphcl.losses.gathered import gathered


@dataclass(frozen=True)
class Share:
    """The rows of something that this process computes."""

    start: int
    stop: int
    total: int
    count: int = 1
    """Processes that divide the rows; 1 where they are not divided."""

    @property
    def rows(self) -> slice:
        """The rows, to index with."""
        return slice(self.start, self.stop)

    def mean(self, value: Tensor, own: int | None = None, total: int | None = None) -> Tensor:
        """A mean over own rows, scaled so that the processes' mean is the mean over all rows.

        Args:
            value: the mean over own rows.
            own, total: how many values the means are over, where these are not the rows.
        """
        if self.count == 1:
            return value
        own = self.stop - self.start if own is None else own
        return value * (own * self.count / (self.total if total is None else total))

    def gathered(self, rows: Tensor) -> Tensor:
        """What all processes made of their rows, in the order of the rows; differentiable.

        For losses that every process then computes of all rows, such as contrasts.
        """
        return rows if self.count == 1 else gathered(rows)


@dataclass(frozen=True)
class Sharing:
    """Which of several processes this is; on its own by default."""

    rank: int = 0
    count: int = 1

    def of(self, total: int) -> Share:
        """This process's share of `total` rows: consecutive ones, as equal as can be.

        Fewer rows than processes are not divided: every process has all of them.
        """
        if self.count == 1 or total < self.count:
            return Share(0, total, total)
        first, behind = (total * rank // self.count for rank in (self.rank, self.rank + 1))
        return Share(first, behind, total, self.count)
