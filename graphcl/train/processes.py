"""Several processes on one run, as `torchrun` starts them.

Those that divide the seeds of a run train apart and meet at its beginning and its end. Those that
divide batches build the same model from the same seed, and between two steps all are in the same
state: the gradient is the mean over the processes, what was drawn for a share of the rows is put
right by what the first process drew, and every epoch begins in the first process's state. So the
first one's checkpoint holds everything. It alone evaluates and writes files then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from graphcl.errors import ProcessError

if TYPE_CHECKING:  # a mistake in a command is told before torch is imported
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for the others, which may be busy with an evaluation. One that dies
closes its connections, which is noticed at once."""


class Processes:
    """The processes of a run, seen from one of them; a single one by default."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process; the others wait for it and do not call it.

        Raises:
            ProcessError: another process stopped.
        """
        if self.count == 1:
            return make()
        from torch import distributed

        made: list[Any] = [make() if self.first else None]
        with _others():
            distributed.broadcast_object_list(made)
        result: T = made[0]
        return result

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank.

        Raises:
            ProcessError: another process stopped.
        """
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        with _others():
            distributed.all_gather_object(values, value)
        return values

    def begin_epoch(self, model: nn.Module, generator: torch.Generator) -> None:
        """Bring every process into the first one's state: model and random streams.

        Raises:
            ProcessError: another process stopped.
        """
        if self.count == 1:
            return
        import torch
        from torch import distributed

        self.agree(generator)
        state = torch.get_rng_state()
        with _others():
            distributed.broadcast(state, 0)
            for tensor in model.state_dict().values():
                distributed.broadcast(tensor, 0)
        torch.set_rng_state(state)

    def part(self) -> None:
        """Let the global random stream of every process go its own way: dropout is of own rows."""
        if not self.first:
            import torch

            torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)

    def agree(self, generator: torch.Generator) -> None:
        """Set `generator` to the first process's: draws for a share depend on its size.

        Raises:
            ProcessError: another process stopped.
        """
        if self.count == 1:
            return
        from torch import distributed

        state = generator.get_state()
        with _others():
            distributed.broadcast(state, 0)
        generator.set_state(state)

    def average(self, model: nn.Module, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace every gradient by its mean over the processes; the means of the parts.

        Raises:
            ProcessError: another process stopped.
        """
        if self.count == 1:
            return dict(parts)
        import torch
        from torch import distributed

        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        values = [value.detach() for value in parts.values()]
        for tensors in _by_kind([*gradients, *values]).values():
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            with _others():
                distributed.all_reduce(flat)
            flat /= self.count
            sizes = [tensor.numel() for tensor in tensors]
            for tensor, mean in zip(tensors, flat.split(sizes), strict=True):
                tensor.copy_(mean.view_as(tensor))
        return dict(zip(parts, values, strict=True))


def launched() -> int:
    """How many processes this one was started with."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that `torchrun` started with this one; a process on its own joins none.

    The first process that fails lets its error through and so gets to say why. The others, which
    fail of the same mistake or because that one is gone, end in silence with an exit code of 2.

    Raises:
        ProcessError: the processes cannot reach each other.
    """
    if launched() < 2:
        yield Processes()
        return
    from torch import distributed

    try:
        store, rank, count = next(distributed.rendezvous("env://"))
        distributed.init_process_group(
            "gloo", store=store, rank=rank, world_size=count, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ProcessError(
            f"the {launched()} processes cannot reach each other: {reason}"
        ) from None
    try:
        yield Processes(rank, count)
    except BaseException:
        if not _speaks(store):
            raise SystemExit(2) from None
        raise
    distributed.destroy_process_group()


def _speaks(store: Any) -> bool:
    """Whether this process is the first to fail."""
    try:
        return bool(store.add("graphcl/failed", 1) == 1)
    except RuntimeError:  # the store went away with a process that failed before
        return False


@contextmanager
def _others() -> Iterator[None]:
    """Turns the loss of a connection into one sentence."""
    try:
        yield
    except RuntimeError:
        raise ProcessError(
            "another process of this run was ended from outside; the same command with --resume "
            "goes on from the last checkpoint"
        ) from None


def _by_kind(tensors: list[Tensor]) -> dict[tuple[torch.dtype, torch.device], list[Tensor]]:
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return kinds
