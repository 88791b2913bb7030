"""Graph recommenders on small logs, each tuned with the same budget and tested with three seeds.

    python benchmarks/tune_recommenders.py ml-100k                  # all methods
    python benchmarks/tune_recommenders.py ml-latest-small lightgcn sgl

For every method: `TRIALS` trials of `graphcl tune` on seed 0 (one training at a time), then the
best one's settings with seeds 0, 1, 2; both with `SHARED`. A config with the settings, how they
were chosen, and the results is written to `configs/recsys`. Runs and studies are kept in `--out`;
what is finished there is not done again, so a stopped call goes on when it is given again.
`benchmarks/graph_recommenders.md` says what came out.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import results
import torch
import yaml
from rich.console import Console

from graphcl.app.folder import RunFolder
from graphcl.app.progress import ProgressDisplay
from graphcl.app.run import run
from graphcl.app.settings import specify
from graphcl.app.tuning import tune
from graphcl.atomic import write_text
from graphcl.config import read_yaml

TRIALS = 4
PROTOCOL = "random-8-1-1"
SHARED = {
    "epochs": 20, "evaluate_every": 2, "patience": 3, "minimum_epochs": 10,
    "batch_size": 2048, "weight_decay": 0.0,
}  # fmt: skip
"""The cap of every learned method, in the search and after it."""

MEAN = {"learning_rate": 0.02, "l2": 0.001, "layers": 3}
"""Where methods start that average layers: what LightGCN wanted on MovieLens-100k."""
SUM = {"learning_rate": 0.005, "l2": 0.016, "layers": 3}
"""The same for methods that sum them."""
BOTH = ("learning_rate", "l2")


@dataclass(frozen=True)
class Plan:
    """One method's part: what is fixed, where the search starts, what it searches."""

    title: str
    source: str
    method: str = ""
    fixed: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    search: tuple[str, ...] = BOTH
    learned: bool = True


PLANS = {
    "ease": Plan("EASE", "Steck 2019, arXiv 1905.03375", search=("l2",), learned=False),
    "itemknn": Plan(
        "ItemKNN", "Sarwar et al. 2001", search=("neighbours", "shrinkage"), learned=False
    ),
    "bpr": Plan(
        "BPR-MF", "Rendle et al. 2009, arXiv 1205.2618",
        start={"learning_rate": 0.02, "l2": 0.001},
    ),
    "lightgcn": Plan("LightGCN", "He et al. 2020, arXiv 2002.02126", start=MEAN),
    "xsimgcl": Plan(
        "XSimGCL", "Yu et al. 2023, arXiv 2209.02544",
        start={**MEAN, "layers": 2}, search=(*BOTH, "contrast_weight"),
    ),
    "lightgcl": Plan(
        "LightGCL (cosine variant)", "Cai et al. 2023, arXiv 2302.08191",
        fixed={"negatives": "batch"}, start={**SUM, "contrast_weight": 0.003},
        search=(*BOTH, "contrast_weight"),
    ),
    "ncl": Plan(
        "NCL", "Lin et al. 2022, arXiv 2202.06200",
        fixed={"warm_up": 6},
        start={**MEAN, "structure_weight": 0.001, "prototype_weight": 0.001},
        search=(*BOTH, "structure_weight", "prototype_weight"),
    ),
    "directau": Plan(
        "DirectAU", "Wang et al. 2022, arXiv 2206.12811",
        start={"learning_rate": 0.005, "l2": 0.0001, "layers": 0},
        search=(*BOTH, "uniformity_weight"),
    ),
    "sgl": Plan(
        "SGL", "Wu et al. 2021, arXiv 2010.10783",
        start={**MEAN, "contrast_weight": 0.01}, search=(*BOTH, "contrast_weight"),
    ),
    "hccf": Plan(
        "HCCF", "Xia et al. 2022, arXiv 2204.12200",
        start={
            "learning_rate": 0.005, "l2": 0.009, "layers": 2, "temperature": 1.0,
            "contrast_weight": 0.001,
        },
        search=(*BOTH, "contrast_weight"),
    ),
    "simgcl": Plan(
        "SimGCL", "Yu et al. 2022, arXiv 2112.08679",
        start={**MEAN, "contrast_weight": 0.01}, search=(*BOTH, "contrast_weight"),
    ),
    "lightgcl_paper": Plan(
        "LightGCL as in its paper,", "Cai et al. 2023, arXiv 2302.08191", "lightgcl",
        fixed={"variant": "paper", "rank": 5},
        start={
            "learning_rate": 0.005, "l2": 0.001, "layers": 2, "temperature": 0.5,
            "contrast_weight": 1e-7, "edge_dropout": 0.25,
        },
        search=(*BOTH, "contrast_weight=0.00000001..0.00001"),
    ),
    "lightgcl_released": Plan(
        "LightGCL as its authors released it,", "Cai et al. 2023, arXiv 2302.08191", "lightgcl",
        fixed={"variant": "released", "rank": 5},
        start={
            "learning_rate": 0.005, "l2": 1e-7, "layers": 2, "temperature": 2.0,
            "contrast_weight": 0.001,
        },
        search=("learning_rate", "l2=0.00000001..0.0001", "contrast_weight"),
    ),
    "semantic-item-graph": Plan(
        "Semantic item graphs (reconstructed from an abstract)",
        "reconstructed from the abstract of Zhang et al. 2025, arXiv 2508.06154",
        start={"learning_rate": 0.01, "l2": 0.001, "layers": 2}, search=(*BOTH, "align_weight"),
    ),
    "dccf": Plan(
        "DCCF", "Ren et al. 2023, arXiv 2305.02759", fixed={"dimension": 32},
        start={"learning_rate": 0.01, "l2": 0.1, "layers": 2, "contrast_weight": 0.01},
        search=(*BOTH, "contrast_weight"),
    ),
}  # fmt: skip

NAMES = {"ml-100k": "MovieLens-100k", "ml-latest-small": "MovieLens latest small"}
SHIPPED = {("ml-100k", "lightgcn"), ("ml-100k", "lightgcl")}
"""Whose config of that name was tuned longer, by hand; theirs get another name."""


def measure(dataset: str, name: str, out: Path) -> None:
    """Search, test and write the config of one method, but for what is there already."""
    plan, folder = PLANS[name], out / dataset / name
    method, console = plan.method or name, Console()
    fixed = {**SHARED, "dimension": 64, **plan.fixed} if plan.learned else {}
    best, tested = folder / "best.yaml", folder / "run"
    if not (folder / "searched").exists():
        start = folder / "start.yaml"
        content = {"method": method, "dataset": dataset, "settings": plan.start}
        folder.mkdir(parents=True, exist_ok=True)
        write_text(start, yaml.safe_dump(content))
        began = time.process_time()
        tune(
            method, dataset, protocol=PROTOCOL, config=start, search=plan.search, trials=TRIALS,
            overrides=[f"{key}={value}" for key, value in fixed.items()],
            study=f"{name}_{dataset}", out=folder, test=False,
        )  # fmt: skip
        write_text(folder / "searched", f"{time.process_time() - began:.1f} CPU seconds\n")
    if not (tested / "result.json").exists():
        began = time.process_time()
        specification = specify(method, dataset, config=best, seeds=3)
        display = ProgressDisplay(console, f"{name} on {dataset}")
        run(specification, RunFolder(tested), display, resume=tested.is_dir())
        write_text(folder / "tested", f"{time.process_time() - began:.1f} CPU seconds\n")
    config = write_config(dataset, name, read_yaml(best))
    results.record(tested, config)
    console.print(str(config), highlight=False)


def write_config(dataset: str, name: str, best: dict[str, Any]) -> Path:
    """The best trial as a config: what differs from the defaults or was searched."""
    plan, method = PLANS[name], best["method"]
    _, _, kind = name.partition("_")
    if (dataset, name) in SHIPPED:
        kind = f"{SHARED['epochs']}-epochs"
    stem = f"{method}_{dataset}" + (f"_{kind}" if kind else "")
    defaults = specify(method, dataset).method_class.Config()
    chosen = {
        key: value
        for key, value in best["settings"].items()
        if value != getattr(defaults, key) or key in best["tuned"]["search"]
    }
    path = results.ROOT / "configs" / "recsys" / f"{stem}.yaml"
    head = (
        f"# {plan.title} on {NAMES.get(dataset, dataset)} (ratings of at least 3, random 8:1:1 per "
        f"user).\n#   graphcl run {method} {dataset} --config configs/recsys/{stem}.yaml\n"
        f"# The best of {TRIALS} trials by validation recall@20 (seed 0), the same budget for "
        "every method of\n"
        "# benchmarks/graph_recommenders.md. No published number uses this split.\n"
    )
    content = {
        "method": method, "dataset": dataset, "task": "ranking", "protocol": PROTOCOL, "seeds": 3,
        "source": f"{plan.source}; tuned here on the validation split",
        "settings": chosen,
        "tuned": {
            "trials": TRIALS,
            "validation": best["tuned"]["validation"],
            "started_from": round(best["tuned"]["started_from"], 6),
            "search": best["tuned"]["search"],
        },
    }  # fmt: skip
    write_text(path, head + yaml.safe_dump(content, sort_keys=False, width=99))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("methods", nargs="*", metavar="method", help=", ".join(PLANS))
    parser.add_argument("--out", type=Path, default=Path("runs/equal"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.methods) - set(PLANS)
    if unknown:
        sys.exit(f"no plan for {', '.join(sorted(unknown))}; there are {', '.join(PLANS)}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.methods or PLANS:
        measure(arguments.dataset, name, arguments.out)


if __name__ == "__main__":
    main()
