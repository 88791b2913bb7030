"""Exact draws from the items a row has not taken, by bisection instead of rejection."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import Backend, use_compiled
from graphcl.kernels.negatives import draw_free
from graphcl.samplers.contract import uniform


def positive_keys(rows: Tensor, items: Tensor, num_items: int) -> Tensor:
    """Sorted distinct keys `row * num_items + item` of known pairs (P,) and (P,), int64."""
    return torch.unique(rows.long() * num_items + items.long())


def check_keys(keys: Tensor) -> None:
    """Raise unless sorted distinct int64 keys."""
    if keys.dim() != 1 or keys.dtype != torch.int64:
        raise ArgumentError(
            f"positive_keys must be (P,) of torch.int64; got {tuple(keys.shape)} of {keys.dtype}"
        )
    if keys.numel() and (int(keys[0]) < 0 or not bool((keys[1:] > keys[:-1]).all())):
        raise ArgumentError(
            "positive_keys must be at least 0, sorted and distinct; `positive_keys(rows, items, "
            "num_items)` makes them"
        )


class FreeItems:
    """Items with integer masses, of which a row may draw those that it has not taken.

    All arithmetic is on integers: a taken item has probability exactly 0, not
    a rounding error, and the log-probability is that of the draw itself.

    Args:
        mass: (N,) int64, at least 0, sum below 2^52.
        keys: sorted distinct `row * N + item` of what was taken; None: nothing.
    """

    def __init__(self, mass: Tensor, keys: Tensor | None = None) -> None:
        self.size = mass.numel()
        self.mass = mass
        zero = mass.new_zeros(1)
        self.up_to = torch.cat([zero, mass.cumsum(0)])
        self.keys = zero[:0] if keys is None else keys
        check_keys(self.keys)
        # A sum over all rows may pass 2^63 and wrap; differences within a row are right still.
        self.taken_up_to = torch.cat([zero, mass[self.keys % max(self.size, 1)].cumsum(0)])

    def to(self, device: torch.device) -> FreeItems:
        """The same items on a device; itself where it is there already."""
        if self.mass.device == device:
            return self
        return FreeItems(self.mass.to(device), self.keys.to(device))

    def free(self, rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """(M,) mass of the untaken items low <= j < high of every row."""
        start, stop = self._taken(rows, low, high)
        return (
            self.up_to[high] - self.up_to[low] - (self.taken_up_to[stop] - self.taken_up_to[start])
        )

    def draw(
        self,
        rows: Tensor,
        low: Tensor,
        high: Tensor,
        count: int,
        generator: torch.Generator | None,
        *,
        backend: Backend = "auto",
    ) -> Tensor:
        """(M, count) untaken items low <= j < high, by their mass; -1 where there are none.

        With the masses of untaken items laid end to end, a uniform point is drawn,
        and the taken items that lie before it are counted by bisection; only
        bisection steps loop. Backends as in `graphcl.kernels.negatives`.
        """
        free = self.free(rows, low, high)[:, None]
        drawn = uniform((rows.numel(), count), generator, rows)
        if use_compiled(backend, rows, self.keys) and self.keys.numel() > 0:
            taken = self._taken(rows, low, high)
            return draw_free(
                drawn, count, self.size, rows, self.keys, *taken,
                free=free, offset=self.up_to[low], up_to=self.up_to, taken_up_to=self.taken_up_to,
            )  # fmt: skip
        point = torch.minimum((drawn * free).long(), free - 1).clamp_min(0)
        start, stop = (edge[:, None] for edge in self._taken(rows, low, high))
        offset = self.up_to[low][:, None]
        base = (rows * self.size)[:, None]
        before = self.taken_up_to[start]
        first, last = torch.zeros_like(point), (stop - start).expand_as(point).clone()
        last_key = max(self.keys.numel() - 1, 0)
        widest = int((stop - start).max()) if rows.numel() else 0
        for _ in range(widest.bit_length()):
            middle = (first + last) >> 1
            place = start + middle
            item = self.keys[place.clamp(max=last_key)] - base
            # Free mass before this taken item; outside the window nothing is read from it.
            ahead = self.up_to[item.clamp(0, self.size)] - offset - self.taken_up_to[place] + before
            below = (first < last) & (ahead <= point)
            first = torch.where(below, middle + 1, first)
            last = torch.where(below, last, middle)
        target = offset + point + self.taken_up_to[start + first] - before
        items = torch.searchsorted(self.up_to, target, right=True) - 1
        return torch.where(free > 0, items, -1)

    def is_taken(self, rows: Tensor, items: Tensor) -> Tensor:
        """(M, k) bool, for items (M, k)."""
        if self.keys.numel() == 0:
            return torch.zeros_like(items, dtype=torch.bool)
        wanted = rows[:, None] * self.size + items
        place = torch.searchsorted(self.keys, wanted).clamp_(max=self.keys.numel() - 1)
        return self.keys[place] == wanted

    def probability(self, rows: Tensor, items: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """(M, k) float64 probability with which `draw` gives items (M, k); 0 at -1."""
        free = self.free(rows, low, high)[:, None].double()
        inside = (items >= low[:, None]) & (items < high[:, None])
        possible = inside & ~self.is_taken(rows, items) & (free > 0)
        mass = self.mass[items.clamp_min(0)].double()
        return torch.where(possible, mass / free.clamp_min(1), 0.0)

    def _taken(self, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        base = rows * self.size
        return torch.searchsorted(self.keys, base + low), torch.searchsorted(self.keys, base + high)
