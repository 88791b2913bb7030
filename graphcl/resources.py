"""Where the files that travel with the library are: dataset cards and result configurations.

An installed wheel carries them inside the package (`graphcl/_shipped/`), so that nothing called
`datasets` or `configs` is ever installed top-level; a checkout keeps them beside the packages.
"""

from __future__ import annotations

from pathlib import Path

from graphcl.errors import DataError

_PACKAGE = Path(__file__).resolve().parent


def checkout_root() -> Path | None:
    """The root of the checkout this package runs from, or None for an installed wheel."""
    root = _PACKAGE.parent
    if (_PACKAGE / "_shipped").is_dir():
        return None
    return root if (root / "pyproject.toml").is_file() and (root / "datasets").is_dir() else None


def datasets_folder() -> Path:
    """The folder of the dataset cards (`NAME.toml`).

    Raises:
        DataError: the installation does not hold it.
    """
    return _shipped_folder("datasets")


def configs_folder() -> Path:
    """The folder of the configurations of published results (YAML).

    Raises:
        DataError: the installation does not hold it.
    """
    return _shipped_folder("configs")


def _shipped_folder(name: str) -> Path:
    candidates = [_PACKAGE / "_shipped" / name]
    root = checkout_root()
    if root is not None:
        candidates.append(root / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise DataError(
        f"this installation of graphcl has no '{name}' folder (looked at "
        f"{', '.join(str(candidate) for candidate in candidates)}); install it again"
    )
