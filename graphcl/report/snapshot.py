"""Read `snapshot.npz`: what a task kept of the first seed for a report to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcl.data.limits import check_unpacked
from graphcl.errors import DataError
from graphcl.files import check_regular


@dataclass(frozen=True)
class Example:
    """What one user took and was recommended, in titles (ids where there are none)."""

    user: str
    """The caller's own id."""
    history: tuple[str, ...]
    """The latest items that were known when the list was made, oldest first."""
    recommended: tuple[str, ...]
    """Best first."""
    hits: tuple[bool, ...]
    """For each recommended item whether it was held out, that is, a right guess."""
    held_out: tuple[str, ...]
    """Items that the user took later (the first ten)."""


@dataclass(frozen=True)
class Snapshot:
    """What `snapshot.npz` holds of the first seed."""

    embedding: NDArray[np.float32]
    """(n, d)."""
    colour: NDArray[Any]
    """(n,): class ids, class names, or a number such as popularity."""
    colour_name: str
    label: NDArray[Any] | None = None
    """(n,): what hovering over a point says, such as a title."""
    histograms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`TITLE` or `TITLE/SERIES` -> the raw values, not yet binned."""
    spectrum: NDArray[np.float64] | None = None
    """Singular values, largest first."""
    alignment: float | None = None
    uniformity: float | None = None
    positives: str = ""
    """What the positive pairs of `alignment` are."""
    examples: tuple[Example, ...] = ()
    """Example recommendations of recommender runs, from the arrays `examples/user` (e,),
    `examples/history` (e, h), `examples/recommended` (e, k), `examples/hit` (e, k) bool and
    `examples/held_out` (e, t): unicode text, rows filled up with empty text."""


def read_snapshot(path: Path) -> Snapshot | None:
    """The snapshot, or None where there is none.

    Raises:
        DataError: it is damaged, or holds something else.
    """
    if not path.exists():
        return None
    check_regular(path, DataError)
    try:
        check_unpacked(path)
        # Arrays of Python objects would need pickle, which can run code: refused.
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except DataError:
        raise
    except Exception:  # a damaged archive can fail in any way
        raise DataError(f"'{path}' is not a readable snapshot; run the experiment again") from None
    missing = {"embedding", "colour", "colour_name"} - arrays.keys()
    if missing:
        raise DataError(f"'{path}' is not a snapshot: it lacks {', '.join(sorted(missing))}")
    embedding, colour = arrays["embedding"], arrays["colour"]
    numbers = [embedding, *(v for k, v in arrays.items() if _is_numeric(k))]
    if not all(array.dtype.kind in "fiub" for array in numbers) or (
        embedding.ndim != 2 or colour.shape != embedding.shape[:1]
    ):
        raise DataError(
            f"'{path}' is not a snapshot: embedding must be numbers (n, d) and colour (n,) "
            f"(got {embedding.dtype} {embedding.shape} and {colour.dtype} {colour.shape})"
        )
    prefix, label = "histogram/", arrays.get("label")
    return Snapshot(
        embedding=embedding.astype(np.float32),
        colour=colour,
        colour_name=str(arrays["colour_name"]),
        label=label if label is not None and label.shape == colour.shape else None,
        histograms={
            name.removeprefix(prefix): array.astype(np.float64).ravel()
            for name, array in arrays.items()
            if name.startswith(prefix)
        },
        spectrum=(arrays["spectrum"].astype(np.float64).ravel() if "spectrum" in arrays else None),
        alignment=_scalar(arrays, "alignment"),
        uniformity=_scalar(arrays, "uniformity"),
        positives=str(arrays.get("positives", "positive pairs")),
        examples=_read_examples(path, arrays),
    )


def _is_numeric(name: str) -> bool:
    return name.startswith("histogram/") or name in ("spectrum", "alignment", "uniformity")


def _scalar(arrays: Mapping[str, NDArray[Any]], name: str) -> float | None:
    return float(arrays[name].item()) if name in arrays and arrays[name].size == 1 else None


def _read_examples(path: Path, arrays: Mapping[str, NDArray[Any]]) -> tuple[Example, ...]:
    names = ("user", "history", "recommended", "hit", "held_out")
    found = [arrays[f"examples/{name}"] for name in names if f"examples/{name}" in arrays]
    if not found:
        return ()
    kinds, sizes = "".join(array.dtype.kind for array in found), {len(a) for a in found if a.ndim}
    shapes = [array.shape for array in found]
    if (
        kinds != "UUUbU"
        or [len(shape) for shape in shapes] != [1, 2, 2, 2, 2]
        or len(sizes) != 1
        or shapes[2] != shapes[3]
    ):
        raise DataError(
            f"'{path}' is not a snapshot: examples must be text user (e,), history (e, h), "
            f"recommended (e, k), booleans hit (e, k) and text held_out (e, t) (got {shapes})"
        )
    user, history, recommended, hit, held_out = (array.tolist() for array in found)
    return tuple(
        Example(
            user[row],
            _present(history[row]),
            listed := _present(recommended[row]),
            tuple(hit[row][: len(listed)]),
            _present(held_out[row]),
        )
        for row in range(len(user))
    )


def _present(titles: Sequence[str]) -> tuple[str, ...]:
    return tuple(title for title in titles if title)
