"""Tune a recommender from Python, export what was chosen, and load the export back.

    python examples/tune_export_and_load_back.py

`graphcl tune`, `graphcl export` and `graphcl recommend` do the same. The log is made up: readers
of crime and readers of poetry. Nothing is downloaded, and all is written to a temporary folder.
"""

import tempfile
from pathlib import Path

import numpy as np

from graphcl import load_run
from graphcl.app.export import export_run
from graphcl.app.tuning import tune


def write_log(path: Path) -> None:
    """30 readers of crime and 30 of poetry, who took 10 of the 20 books of their kind."""
    random = np.random.default_rng(0)
    rows = [
        f"{kind} reader {reader},{kind} book {book}"
        for kind in ("crime", "poetry")
        for reader in range(30)
        for book in random.permutation(20)[:10]
    ]
    path.write_text("user,item\n" + "\n".join(rows))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "log.csv")
        tune(
            "bpr", str(folder / "log.csv"), out=folder / "study", trials=4, warmup=2,
            overrides=["epochs=6", "evaluate_every=2", "batch_size=64"],
            search=["learning_rate=0.001..0.1", "dimension=[8, 16]"],
        )  # fmt: skip
        chosen = folder / "study" / "best"  # the run that tested the best settings, once
        exported = export_run(chosen, folder / "export", encoder=False)

        loaded = load_run(exported.folder)
        vectors = loaded.tables()["items"]
        print(f"{len(vectors.ids)} vectors of {vectors.vectors.shape[1]} numbers")
        print(loaded.recommendations.for_users(["poetry reader 9"], k=3))


if __name__ == "__main__":
    main()
