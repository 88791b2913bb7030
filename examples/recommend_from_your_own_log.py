"""Train a recommender on a pandas DataFrame and read its recommendations by your own ids.

    python examples/recommend_from_your_own_log.py

The log is made up: readers of crime and readers of poetry. Nothing is downloaded.
"""

import numpy as np
import pandas as pd
import torch

from recsys.data import from_dataframe
from recsys.methods.lightgcn import LightGCN
from recsys.recommend import Recommendations


def made_up_log() -> pd.DataFrame:
    """30 readers of crime and 30 of poetry, who took 8 of the 15 books of their kind."""
    random = np.random.default_rng(0)
    rows = [
        (f"{kind} reader {reader}", f"{kind} book {book}")
        for kind in ("crime", "poetry")
        for reader in range(30)
        for book in random.permutation(15)[:8]
    ]
    return pd.DataFrame(rows, columns=["user", "item"])


def main() -> None:
    torch.manual_seed(0)
    log = from_dataframe(made_up_log())
    method = LightGCN(LightGCN.Config(dimension=16, batch_size=128), log)
    optimizer, generator = method.optimizer(), torch.Generator().manual_seed(0)
    for _ in range(20):
        for batch in method.batches(generator):
            optimizer.zero_grad()
            method.loss(batch, generator)["total"].backward()
            optimizer.step()

    lists = Recommendations(method, log)
    print(lists.for_users(["crime reader 0", "poetry reader 9"], k=3))
    print(lists.for_newcomers([["crime book 1", "crime book 7"]], k=3))
    print(lists.similar_items(["poetry book 3"], k=3))


if __name__ == "__main__":
    main()
