"""Contrastive learning on graphs and for recommendation: views, losses, kernels and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphcl.app.load import LoadedRun, load_run

__all__ = ["LoadedRun", "load_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # On first use: importing one view must not bring configs and evaluation along.
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from graphcl.app import load

    return getattr(load, name)
