"""Embed the nodes of a graph that lies in plain files of your own.

    python examples/own_graph_in_five_lines.py

The five lines are in `embed`; `graphcl run csgcl FOLDER` does the same with checkpoints, seeds and
a test, where there are labels. The graph is made up: four groups of 50 people who know each other.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from graphcl.data import load_graph
from graphcl.methods.csgcl import CSGCL


def write_graph(folder: Path) -> np.ndarray:
    """`edges.csv` and `features.csv`, by names of your own; returns the group of every person."""
    random, group = np.random.default_rng(0), np.arange(200) // 50
    names = [f"person {number}" for number in range(200)]
    known = np.triu(random.random((200, 200)) < np.where(group[:, None] == group, 0.15, 0.02), 1)
    pairs = [f"{names[a]},{names[b]}" for a, b in np.argwhere(known)]
    (folder / "edges.csv").write_text("source,target\n" + "\n".join(pairs))
    tastes = random.random((200, 8)) < 0.3 + 0.2 * (np.arange(8) % 4 == group[:, None])
    rows = [f"{names[n]},{','.join(map(str, 1 * tastes[n]))}" for n in range(200)]
    (folder / "features.csv").write_text("id," + ",".join("abcdefgh") + "\n" + "\n".join(rows))
    return group


def embed(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The features (nodes, 8) and the embeddings (nodes, 16), in the order of the features."""
    data, generator = load_graph(str(folder)), torch.Generator().manual_seed(0)
    method = CSGCL(CSGCL.Config(dimension=16, projection=16, learning_rate=0.01), data)
    optimizer = method.optimizer()
    for epoch in range(1, 61):
        method.epoch_start(epoch, generator)
        optimizer.zero_grad()
        method.loss(data, generator)["total"].backward()
        optimizer.step()
    return data.x, method.eval().embed(data)


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        group = torch.from_numpy(write_graph(Path(folder)))
        for name, rows in zip(("features", "embeddings"), embed(Path(folder)), strict=True):
            unit = torch.nn.functional.normalize(rows, dim=1)
            nearest = (unit @ unit.T).fill_diagonal_(-1).argmax(dim=1)
            share = (group[nearest] == group).float().mean()
            print(f"nearest by {name} is of the own group: {share:.0%}")


if __name__ == "__main__":
    main()
