"""Read graphs from `.npz` archives: gnn-benchmark's CSR parts, or plain `edge_index`, `x`, `y`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse

from graphcl.data.assemble import MASKS, RawGraph
from graphcl.data.limits import check_memory, check_unpacked
from graphcl.errors import DataError

_CSR_PARTS = ("data", "indices", "indptr", "shape")
_BENCHMARK_KEYS = (
    *(f"adj_{part}" for part in _CSR_PARTS),
    *(f"attr_{part}" for part in _CSR_PARTS),
    "labels",
)
_OWN_KEYS = ("edge_index", "x", "y", "edge_weight", "node_ids", *MASKS)


def read_numpy_archive(origin: str, path: Path) -> RawGraph:
    """The graph in an `.npz` file of either layout; pickled objects are never loaded.

    * gnn-benchmark (Shchur et al., 2018): `adj_data/indices/indptr/shape`,
      `attr_data/indices/indptr/shape`, `labels`. Edge values are dropped and features binarised
      (x > 0 becomes 1), as in PyTorch Geometric. That changes nothing for Amazon, whose features
      are binary, and turns the keyword counts of Coauthor into the features that published
      results use.
    * own: `edge_index` (2, E) and `x` (N, F), optionally `y` (N,), `edge_weight` (E,), `node_ids`
      (N,) and the three masks `train_mask`, `val_mask`, `test_mask`, (N,) or (N, splits).

    Raises:
        DataError: the file is unreadable, holds pickled objects, or has neither layout.
    """
    arrays = load_arrays(path)
    if "adj_indptr" in arrays:
        return _benchmark(origin, arrays)
    if "edge_index" not in arrays or "x" not in arrays:
        raise DataError(
            f"{origin} must have the keys edge_index and x, or gnn-benchmark's adj_* and attr_* "
            f"(got {', '.join(sorted(arrays)) or 'nothing'})"
        )
    present = [name for name in MASKS if name in arrays]
    if present and len(present) < len(MASKS):
        raise DataError(f"{origin} has {', '.join(present)} but a split needs {', '.join(MASKS)}")
    return RawGraph(
        origin=origin,
        x=arrays["x"],
        edge_index=arrays["edge_index"],
        y=arrays.get("y"),
        edge_weight=arrays.get("edge_weight"),
        node_ids=arrays.get("node_ids"),
        masks={name: arrays[name] for name in MASKS} if present else None,
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The known arrays of an `.npz` file, by key; other keys are not even read.

    Raises:
        DataError: the file is unreadable, or a known key holds pickled objects.
    """
    check_unpacked(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"'{path}' is one array, not an .npz archive")
            known = {*_BENCHMARK_KEYS, *_OWN_KEYS, *_CSR_PARTS, "format"}
            return {key: archive[key] for key in archive.files if key in known}
    except DataError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"'{path}' is not a readable .npz archive ({reason})") from None


def _benchmark(origin: str, arrays: dict[str, np.ndarray]) -> RawGraph:
    absent = [key for key in _BENCHMARK_KEYS if key not in arrays]
    if absent:
        raise DataError(f"{origin} lacks the key '{absent[0]}' of gnn-benchmark's layout")
    adjacency = csr_from_parts(origin, arrays, "adj_").tocoo()
    x = csr_from_parts(origin, arrays, "attr_").toarray()
    return RawGraph(
        origin=origin,
        x=(x > 0).astype(np.float32),
        edge_index=np.stack([adjacency.row, adjacency.col]).astype(np.int64),
        y=arrays["labels"],
    )


def csr_from_parts(
    origin: str, arrays: dict[str, np.ndarray], prefix: str = ""
) -> scipy.sparse.csr_matrix:
    """The CSR matrix of `prefix` + data, indices, indptr, shape, with its indices checked.

    Raises:
        DataError: the parts do not make a matrix.
    """
    try:
        data, indices, indptr, shape = (arrays[f"{prefix}{part}"] for part in _CSR_PARTS)
        rows, columns = (int(size) for size in shape)
        check_memory(origin, rows * columns * data.dtype.itemsize)
        matrix = scipy.sparse.csr_matrix((data, indices, indptr), shape=(rows, columns))
        # Without this an index beyond the shape would be written past the end of an array.
        matrix.check_format(full_check=True)
    except DataError:
        raise
    except (KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{origin}: {prefix}* do not make a CSR matrix ({error})") from None
    return matrix
