"""RecBole trains and evaluates the methods of this library by name.

    from recsys.recbole import recbole_run

    result = recbole_run("LightGCL", dataset="ml-100k")
    result["test_result"]["recall@10"]

RecBole 1.2.1 (the extra `recbole`) reads, filters, splits, samples, evaluates, stops early and is
configured as its users know it; the method, its loss, its optimiser and the checkpoints are ours.
As released it does not run on current numpy, scipy, torch and setuptools: what that takes is in
`recsys.recbole.environment`, and is undone when a call returns. Its `quick_start`, and so ray, is
never imported.

Zhao et al., "RecBole: Towards a Unified, Comprehensive and Efficient Framework for Recommendation
Algorithms", CIKM 2021 (arXiv 2011.01731).
"""

from recsys.recbole.environment import recbole_environment
from recsys.recbole.run import Prepared, prepare, recbole_run

__all__ = ["Prepared", "prepare", "recbole_environment", "recbole_run"]
