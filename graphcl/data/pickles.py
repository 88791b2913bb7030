"""Read a pickle through an allow-list, so that opening a data file cannot run code.

Planetoid's files are Python 2 pickles of numpy arrays, scipy CSR matrices and a dictionary of
lists. Unpickling resolves exactly the names that those need and refuses every other one.
"""

from __future__ import annotations

import builtins
import collections
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from graphcl.errors import DataError

try:
    from numpy._core.multiarray import _reconstruct
except ImportError:  # numpy 1
    from numpy.core.multiarray import _reconstruct  # type: ignore[no-redef]


class _CsrParts:
    """Takes the state of a pickled `csr_matrix` without being one.

    Old pickles set attributes that today's class computes; only the four parts are read.
    """

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("the state of a csr_matrix is not a dictionary")
        self.parts = state


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("scipy.sparse.csr", "csr_matrix"): _CsrParts,
    ("scipy.sparse._csr", "csr_matrix"): _CsrParts,
    ("collections", "defaultdict"): collections.defaultdict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{
        (module, name): getattr(builtins, name)
        for module in ("builtins", "__builtin__")
        for name in ("list", "dict", "tuple", "set", "int", "float", "complex", "bool", "str")
    },
}


class _AllowListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"it asks for the global '{module}.{name}', which is not on the list of what a "
                f"data file may use"
            ) from None


def read_pickle(path: Path) -> Any:
    """The object in a pickle made of numpy arrays, CSR matrices, and built-in containers.

    Returns:
        The object; a `csr_matrix` comes back as `scipy.sparse.csr_matrix`.

    Raises:
        DataError: the file is missing or damaged, or asks for any other global, which is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    try:
        with warnings.catch_warnings():
            # numpy 2.4 warns of the integer `align` argument that old pickles pass to dtype.
            warnings.simplefilter("ignore")
            value = _AllowListUnpickler(io.BytesIO(content), encoding="latin1").load()
            return _as_csr(value) if isinstance(value, _CsrParts) else value
    except DataError as error:
        raise DataError(f"'{path}' is refused: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way, and runs only the above
        reason = " ".join(str(error).split())
        raise DataError(f"'{path}' is not a readable pickle ({reason})") from None


def _as_csr(value: _CsrParts) -> scipy.sparse.csr_matrix:
    parts = value.parts
    shape = parts["_shape"] if "_shape" in parts else parts["shape"]
    return scipy.sparse.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape)
