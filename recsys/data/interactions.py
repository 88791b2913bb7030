"""The interaction store: who took what, per user in time order, as flat tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import DataError
from recsys.data.features import Feature


@dataclass(frozen=True, eq=False)
class Interactions:
    """An immutable user-item log in compressed sparse rows, one row a user.

    The interactions of user `u` are the positions `offsets[u]` to `offsets[u + 1]`
    of every flat tensor, oldest first. Interactions of one user with equal times
    (or without times) keep the order of the file. A repeated (user, item) pair is
    kept: a sequence needs it; `edges` and `pair_keys` drop repetitions, as a graph
    needs it.

    Build one with `from_indices` (users and items already numbered from 0),
    `recsys.data.from_ids` (any ids) or a reader; these check their input.
    Everything may live on a GPU (`to`), so that a batch is an index.

    Every derived log (`select`, `where`, a split) keeps the numbering of users and
    items; only `compact` changes it.
    """

    offsets: Tensor
    """int64 (num_users + 1,)."""
    items: Tensor
    """int32 (N,): item numbers, per user in time order."""
    user_ids: np.ndarray
    """(num_users,): the caller's own user ids, as given (strings or integers)."""
    item_ids: np.ndarray
    """(num_items,): the caller's own item ids."""
    times: Tensor | None = None
    """int64 or float64 (N,), in the log's own unit; only their order is used."""
    ratings: Tensor | None = None
    """float32 (N,)."""
    titles: np.ndarray | None = None
    """(num_items,) strings: what to call an item in front of people."""
    texts: np.ndarray | None = None
    """(num_items,) strings: what is known of an item in words, such as title and genres; ""
    where nothing is."""
    name: str = "interactions"
    """Where the log came from."""
    user_features: Mapping[str, Feature] = field(default_factory=dict)
    """What else is known of the users, by name; num_users rows each."""
    item_features: Mapping[str, Feature] = field(default_factory=dict)
    """What else is known of the items, by name; num_items rows each."""
    unread_times: str | None = None
    """A column of the file that is called like times and was not named as such, so not read."""

    @staticmethod
    def from_indices(
        users: Tensor | np.ndarray,
        items: Tensor | np.ndarray,
        *,
        times: Tensor | np.ndarray | None = None,
        ratings: Tensor | np.ndarray | None = None,
        num_users: int | None = None,
        num_items: int | None = None,
        user_ids: np.ndarray | None = None,
        item_ids: np.ndarray | None = None,
        titles: np.ndarray | None = None,
        name: str = "interactions",
    ) -> Interactions:
        """Sort integer pairs into a store.

        Args:
            users, items: integers (N,), numbered from 0.
            times: (N,) finite numbers; without them the given order is the time order.
            ratings: (N,) finite numbers.
            num_users, num_items: counts; by default those of the ids, else largest + 1.
            user_ids, item_ids: names of the numbers; by default the numbers themselves.
            titles: (num_items,) strings.
            name: where the log came from.

        Raises:
            DataError: the log is empty, a number is negative or out of range, a time or
                rating is not finite, or lengths differ.
        """
        user = _index_array("user", users)
        item = _index_array("item", items)
        if len(user) == 0:
            raise DataError(f"'{name}' has no interactions; at least one is needed")
        if len(user) != len(item):
            raise DataError(
                f"users and items must be equally long (got {len(user)} and {len(item)})"
            )
        user_ids = _names("user", user, user_ids, num_users)
        item_ids = _names("item", item, item_ids, num_items)
        if titles is not None and len(titles) != len(item_ids):
            raise DataError(
                f"titles must name every item (got {len(titles)} titles, {len(item_ids)} items)"
            )
        time = _finite_array("time", times, len(user))
        rating = _finite_array("rating", ratings, len(user))
        if rating is not None and np.abs(rating).max() > np.finfo(np.float32).max:
            raise DataError(
                f"ratings must fit into float32 (got {rating[np.abs(rating).argmax()]})"
            )
        # lexsort is stable: equal keys keep the given order.
        order = np.lexsort((user,) if time is None else (time, user))
        counts = np.bincount(user, minlength=len(user_ids))
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return Interactions(
            offsets=torch.from_numpy(offsets),
            items=torch.from_numpy(item[order].astype(np.int32)),
            user_ids=user_ids,
            item_ids=item_ids,
            times=None if time is None else torch.from_numpy(time[order]),
            ratings=(
                None if rating is None else torch.from_numpy(rating[order].astype(np.float32))
            ),
            titles=titles,
            name=name,
        )

    @property
    def num_users(self) -> int:
        """Number of users, with or without interactions."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """Number of items, with or without interactions."""
        return len(self.item_ids)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.offsets.device

    def __len__(self) -> int:
        return self.items.numel()

    def __repr__(self) -> str:
        return (
            f"Interactions('{self.name}', {self.num_users} users, {self.num_items} items, "
            f"{len(self)} interactions)"
        )

    def lengths(self) -> Tensor:
        """Interactions of each user, int64 (num_users,)."""
        return self.offsets.diff()

    def users(self) -> Tensor:
        """The user of each interaction, int64 (N,), in storage order."""
        numbers = torch.arange(self.num_users, device=self.device)
        return numbers.repeat_interleave(self.lengths(), output_size=len(self))

    def history(self, user: int) -> Tensor:
        """The items of `user`, oldest first, int32 (n,)."""
        return self.items[int(self.offsets[user]) : int(self.offsets[user + 1])]

    def item_counts(self) -> Tensor:
        """Interactions of each item, int64 (num_items,), repetitions counted."""
        return torch.bincount(self.items.long(), minlength=self.num_items)

    def pair_keys(self) -> Tensor:
        """Sorted distinct keys `user * num_items + item`, int64 (E,)."""
        return torch.unique(self.users() * self.num_items + self.items.long())

    def edges(self) -> tuple[Tensor, Tensor]:
        """Distinct (user, item) pairs sorted by user, then item: two int64 tensors (E,)."""
        keys = self.pair_keys()
        users = torch.div(keys, self.num_items, rounding_mode="floor")
        return users, keys - users * self.num_items

    def select(self, mask: Tensor) -> Interactions:
        """The interactions where bool `mask` (N,) holds; users and items keep their numbers."""
        if mask.dtype != torch.bool or mask.shape != self.items.shape:
            raise DataError(
                f"mask must be bool of shape ({len(self)},) "
                f"(got {mask.dtype} of shape {tuple(mask.shape)})"
            )
        running = torch.cat((self.offsets.new_zeros(1), mask.long().cumsum(0)))
        return replace(
            self,
            offsets=running[self.offsets],
            items=self.items[mask],
            times=None if self.times is None else self.times[mask],
            ratings=None if self.ratings is None else self.ratings[mask],
        )

    def where(self, min_rating: float) -> Interactions:
        """The interactions rated at least `min_rating`; all of them when the log has no ratings."""
        return self if self.ratings is None else self.select(self.ratings >= min_rating)

    def unique(self) -> Interactions:
        """The earliest interaction of every (user, item) pair."""
        keys = self.users() * self.num_items + self.items.long()
        ordered, position = torch.sort(keys, stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        mask = torch.zeros_like(first)
        mask[position[first]] = True
        return self.select(mask)

    def compact(self) -> Interactions:
        """Drop users and items without interactions and number the others anew, in order."""
        return self.among(self.lengths() > 0, self.item_counts() > 0)

    def among(self, users: Tensor, items: Tensor) -> Interactions:
        """What some users did with some items, both numbered anew, in order.

        Args:
            users, items: bool (num_users,) and (num_items,), the ones to keep.
        """
        kept = self.select(users[self.users()] & items[self.items.long()])
        number = items.cumsum(0) - 1
        kept_items = items.cpu().numpy()
        zero = kept.offsets.new_zeros(1)
        return replace(
            kept,
            offsets=torch.cat((zero, kept.lengths()[users].cumsum(0))),
            items=number[kept.items.long()].int(),
            user_ids=self.user_ids[users.cpu().numpy()],
            item_ids=self.item_ids[kept_items],
            titles=None if self.titles is None else self.titles[kept_items],
            texts=None if self.texts is None else self.texts[kept_items],
            user_features=_taken(self.user_features, torch.nonzero(users).flatten()),
            item_features=_taken(self.item_features, torch.nonzero(items).flatten()),
        )

    def with_features(
        self,
        users: Mapping[str, Feature] | None = None,
        items: Mapping[str, Feature] | None = None,
    ) -> Interactions:
        """The same log with other features; None keeps those of that side.

        Raises:
            DataError: a feature has another number of rows than there are users or items.
        """
        for kind, features, count in (
            ("user", users or {}, self.num_users),
            ("item", items or {}, self.num_items),
        ):
            for name, feature in features.items():
                if len(feature) != count:
                    raise DataError(
                        f"the feature '{name}' must have one row for each of {count} {kind}s "
                        f"(got {len(feature)})"
                    )
        return replace(
            self,
            user_features=self.user_features if users is None else dict(users),
            item_features=self.item_features if items is None else dict(items),
        )

    def with_titles(self, ids: np.ndarray, titles: np.ndarray) -> Interactions:
        """The same log with item titles looked up by id; an item not listed is called by its id."""
        table = {str(key): str(title) for key, title in zip(ids, titles, strict=True)}
        named = [table.get(str(key), str(key)) for key in self.item_ids]
        return replace(self, titles=np.array(named, dtype=np.str_))

    def with_texts(self, ids: np.ndarray, texts: np.ndarray) -> Interactions:
        """The same log with item texts looked up by id; an item not listed has none."""
        table = {str(key): str(text) for key, text in zip(ids, texts, strict=True)}
        found = [table.get(str(key), "") for key in self.item_ids]
        return replace(self, texts=np.array(found, dtype=np.str_))

    def to(self, device: torch.device | str) -> Interactions:
        """The same log with its tensors on `device`."""
        if self.device == torch.empty(0, device=device).device:
            return self
        return replace(
            self,
            offsets=self.offsets.to(device),
            items=self.items.to(device),
            times=None if self.times is None else self.times.to(device),
            ratings=None if self.ratings is None else self.ratings.to(device),
            user_features={name: f.to(device) for name, f in self.user_features.items()},
            item_features={name: f.to(device) for name, f in self.item_features.items()},
        )

    def content_hash(self) -> str:
        """sha256 (hexadecimal) of ids, order, times and ratings; not of titles, texts, features or
        name.

        `recsys.data.features.describe_features` tells features apart.
        """
        digest = hashlib.sha256()
        for tensor in (self.offsets, self.items, self.times, self.ratings):
            if tensor is None:
                digest.update(b"none;")
            else:
                array = tensor.cpu().numpy()
                digest.update(f"{array.dtype.str}{array.shape};".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        for ids in (self.user_ids, self.item_ids):
            digest.update("\x1f".join(map(str, ids.tolist())).encode() + b"\x1e")
        return digest.hexdigest()


def _taken(features: Mapping[str, Feature], rows: Tensor) -> dict[str, Feature]:
    return {name: feature.take(rows) for name, feature in features.items()}


def _index_array(kind: str, values: Tensor | np.ndarray) -> np.ndarray:
    array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(
            f"{kind} numbers must be a 1-d integer array (got {array.dtype} of shape {array.shape})"
        )
    return array.astype(np.int64)


def _names(kind: str, numbers: np.ndarray, ids: np.ndarray | None, count: int | None) -> np.ndarray:
    """The id of every number; checks that each number has one."""
    if count is None:
        count = len(ids) if ids is not None else int(numbers.max()) + 1
    if ids is not None and len(ids) != count:
        raise DataError(f"{kind} ids must be as many as {kind}s (got {len(ids)}, {count} {kind}s)")
    bad = np.flatnonzero((numbers < 0) | (numbers >= count))
    if len(bad):
        raise DataError(
            f"{kind} numbers must lie in 0..{count - 1} "
            f"(got {numbers[bad[0]]} at position {bad[0]})"
        )
    return np.arange(count) if ids is None else np.asarray(ids)


def _finite_array(kind: str, values: Tensor | np.ndarray | None, length: int) -> np.ndarray | None:
    if values is None:
        return None
    array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.shape != (length,):
        raise DataError(f"{kind}s must be one per interaction (got {len(array)}, {length} needed)")
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{kind}s must be numbers (got {array.dtype})") from None
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise DataError(f"{kind}s must be finite (got {array[bad[0]]} at position {bad[0]})")
    return array
