"""What other releases' probe says of the embeddings of a finished run.

    python benchmarks/adam_probe.py runs/cca-ssg_cora --weight-decay 1e-4 --last
    python benchmarks/adam_probe.py runs/csgcl_amazon-photo --steps 3000

DGI, MVGRL, GCA, CSGCL, CCA-SSG and others fit a softmax regression by so many full-batch steps of
Adam on the embeddings as they are, where this library fits one to the end on rows of length 1 and
chooses its strength by validation. This prints the test accuracy of both over the seeds of the run:

    ours            as the run measured it, of the epoch that validation chose
    by validation   at the first step of the best validation accuracy
    peeking         the best test accuracy of all steps at which validation was as good as ever
                    before, as the published runs of CCA-SSG chose it (its issues #2 and #7)
    last step       after all steps

The last three are of the same epoch, or with `--last` of the last one.

For explaining a gap only: the test nodes of these runs were read before, and nothing may be chosen
by what this prints.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from graphcl.app.load import load_run
from graphcl.report.read import read_result
from graphcl.train.checkpoint import load_checkpoint, restore_model


def adam_probe(
    embeddings: Tensor,
    labels: Tensor,
    train: Tensor,
    validation: Tensor,
    test: Tensor,
    steps: int,
    weight_decay: float,
) -> dict[str, float]:
    """Test accuracy of a softmax regression by Adam at a rate of 0.01.

    Args:
        embeddings: (n, d), of any length.
        labels: int64 (n,).
        train, validation, test: bool (n,), without a node in common.
        steps: over all training nodes at once, 1 or more.
        weight_decay: Adam's.
    """
    probe = torch.nn.Linear(embeddings.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.01, weight_decay=weight_decay)
    best = accuracy = by_validation = peeking = 0.0
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(probe(embeddings[train]), labels[train]).backward()
        optimizer.step()
        with torch.no_grad():
            right = (probe(embeddings).argmax(1) == labels).double()
        reached, accuracy = float(right[validation].mean()), float(right[test].mean())
        if reached > best:
            by_validation = accuracy
        if reached >= best:
            best, peeking = reached, max(peeking, accuracy)
    return {"by validation": by_validation, "peeking": peeking, "last step": accuracy}


def main() -> None:
    """Print the mean and sample standard deviation over the seeds of a run, in percent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--last", action="store_true", help="the last epoch, not the chosen one")
    arguments = parser.parse_args()
    result = read_result(arguments.run)
    ours = [value for value in result.metrics["accuracy"].values if value is not None]
    measured: dict[str, list[float]] = {"ours": ours}
    for seed in result.seeds:
        run = load_run(arguments.run, seed=seed)
        if arguments.last:
            path = arguments.run / "checkpoints" / f"seed-{seed}" / "last.safetensors"
            restore_model(run.method, load_checkpoint(path).part("model"), path)
        targets = run.split.test.open()
        if not bool(targets.validation.any()):
            parser.error(f"the protocol {result.protocol['name']} has no validation nodes")
        torch.manual_seed(seed)
        found = adam_probe(
            run.embed(),
            targets.labels,
            targets.train,
            targets.validation,
            targets.evaluated,
            arguments.steps,
            arguments.weight_decay,
        )
        for name, value in found.items():
            measured.setdefault(name, []).append(value)
        print(seed, ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    for name, values in measured.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name}: {100 * statistics.mean(values):.2f} ± {100 * spread:.2f}")


if __name__ == "__main__":
    main()
