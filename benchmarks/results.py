"""Record measured results in configs, and print them as the README's table.

    python benchmarks/results.py record RUN CONFIG    # a run's result.json -> a config's `results:`
    python benchmarks/results.py table [--write]      # all `results:` -> table (into README.md)
    python benchmarks/results.py graph [--write]      # those of graphs -> graph_accuracy.md
    python benchmarks/results.py sequential [--write] # those of sequences -> sequential.md

A number in these files thus comes from a committed config, with protocol and seeds beside it;
`tests/test_readme.py` fails when they drift apart. `--cpu-seconds` records beside a result what the
whole run took, by `time`, its tests and baselines included.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
ALSO_RECORDED = {
    "next-item": ("hit@10-keep-seen", "ndcg@10-keep-seen", "hit@10-mask-seen", "ndcg@10-mask-seen")
}
"""Further ones that are recorded where a run has them."""

PER_SEED = {"next-item": ("hit@10", "ndcg@10", *ALSO_RECORDED["next-item"])}
"""Those whose values are recorded seed by seed, for gains over a backbone of the same seeds."""

STOPPED_WITH = {"leave-one-out": "masked", "leave-one-out-keep-seen": "kept"}
"""What the validation of a protocol, which stops the training, does with seen items."""

SEQUENTIAL = ROOT / "benchmarks" / "sequential.md"
GRAPH_ACCURACY = ROOT / "benchmarks" / "graph_accuracy.md"
START, END = "<!-- results -->", "<!-- end of results -->"


class Row(NamedTuple):
    """A line of a table."""

    name: str
    metrics: dict[str, Any]
    seeds: int
    seconds: str = ""
    published: str = ""
    link: str = ""
    kind: str = ""


def record(run: Path, config: Path, cpu_seconds: float | None = None) -> None:
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
    seeds = len(result["seeds"])
    entry = {
        "date": result["started"][:10],
        "seeds": seeds,
        "metrics": _rounded(result["metrics"], result["task"]),
        "baselines": {
            name: _rounded(baseline["metrics"], result["task"])
            for name, baseline in result["baselines"].items()
        },
        **_per_seed(result),
        **({} if cpu_seconds is None else {"cpu_seconds_a_seed": round(cpu_seconds / seeds)}),
        "dataset_hash": result["dataset"]["hash"],
        "versions": {key: result["versions"][key] for key in ("graphcl", "torch")},
        **({} if result.get("device", "cpu") == "cpu" else {"device": result["device"]}),
    }
    text = config.read_text()
    kept = text[: text.index("\nresults:") + 1] if "\nresults:" in text else text
    config.write_text(
        kept
        + yaml.safe_dump({"results": [entry]}, sort_keys=False, default_flow_style=None, width=99)
    )


def _per_seed(result: dict[str, Any]) -> dict[str, Any]:
    values = {
        name: [round(value, 5) for value in result["metrics"][name]["values"]]
        for name in PER_SEED.get(result["task"], ())
        if name in result["metrics"]
    }
    return {"per_seed": values} if values else {}


def _rounded(metrics: dict[str, Any], task: str) -> dict[str, dict[str, float]]:
    return {
        name: {part: round(metrics[name][part], 5) for part in ("mean", "std")}
        for name in (*SHOWN[task], *(one for one in ALSO_RECORDED.get(task, ()) if one in metrics))
    }


def table(folders: Sequence[str] = ("graph", "recsys"), *, up: str = "", cost: bool = False) -> str:
    """One line per method and baseline of every config that has results, by protocol.

    `up` leads from the file that the table is for to the root; `cost` adds a column.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for folder in folders:
        for path in sorted((ROOT / "configs" / folder).glob("*.yaml")):
            config = yaml.safe_load(path.read_text())
            for entry in config.get("results", []):
                key = (config["task"], config["dataset"], config["protocol"])
                rows = groups.setdefault(key, [])
                link = f"[config]({up}configs/{folder}/{path.name})"
                published = config.get("published", "")
                seconds = str(entry.get("cpu_seconds_a_seed", ""))
                kind = path.stem.removeprefix(f"{config['method']}_{config['dataset']}")
                rows.append(
                    Row(
                        config["method"], entry["metrics"], entry["seeds"], seconds, published,
                        link, kind.lstrip("_"),
                    )
                )  # fmt: skip
                for name, metrics in entry["baselines"].items():
                    # Every method of a group brings the same baselines; one line each.
                    if all(row.name != f"{name} (baseline)" for row in rows):
                        rows.append(Row(f"{name} (baseline)", metrics, entry["seeds"]))
    lines = []
    for (task, dataset, protocol), rows in groups.items():
        metrics = [name for name in SHOWN[task] if name in rows[0].metrics]
        columns = ["method", *metrics, "seeds", *(["CPU s a seed"] if cost else []), "published"]
        lines += [
            f"**{task} on {dataset}**, protocol `{protocol}`",
            "",
            f"| {' | '.join(columns)} | |",
            "|---|" + "---|" * len(columns),
        ]
        first = metrics[0]
        for row in sorted(
            rows, key=lambda row: ("baseline" in row.name, -row.metrics[first]["mean"])
        ):
            cells = [_cell(task, row.metrics[metric], row.seeds) for metric in metrics]
            cells += [str(row.seeds), *([row.seconds] if cost else []), row.published, row.link]
            lines.append(f"| {_name(row, rows)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def graph_table() -> str:
    """The table of `benchmarks/graph_accuracy.md`."""
    return table(["graph"], up="../", cost=True)


def sequential_table() -> str:
    """Sequence methods by data set: seen items masked and kept, and gains over SASRec.

    Of all configs that left one out and whose results were recorded seed by seed.
    """
    by_dataset: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((ROOT / "configs" / "recsys").glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        results = config.get("results")
        if config["protocol"] in STOPPED_WITH and results and "per_seed" in results[0]:
            config["stem"] = path.stem
            by_dataset.setdefault(config["dataset"], []).append(config)
    lines = []
    for dataset, configs in by_dataset.items():
        lines += [
            f"**{dataset}**", "",
            "| method | masked: hit@10 | ndcg@10 | less SASRec's | kept: hit@10 | ndcg@10 | "
            "less SASRec's | seeds | CPU s a seed | published | |",
            "|---|" + "---|" * 10,
        ]  # fmt: skip
        base = next((one for one in configs if one["stem"] == f"sasrec_{dataset}"), None)
        for config in sorted(configs, key=lambda one: -statistics.mean(_values(one, "masked"))):
            entry, cells = config["results"][0], []
            for seen in ("masked", "kept"):
                cells += [_spread(_values(config, seen, "hit@10")), _spread(_values(config, seen))]
                cells.append(_gain(config, base, seen) if base and config is not base else "")
            stopped = STOPPED_WITH[config["protocol"]]
            name = config["method"] + (" (stopped with seen kept)" if stopped == "kept" else "")
            cells += [
                str(entry["seeds"]), str(entry.get("cpu_seconds_a_seed", "")),
                config.get("published", ""), f"[config](../configs/recsys/{config['stem']}.yaml)",
            ]  # fmt: skip
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _values(config: dict[str, Any], seen: str, metric: str = "ndcg@10") -> list[float]:
    """Seed by seed, with seen items masked or kept."""
    other = {"masked": "-mask-seen", "kept": "-keep-seen"}[seen]
    ending = "" if seen == STOPPED_WITH[config["protocol"]] else other
    values: list[float] = config["results"][0]["per_seed"][metric + ending]
    return values


def _spread(values: Sequence[float], sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def _gain(config: dict[str, Any], base: dict[str, Any], seen: str) -> str:
    """The mean difference of ndcg@10 over the seeds, counted from 0, that both have.

    None between runs that stopped by different rules.
    """
    if config["protocol"] != base["protocol"]:
        return ""
    both = zip(_values(config, seen), _values(base, seen), strict=False)
    return _spread([one - other for one, other in both], "+")


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The method, and what sets its config apart where a table has several of the method."""
    several = sum(other.name == row.name for other in rows) > 1
    return f"{row.name} ({row.kind})" if several and row.kind else row.name


def _cell(task: str, value: dict[str, float], seeds: int) -> str:
    # The field's habit: percent for accuracy and AUC, fractions for rankings.
    scale, digits = (1, 4) if task in ("ranking", "next-item", "cold-start") else (100, 2)
    mean, std = (f"{scale * value[part]:.{digits}f}" for part in ("mean", "std"))
    return f"{mean} ± {std}" if seeds > 1 else mean  # one seed has no spread


def with_table(text: str, written: str) -> str:
    """A text with the table between its two marks replaced."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{written}{END}{after}"


TABLES = {
    "table": (ROOT / "README.md", table),
    "graph": (GRAPH_ACCURACY, graph_table),
    "sequential": (SEQUENTIAL, sequential_table),
}
"""Where each table stands, and what makes it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("run", type=Path)
    recorder.add_argument("config", type=Path)
    recorder.add_argument("--cpu-seconds", type=float)
    for name in TABLES:
        commands.add_parser(name).add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.run, arguments.config, arguments.cpu_seconds)
        return
    path, make = TABLES[arguments.command]
    if arguments.write:
        path.write_text(with_table(path.read_text(), make()))
    else:
        print(make())


if __name__ == "__main__":
    main()
