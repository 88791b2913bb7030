"""The commands of `graphcl`: their arguments and help. What they do is in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphcl.app.options import (
    DataRoot,
    DatasetName,
    Device,
    ItemColumn,
    MethodName,
    MovedDataset,
    ProtocolName,
    RatingColumn,
    TaskName,
    TimeColumn,
    Track,
    UserColumn,
    out_option,
    path_option,
    run_folder,
)

app = typer.Typer(
    help="Contrastive learning on graphs and for recommendation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="List, fetch and check data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.callback()
def _debug(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Documents --debug, which `graphcl.app.main` reads itself wherever it stands."""


@app.command()
def run(
    method: MethodName,
    dataset: DatasetName,
    task: TaskName = None,
    protocol: ProtocolName = None,
    config: Annotated[
        Path | None,
        path_option("YAML file; sets task, protocol and seeds as well.", "--config"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Repeatable.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Run seeds 0..N-1.")] = None,
    out: Annotated[Path | None, out_option("Default: runs/METHOD_DATASET.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Save the first seed's embeddings.")
    ] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds between two checkpoints.")
    ] = 10.0,
    device: Device = "auto",
    track: Track = None,
    data_root: DataRoot = None,
    user_col: UserColumn = None,
    item_col: ItemColumn = None,
    time_col: TimeColumn = None,
    rating_col: RatingColumn = None,
) -> None:
    """Train METHOD on DATASET, test it once per seed, and write a run folder."""
    from rich.console import Console

    from graphcl.app.settings import specify
    from graphcl.train.processes import joined

    with joined() as processes:
        specification = specify(
            method, dataset, task=task, protocol=protocol, config=config,
            overrides=settings or (), seeds=seeds,
            columns={"user": user_col, "item": item_col, "time": time_col, "rating": rating_col},
        )  # fmt: skip

        from graphcl.app.folder import RunFolder, choose_folder
        from graphcl.app.progress import ProgressDisplay
        from graphcl.app.run import run as run_specification
        from graphcl.app.tables import print_comparison
        from graphcl.app.tracking import tracking

        services = tracking(track or (), _warn)
        console = Console(quiet=not processes.first)
        folder = RunFolder(
            processes.from_first(lambda: out or choose_folder(method, dataset, resume))
        )
        if specification.settings_file and not config:
            console.print(f"settings: {specification.settings_file}", highlight=False)
        run_specification(
            specification,
            folder,
            ProgressDisplay(console, f"{method} on {Path(dataset).name}"),
            resume=resume,
            data_root=data_root,
            save_embeddings=embeddings,
            checkpoint_seconds=checkpoint_seconds,
            tracking=services,
            processes=processes,
            device=device,
        )
        if processes.first:
            print_comparison(console, [folder.path])
            console.print(f"result: {folder.result}", highlight=False)


@app.command()
def tune(
    method: MethodName,
    dataset: DatasetName,
    task: TaskName = None,
    protocol: ProtocolName = None,
    config: Annotated[
        Path | None,
        path_option("YAML file to start from; sets task and protocol as well.", "--config"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Fixed, not searched. Repeatable."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[=LOW..HIGH|=[A, B]]",
            help="Search these settings only, inside these limits. Repeatable. "
            "Default: all with a range but epochs.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials of all workers; default 50, with --timeout no limit."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which no trial is begun.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of a trial; it counts their mean.")] = 1,
    study: Annotated[
        str | None, typer.Option(help="Name of the study; default METHOD_DATASET_TASK.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Database URL, .db file or .journal file; default OUT/study.db."),
    ] = None,
    out: Annotated[Path | None, out_option("Default: runs/tune/STUDY.")] = None,
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs before pruning; default a third of them, at least 20."),
    ] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    heartbeat: Annotated[
        int, typer.Option(min=1, help="Seconds between a worker's signs of life.")
    ] = 30,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Test the chosen settings once, at the end.")
    ] = True,
    device: Device = "auto",
    track: Track = None,
    data_root: DataRoot = None,
    user_col: UserColumn = None,
    item_col: ItemColumn = None,
    time_col: TimeColumn = None,
    rating_col: RatingColumn = None,
) -> None:
    """Search METHOD's settings on DATASET by validation, then test the chosen ones once.

    The same command, given again or on another machine, joins the study or goes on with it.
    """
    from graphcl.app.tracking import tracking
    from graphcl.app.tuning import tune as tune_method

    tune_method(
        method, dataset, task=task, protocol=protocol, config=config, overrides=settings or (),
        search=search or (), trials=trials, timeout=timeout, seeds=seeds, study=study,
        storage=storage, out=out, warmup=warmup, sampler_seed=sampler_seed,
        heartbeat=heartbeat, test=test, services=tracking(track or (), _warn),
        data_root=data_root,
        columns={"user": user_col, "item": item_col, "time": time_col, "rating": rating_col},
        device=device,
    )  # fmt: skip


@app.command("list")
def list_names(
    kind: Annotated[
        str | None, typer.Argument(help="methods, views, losses, tasks or datasets")
    ] = None,
) -> None:
    """List what there is, one line each."""
    from graphcl.app.tables import print_listing

    print_listing(kind)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A method, view, loss, task or data set.")],
) -> None:
    """Explain one name: its paper, equations, settings and search ranges."""
    from graphcl.app.show import show as show_name

    show_name(name)


@app.command()
def report(
    runs: Annotated[list[Path], run_folder("Run folders, and OUT folders of `graphcl tune`.")],
    out: Annotated[Path, out_option("The page to write.", "-o")] = Path("report.html"),
    storage: Annotated[
        str | None,
        typer.Option(help="URL of the database, where a server keeps the studies."),
    ] = None,
) -> None:
    """Compare runs in one table and write one self-contained HTML page."""
    from rich.console import Console

    from graphcl.app.tables import print_comparison
    from graphcl.report import write_report

    console = Console()
    print_comparison(console, runs)
    console.print(f"report: {write_report(runs, out, storage)}", highlight=False)


@app.command()
def export(
    run: Annotated[Path, run_folder("The folder of a finished run.")],
    out: Annotated[Path | None, out_option("A new folder; default exports/RUN.", "-o")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the run's first.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="Of the vectors: parquet, npz or both (default)."),
    ] = None,
    index: Annotated[
        bool | None,
        typer.Option(
            "--faiss/--no-faiss", help="Index of the items; default: where faiss is installed."
        ),
    ] = None,
    encoder: Annotated[
        bool, typer.Option("--encoder/--no-encoder", help="The encoder by torch.export.")
    ] = True,
    dataset: MovedDataset = None,
    data_root: DataRoot = None,
) -> None:
    """Write vectors with your own ids, weights, encoder, index and a model card of RUN."""
    from graphcl.app.serving import print_export

    print_export(
        run, out, seed=seed, formats=formats or ("both",), index=index, encoder=encoder,
        dataset=dataset, data_root=data_root,
    )  # fmt: skip


@app.command()
def recommend(
    run: Annotated[Path, run_folder("The folder of a finished run, or an export of one.")],
    users: Annotated[
        list[str] | None, typer.Option("--user", help="An id of the data set. Repeatable.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(help='For a newcomer: "id,id,...", oldest first; quote an id with a comma.'),
    ] = None,
    similar_to: Annotated[
        list[str] | None, typer.Option("--similar-to", help="An item id or title. Repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Items a list.")] = 10,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Recommend what was taken already, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a row.")] = False,
    seed: Annotated[int | None, typer.Option(help="Default: the run's first.")] = None,
    dataset: MovedDataset = None,
    data_root: DataRoot = None,
) -> None:
    """Recommend items: to a user, to a newcomer with a history, or by likeness to an item."""
    from graphcl.app.serving import print_recommendations

    print_recommendations(
        run, users=users or (), history=history, similar_to=similar_to or (), k=k,
        keep_seen=keep_seen, as_json=as_json, seed=seed, dataset=dataset, data_root=data_root,
    )  # fmt: skip


@data_app.command("list")
def data_list() -> None:
    """List the data sets and whether they are on this machine."""
    from graphcl.app.tables import print_listing

    print_listing("datasets")


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="Data sets to fetch.")],
    data_root: DataRoot = None,
    download: Annotated[
        bool, typer.Option("--download", help="Allow the official address as the last resort.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace cached files.")] = False,
) -> None:
    """Bring data sets into the cache and verify them."""
    from graphcl.app.data import fetch_datasets

    fetch_datasets(names, data_root, download, force)


@data_app.command("check")
def data_check(
    names: Annotated[list[str], typer.Argument(help="Data sets to check.")],
    data_root: DataRoot = None,
) -> None:
    """Verify checksums and statistics of data sets against their cards."""
    from graphcl.app.data import check_datasets

    check_datasets(names, data_root)


def _warn(sentence: str) -> None:
    typer.secho(f"warning: {sentence}", err=True, fg="yellow")
