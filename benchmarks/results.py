"""Record measured results in configs, and print them as the README's table.

    python benchmarks/results.py record RUN CONFIG    # a run's result.json -> a config's `results:`
    python benchmarks/results.py table [--write]      # all `results:` -> table (into README.md)

A number in the README thus comes from a committed config, with protocol and seeds beside it;
`tests/test_readme.py` fails when the two drift apart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    "clustering": ("accuracy", "nmi", "ari", "macro-f1"),
    "node-classification": ("accuracy", "macro-f1"),
    "heterogeneous-node-classification": ("micro-f1", "macro-f1", "auc"),
    "link-prediction": ("auc", "average-precision"),
    "ranking": ("recall@20", "ndcg@20", "hit@10", "coverage@20"),
    "next-item": ("ndcg@10", "hit@10", "mrr", "coverage@20"),
    "cold-start": ("recall@20", "warm-recall@20", "cold-recall@20", "cold-ndcg@20"),
}
"""The metrics of each task that are recorded and shown."""

START, END = "<!-- results -->", "<!-- end of results -->"


def record(run: Path, config: Path) -> None:
    """Replace `results:` of `config` by what `run` measured; comments stay."""
    result = json.loads((run / "result.json").read_text())
    settings = yaml.safe_load(config.read_text())
    for key in ("method", "task"):
        if settings[key] != result[key]:
            raise SystemExit(f"{config} is for {settings[key]}, {run} for {result[key]}")
    if settings["protocol"] != result["protocol"]["name"]:
        raise SystemExit(f"{run} ran under another protocol than {config}")
    differing = {
        key for key, value in settings["settings"].items() if result["settings"][key] != value
    }
    if differing:
        raise SystemExit(f"{run} ran with other settings than {config}: {sorted(differing)}")
    entry = {
        "date": result["started"][:10],
        "seeds": len(result["seeds"]),
        "metrics": _rounded(result["metrics"], result["task"]),
        "baselines": {
            name: _rounded(baseline["metrics"], result["task"])
            for name, baseline in result["baselines"].items()
        },
        "dataset_hash": result["dataset"]["hash"],
        "versions": {key: result["versions"][key] for key in ("graphcl", "torch")},
    }
    text = config.read_text()
    kept = text[: text.index("\nresults:") + 1] if "\nresults:" in text else text
    config.write_text(
        kept
        + yaml.safe_dump({"results": [entry]}, sort_keys=False, default_flow_style=None, width=99)
    )


def _rounded(metrics: dict[str, Any], task: str) -> dict[str, dict[str, float]]:
    return {
        name: {part: round(metrics[name][part], 5) for part in ("mean", "std")}
        for name in SHOWN[task]
    }


def table() -> str:
    """One line per method and baseline of every config that has results, by protocol."""
    groups: dict[tuple[str, str, str], list[tuple[str, dict[str, Any], int, str, str]]] = {}
    for folder in ("graph", "recsys"):
        for path in sorted((ROOT / "configs" / folder).glob("*.yaml")):
            config = yaml.safe_load(path.read_text())
            for entry in config.get("results", []):
                key = (config["task"], config["dataset"], config["protocol"])
                rows = groups.setdefault(key, [])
                published = config.get("published", "")
                link = f"[config](configs/{folder}/{path.name})"
                name = _name(config["method"], config["dataset"], path.stem)
                rows.append((name, entry["metrics"], entry["seeds"], published, link))
                for name, metrics in entry["baselines"].items():
                    # Every method of a group brings the same baselines; one line each.
                    if all(row[0] != f"{name} (baseline)" for row in rows):
                        rows.append((f"{name} (baseline)", metrics, entry["seeds"], "", ""))
    lines = []
    for (task, dataset, protocol), rows in groups.items():
        metrics = [name for name in SHOWN[task] if name in rows[0][1]]
        lines += [
            f"**{task} on {dataset}**, protocol `{protocol}`",
            "",
            "| method | " + " | ".join(metrics) + " | seeds | published | |",
            "|---|" + "---|" * (len(metrics) + 3),
        ]
        first = metrics[0]
        for name, values, seeds, published, link in sorted(
            rows, key=lambda row: ("baseline" in row[0], -row[1][first]["mean"])
        ):
            cells = [_cell(task, values[metric], seeds) for metric in metrics]
            lines.append(
                f"| {name} | " + " | ".join(cells) + f" | {seeds} | {published} | {link} |"
            )
        lines.append("")
    return "\n".join(lines)


def _name(method: str, dataset: str, stem: str) -> str:
    """The method, and what sets this config apart from the first one of its method and data."""
    kind = stem.removeprefix(f"{method}_{dataset}").lstrip("_")
    return f"{method} ({kind})" if kind else method


def _cell(task: str, value: dict[str, float], seeds: int) -> str:
    # The field's habit: percent for accuracy and AUC, fractions for rankings.
    scale, digits = (1, 4) if task in ("ranking", "next-item", "cold-start") else (100, 2)
    mean, std = (f"{scale * value[part]:.{digits}f}" for part in ("mean", "std"))
    return f"{mean} ± {std}" if seeds > 1 else mean  # one seed has no spread


def readme_with_table(readme: str) -> str:
    """The README with its table replaced by what the configs say."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("run", type=Path)
    recorder.add_argument("config", type=Path)
    printer = commands.add_parser("table")
    printer.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.run, arguments.config)
    elif arguments.write:
        readme = ROOT / "README.md"
        readme.write_text(readme_with_table(readme.read_text()))
    else:
        print(table())


if __name__ == "__main__":
    main()
