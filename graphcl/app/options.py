"""What several commands of `graphcl` are given: names, paths, devices, services, columns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _path(given: str | Path) -> Path:
    # An empty name is a variable of the shell that is not set, and `Path` takes it for ".".
    if not str(given).strip():
        raise typer.BadParameter(f"it must be a path, '.' for the current folder (got {given!r})")
    return Path(given)


def run_folder(explanation: str) -> Any:
    """The argument RUN."""
    return typer.Argument(parser=_path, metavar="RUN", help=explanation)


def out_option(explanation: str, *names: str) -> Any:
    """The option --out, by `names` too."""
    return path_option(explanation, *names, "--out")


def path_option(explanation: str, *names: str) -> Any:
    """An option that takes a path."""
    return typer.Option(*names, parser=_path, metavar="<path>", help=explanation)


MethodName = Annotated[str, typer.Argument(help="A name from `graphcl list methods`.")]
DatasetName = Annotated[str, typer.Argument(help="A name from `graphcl data list`, or a path.")]
TaskName = Annotated[str | None, typer.Option(help="Default: the method's first task.")]
ProtocolName = Annotated[
    str | None, typer.Option(help="Default: the data set's own, or the task's first.")
]

DataRoot = Annotated[
    Path | None,
    path_option("Folder that holds data sets; default $GRAPHCL_DATA.", "--data-root"),
]
Device = Annotated[
    str,
    typer.Option(help="auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."),
]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="SERVICE", help="Log to tensorboard, mlflow or wandb too. Repeatable."),
]

UserColumn = Annotated[
    str | None, typer.Option("--user-col", help="The user column of a table of your own.")
]
ItemColumn = Annotated[str | None, typer.Option("--item-col", help="Its item column.")]
TimeColumn = Annotated[
    str | None, typer.Option("--time-col", help="Its time column; default: file order.")
]
RatingColumn = Annotated[
    str | None, typer.Option("--rating-col", help="Its rating column, if any.")
]

MovedDataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Name or path, where the data set is not where it was."),
]
