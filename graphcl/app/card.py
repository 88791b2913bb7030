"""The model card of an exported run: what it is, what it was measured on, how to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphcl.app.environment import versions
from graphcl.app.load import LoadedRun
from graphcl.data import card_names, load_card
from graphcl.evaluate.contract import VectorTable
from graphcl.report.read import Metric


@dataclass(frozen=True)
class CardContent:
    """What a card tells."""

    loaded: LoadedRun
    tables: Mapping[str, VectorTable]
    files: Mapping[str, str]
    left_out: Sequence[str]
    name: str
    """Of the exported folder."""


def model_card(content: CardContent) -> str:
    """The card in Markdown."""
    result = content.loaded.result
    sections = {
        f"{result.method} on {result.dataset['name']}": _summary(content),
        "Files": _files(content),
        "Load it": _loading(content),
        "Data set": _data_set(content.loaded),
        "Protocol and metrics": _metrics(content.loaded),
        "Limitations": _limitations(content),
        "Versions": _versions(content.loaded),
    }
    (title, summary), *others = sections.items()
    parts = [f"# {title}", summary, *(f"## {heading}\n\n{text}" for heading, text in others)]
    return "\n\n".join(parts) + "\n"


def _summary(content: CardContent) -> str:
    result, method_class = content.loaded.result, content.loaded.specification.method_class
    described = (method_class.__doc__ or "").partition("\n")[0].strip()
    return (
        f"{described} Trained for the task {result.task} with graphcl, by\n\n"
        f"    {result.command}\n\n"
        f"These are the weights of seed {content.loaded.seed}, the ones that were tested."
    )


def _files(content: CardContent) -> str:
    rows = [f"| `{name}` | {_cell(holds)} |" for name, holds in content.files.items()]
    meanings = [f"{name.capitalize()}: {table.meaning}" for name, table in content.tables.items()]
    return "\n\n".join(
        ["\n".join(["| file | holds |", "|---|---|", *rows]), *meanings, *content.left_out]
    )


def _loading(content: CardContent) -> str:
    folder, tables, files = content.name, content.tables, content.files
    first = next(iter(tables.values()), None)
    use = "embeddings = loaded.embed()  # (n, d)"
    if "items" in tables:
        use = f"table = loaded.recommendations.for_newcomers([[{first_id(tables['items'])}]], k=10)"
    if "users" in tables:
        use = f"table = loaded.recommendations.for_users([{first_id(tables['users'])}], k=10)"
    blocks = [
        "With graphcl, which needs the data set again (a method is built on it, and data of "
        "another content are refused). Loading runs no code of this folder.",
        f'```python\nimport graphcl\n\nloaded = graphcl.load_run("{folder}")\n{use}\n```',
    ]
    if first is not None and any(name.endswith(".npz") for name in files):
        name = next(iter(tables))
        blocks += [
            "Without it, the vectors alone:",
            f'```python\nimport numpy\n\n{name} = numpy.load("{folder}/{name}.npz")\n'
            f'vectors = dict(zip({name}["id"], {name}["vector"]))\n```',
        ]
    if "encoder.pt2" in files:
        blocks += [
            "The encoder alone (a .pt2 file is a program: load one only from somebody you trust):",
            "```python\nimport torch\n\n"
            f'encoder = torch.export.load("{folder}/encoder.pt2").module()\n```',
        ]
    return "\n\n".join(blocks)


def first_id(table: VectorTable) -> str:
    """The first id as Python writes it."""
    return repr(table.ids[:1].tolist()[0]) if len(table.ids) else "..."


def _data_set(loaded: LoadedRun) -> str:
    described, name = loaded.result.dataset, loaded.specification.dataset
    sizes = [f"{described[key]} {key}" for key in described if key not in ("name", "hash")]
    lines = [f"`{described['name']}`: {', '.join(sizes)}; content sha256 `{described['hash']}`."]
    if name in card_names():
        card = load_card(name)
        lines = [
            f"{card.title}. {card.description}",
            *lines,
            f"Source: {card.homepage}",
            f"Citation: {card.citation}",
            f"Licence of the data: {card.licence}",
        ]
    else:
        kind = "folder" if Path(name).is_dir() else "file"
        lines.append(f"Licence of the data: not known; it is a {kind} of the person who trained.")
    return "\n\n".join(lines)


def _metrics(loaded: LoadedRun) -> str:
    result = loaded.result
    shown = result.headline or list(result.metrics)
    names = [name for name in shown if name in result.metrics]
    rows = [f"| {result.method} | {' | '.join(_number(result.metrics[n]) for n in names)} |"]
    for baseline, measured in result.baselines.items():
        cells = (_number(measured.metrics[n]) if n in measured.metrics else "" for n in names)
        rows.append(f"| {baseline} (baseline) | {' | '.join(cells)} |")
    facts = [f"- {key}: {_cell(value)}" for key, value in result.protocol.items()]
    seeds = ", ".join(map(str, result.seeds))
    over = (
        f"Mean and standard deviation over the seeds {seeds}"
        if len(result.seeds) > 1
        else f"One seed ({seeds}), so there is no spread"
    )
    table = [f"| test | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", *rows]
    this = result.seeds.index(loaded.seed) if loaded.seed in result.seeds else None
    own = [
        f"{name} {result.metrics[name].values[this]:.4f}"
        for name in names
        if this is not None and this < len(result.metrics[name].values)
    ]
    return "\n\n".join(
        [
            f"Protocol `{result.protocol['name']}`. {over}; the test part was opened once for "
            "each seed and chose nothing."
            + (f" These weights (seed {loaded.seed}): {', '.join(own)}." if own else ""),
            "\n".join(table),
            "\n".join(facts),
        ]
    )


def _limitations(content: CardContent) -> str:
    lines = [
        "- The numbers hold for this data set, split and protocol; published tables that use "
        "others cannot be compared with them.",
        "- Nothing was checked but these metrics: neither how the method treats groups of people "
        "or things, nor how it ages.",
    ]
    if "items" in content.tables:
        lines += [
            "- It knows the users and items of its data only. For somebody else, recommend from "
            "a short history (`recommendations.for_newcomers`); a new item needs a new training.",
            "- What was popular or shown often in the data is learned as liked.",
        ]
    elif content.tables:
        lines.append(
            "- The vectors are of the nodes of this graph, with the edges that training saw; "
            "another graph needs the encoder, or a new training."
        )
    return "\n".join(lines)


def _versions(loaded: LoadedRun) -> str:
    trained, now = loaded.result.versions, versions()
    rows = [
        f"| {name} | {trained.get(name, '')} | {now.get(name, '')} |" for name in {**trained, **now}
    ]
    table = "\n".join(["| | trained with | exported with |", "|---|---|---|", *rows])
    device = loaded.result.device
    return f"Trained on {device}.\n\n{table}" if device else table


def _number(metric: Metric) -> str:
    if metric.mean is None:
        return ""
    spread = "" if metric.std is None or len(metric.values) < 2 else f" ± {metric.std:.4f}"
    return f"{metric.mean:.4f}{spread}"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
