"""Set up and run RecBole with one of our methods."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcl.app.catalogue import load_class, method_table
from graphcl.config import configure, read_yaml
from graphcl.data import card_names
from graphcl.errors import ConfigError, MissingDataError, nearest, unknown_name
from recsys.data.atomic import write_recbole
from recsys.data.interactions import Interactions
from recsys.data.load import load_interactions
from recsys.methods.contract import Recommender
from recsys.methods.sequential import SequentialRecommender
from recsys.recbole.environment import recbole_environment

SHARED_NAMES = {"train_batch_size": "batch_size", "MAX_ITEM_LIST_LENGTH": "max_length"}
"""RecBole's names of settings that our methods have under another one."""
WRITTEN = "interactions"
"""What a log of our own is called among RecBole's data sets."""


@dataclass(frozen=True)
class Prepared:
    """What RecBole's `quick_start` makes before it trains; use it inside `recbole_environment`."""

    config: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    trainer: Any


def recbole_run(
    model: str,
    dataset: str | Interactions,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train one of our methods in RecBole, choose by validation, and test: `run_recbole`'s job.

    Args:
        model: the name of a method, in any spelling: `LightGCL`, `lightgcl`, `SASRec`,
            `semantic-item-graph`. Where RecBole has a model of that name, ours is run.
        dataset: `ml-100k` (inside RecBole's package), a folder of atomic files under `data_path`,
            the name of one of our data sets, or a log.
        config_file_list: YAML files with RecBole's parameters and the method's settings; later
            ones win.
        config_dict: the same; wins over files. Keys that neither RecBole nor the method has are
            errors. The method's defaults stand in for RecBole's own `epochs`, `learning_rate`,
            `weight_decay` and `train_batch_size`. Without `checkpoint_dir` the checkpoints are
            gone when the call returns. Values are taken as they are: `"[10, 20]"` is a text.

    Returns:
        `best_valid_score`, `valid_score_bigger`, `best_valid_result` and `test_result`, as
        RecBole's `run_recbole`. The test is of the best model by validation.

    Raises:
        UnknownNameError, ConfigError: RecBole is not installed, or there is no such method or
            setting, or a value is out of range.
        MissingDataError: there is no such data set; nothing is downloaded.
        DataError: the data does not suit the method.
        NonFiniteError: the loss is not finite.
    """
    with recbole_environment(), tempfile.TemporaryDirectory() as folder:
        prepared = prepare(model, dataset, config_file_list, config_dict, folder=Path(folder))
        trainer, shown = prepared.trainer, prepared.config["show_progress"]
        best_score, best_result = trainer.fit(
            prepared.train_data, prepared.valid_data, verbose=False, show_progress=shown
        )
        return {
            "best_valid_score": best_score,
            "valid_score_bigger": prepared.config["valid_metric_bigger"],
            "best_valid_result": best_result,
            "test_result": trainer.evaluate(prepared.test_data, show_progress=shown),
        }


def prepare(
    model: str,
    dataset: str | Interactions,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    folder: Path,
) -> Prepared:
    """Everything of `recbole_run` up to the training; call it inside `recbole_environment`.

    Args:
        model, dataset, config_file_list, config_dict: as there.
        folder: where checkpoints go unless `checkpoint_dir` is set, and where a log is written.
    """
    from recbole.config import Config
    from recbole.data.utils import create_samplers, get_dataloader
    from recbole.utils import init_seed

    method_class = find_method(model)
    given: dict[str, Any] = {}
    for path in config_file_list or ():
        given |= read_yaml(Path(path))
    given |= config_dict or {}
    settings = method_settings(method_class, given)
    place, columns = _place(dataset, given, folder)
    model_class = _model_class(method_class, settings)
    config = Config(
        model=model_class,
        dataset=place.name,
        config_dict={
            "show_progress": False,
            "checkpoint_dir": str(folder / "saved"),
            **_shared(settings),
            **columns,
            **{key: value for key, value in given.items() if key != "data_path"},
            "data_path": str(place.parent),
        },
    )
    _check_names(given, method_class, config)
    init_seed(config["seed"], config["reproducibility"])
    # RecBole's own functions for these two would load whatever pickle lies in checkpoint_dir.
    whole = _dataset_class(method_class)(config)
    parts = whole.build()
    train, valid, test = (
        get_dataloader(config, phase)(config, part, sampler, shuffle=shuffle)
        for phase, part, sampler, shuffle in zip(
            ("train", "valid", "test"),
            parts,
            create_samplers(config, whole, parts),
            (config["shuffle"], False, False),
            strict=True,
        )
    )
    from recsys.recbole.trainer import BridgedTrainer

    init_seed(config["seed"], config["reproducibility"])
    built = model_class(config, parts[0]).to(config["device"])
    return Prepared(config, whole, train, valid, test, built, BridgedTrainer(config, built))


def find_method(model: str) -> type[Recommender]:
    """The class of a recommender by its name in any spelling.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
        ConfigError: it is a method for graphs.
    """
    table = method_table()
    plain = {_plain(name): name for name in table}
    if _plain(model) not in plain:
        guess = nearest(_plain(model), plain)
        raise unknown_name("method", plain[guess] if guess else model, table) from None
    name = plain[_plain(model)]
    method_class = load_class("method", name, table)
    if not issubclass(method_class, Recommender):
        raise ConfigError(f"'{name}' is no recommender, so RecBole has no use for it")
    return method_class


def method_settings(method_class: type[Recommender], given: Mapping[str, Any]) -> Any:
    """The method's settings out of a RecBole configuration; see `SHARED_NAMES`."""
    fields = method_class.Config.model_fields
    own = {key: value for key, value in given.items() if key in fields}
    for theirs, ours in SHARED_NAMES.items():
        if theirs in given and ours in fields and ours not in own:
            own[ours] = given[theirs]
    return configure(method_class.Config, own)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _shared(settings: Any) -> dict[str, Any]:
    """The method's settings that RecBole's trainer and loaders read as well."""
    values = settings.model_dump()
    shared = {key: values[key] for key in ("epochs", "learning_rate", "weight_decay")}
    # A method without epochs has nothing to learn, but RecBole's trainer counts from one.
    shared["epochs"] = max(1, shared["epochs"])
    for theirs, ours in SHARED_NAMES.items():
        if ours in values:
            shared[theirs] = values[ours]
    return shared


def _place(
    dataset: str | Interactions, given: Mapping[str, Any], folder: Path
) -> tuple[Path, dict[str, Any]]:
    """The folder of atomic files, and which of their columns to load where we wrote them."""
    if isinstance(dataset, str):
        if dataset == "ml-100k":
            return Path("dataset") / dataset, {}
        place = Path(given.get("data_path", "dataset")) / dataset
        if (place / f"{dataset}.inter").is_file():
            return place, {}
        if dataset not in card_names():
            raise MissingDataError(
                f"there is no '{place / f'{dataset}.inter'}', and no data set of ours called "
                f"'{dataset}'; nothing is downloaded"
            )
        dataset = load_interactions(dataset)
    place = folder / WRITTEN
    write_recbole(dataset, place, WRITTEN)
    columns = ["user_id", "item_id"]
    columns += ["rating"] if dataset.ratings is not None else []
    columns += ["timestamp"] if dataset.times is not None else []
    load = {"inter": columns}
    if dataset.user_features:
        load["user"] = ["user_id", *dataset.user_features]
    if dataset.item_features:
        load["item"] = ["item_id", *dataset.item_features]
    return place, {"load_col": load}


def _is_sequential(method_class: type[Recommender]) -> bool:
    return issubclass(method_class, SequentialRecommender)


def _model_class(method_class: type[Recommender], settings: Any) -> type[Any]:
    """A RecBole model class of the method's name, as RecBole makes models from classes only."""
    from recsys.recbole.model import BridgedGeneral, BridgedSequential

    base = BridgedSequential if _is_sequential(method_class) else BridgedGeneral
    return type(
        method_class.__name__, (base,), {"method_class": method_class, "settings": settings}
    )


def _dataset_class(method_class: type[Recommender]) -> type[Any]:
    from recbole.data.dataset import Dataset, SequentialDataset

    chosen: type[Any] = SequentialDataset if _is_sequential(method_class) else Dataset
    return chosen


def _check_names(given: Mapping[str, Any], method_class: type[Recommender], config: Any) -> None:
    """Refuse keys that mean nothing: RecBole itself would ignore a misspelt one."""
    known = {name for names in config.parameters.values() for name in names}
    known |= set(config.internal_config_dict) | set(method_class.Config.model_fields)
    for key in given:
        if key not in known:
            raise unknown_name("setting", key, known)
