"""Read a PyG `Data` saved with `torch.save`, without letting the file run code."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import torch

from graphcl.data.assemble import MASKS, RawGraph
from graphcl.data.limits import check_memory, check_unpacked
from graphcl.errors import DataError

_READ = ("edge_index", "x", "y", "edge_weight", "node_ids", *MASKS)


def read_saved_data(origin: str, path: Path) -> RawGraph:
    """The `Data` (or dictionary of tensors) in a `.pt` file, loaded with `weights_only=True`.

    Read are `edge_index` and `x`, and where present `y`, `edge_weight`, `node_ids` and the three
    masks; other attributes are left out.

    Raises:
        DataError: the file is unreadable, asks for a class besides tensors and PyG's `Data`, or
            lacks `edge_index` or `x`.
    """
    from torch_geometric.data import Data
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    # What a pickled Data is made of; none of them does anything but hold attributes.
    parts = [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]
    # On leaving, torch takes every given class off its safe list, those too that PyG had put on.
    check_unpacked(path)
    already = torch.serialization.get_safe_globals()
    new = [part for part in parts if part not in already]
    try:
        with torch.serialization.safe_globals(new), warnings.catch_warnings():
            # Of an unexpected pickle protocol: the file either loads or is refused below.
            warnings.simplefilter("ignore")
            value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {asked[1]}" if asked else "it is damaged"
        raise DataError(
            f"{origin} is refused: it must hold tensors or a PyG Data of tensors and nothing else "
            f"({reason})"
        ) from None
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise DataError(f"{origin} is not a readable torch file ({reason})") from None
    if not isinstance(value, Data | dict):
        raise DataError(f"{origin} must hold a PyG Data (got {type(value).__name__})")
    found = value.to_dict() if isinstance(value, Data) else value
    tensors = {
        name: item
        for name, item in found.items()
        if name in _READ and isinstance(item, torch.Tensor)
    }
    for needed in ("edge_index", "x"):
        if needed not in tensors:
            raise DataError(f"{origin} has no tensor '{needed}'")
    arrays = {name: _array(origin, name, tensor) for name, tensor in tensors.items()}
    ids = found.get("node_ids")
    labels = arrays.get("y")
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return RawGraph(
        origin=origin,
        x=arrays["x"],
        edge_index=arrays["edge_index"],
        y=labels,
        edge_weight=arrays.get("edge_weight"),
        node_ids=ids if isinstance(ids, list) else arrays.get("node_ids"),
        # (N,), or (N, splits) in PyG's sets with several splits.
        masks={name: arrays[name] for name in MASKS}
        if all(name in arrays for name in MASKS)
        else None,
    )


def _array(origin: str, name: str, tensor: torch.Tensor) -> np.ndarray:
    dense = tensor.detach()
    # A sparse or an expanded tensor is a few bytes in the file and any number in memory.
    check_memory(f"{origin}: tensor '{name}'", dense.numel() * dense.element_size())
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    try:
        # numpy has no bfloat16, and float32 holds all its values.
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{origin}: tensor '{name}' cannot be read ({error})") from None
