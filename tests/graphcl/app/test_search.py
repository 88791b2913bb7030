"""The ranges beside the fields of a `Config`, and what the command line may make of them."""

from __future__ import annotations

from typing import Literal

import optuna
import pytest

from graphcl.app.search import search_space
from graphcl.config import Config, tunable
from graphcl.errors import ConfigError, UnknownNameError


class Example(Config):
    epochs: int = tunable(10, low=5, high=50, log=True)
    rate: float = tunable(0.5, low=1e-3, high=1e-1, log=True)
    width: int = tunable(3, low=1, high=8)
    kind: Literal["a", "b"] = tunable("a", choices=["a", "b"])
    shape: tuple[int, ...] = tunable((4, 4), choices=[(4, 4), (8,)])
    name: str = "plain"


DEFAULTS = Example().model_dump()


def space(*wanted, fixed=(), settings=DEFAULTS):
    return search_space(Example, settings, fixed, wanted)


def test_every_field_with_a_range_but_the_budget_is_searched():
    assert list(space()) == ["rate", "width", "kind", "shape"]
    assert list(space(fixed=["rate", "kind"])) == ["width", "shape"]
    assert list(space("epochs")) == ["epochs"]


def test_a_range_is_widened_to_the_value_that_the_search_starts_from():
    assert 0.5 in space()["rate"]
    assert (space()["rate"].low, space()["rate"].high) == (1e-3, 0.5)
    assert space(settings={**DEFAULTS, "kind": "c"})["kind"].choices == ("a", "b", "c")
    # Zero has no place on a logarithmic scale.
    assert 0.0 not in space(settings={**DEFAULTS, "rate": 0.0})["rate"]


def test_ranges_from_the_command_line():
    found = space("rate=0.2..0.9", "width=[2, 3]", "epochs=3..30")
    assert (found["rate"].low, found["rate"].high, found["rate"].log) == (0.2, 0.9, True)
    assert found["width"].choices == (2, 3)
    assert (found["epochs"].low, found["epochs"].whole) == (3, True)
    assert space("name=[x, y]")["name"].choices == ("x", "y", "plain")


def test_suggestions_have_the_type_of_the_field_and_lie_inside():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = space("epochs", "rate", "width", "kind", "shape")
    for _ in range(30):
        trial = study.ask()
        values = {name: each.suggest(trial) for name, each in found.items()}
        config = Example.model_validate(values)
        assert type(values["epochs"]) is int
        assert config.shape in ((4, 4), (8,))
        assert all(values[name] in each for name, each in found.items())


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("rates", ["'rates'", "'rate'"]),
        ("name", ["'name'", "no range"]),
        ("rate=3..1", ["LOW below HIGH", "3..1"]),
        ("rate=a..b", ["a..b"]),
        ("rate=5", ["rate=5"]),
        ("rate=[]", ["rate=[]"]),
        ("kind", ["both fixed"]),
    ],
)
def test_a_bad_range_is_one_sentence(wanted, words):
    with pytest.raises(ConfigError) as raised:
        space(wanted, fixed=["kind"])
    for word in words:
        assert word in str(raised.value)
    if wanted == "rates":
        assert isinstance(raised.value, UnknownNameError)


def test_nothing_to_search_is_refused():
    with pytest.raises(ConfigError, match="nothing to search"):
        space(fixed=["rate", "width", "kind", "shape"])


def test_the_default_of_every_method_lies_in_its_own_ranges():
    """So that a search that starts from the defaults begins with them unchanged."""
    from graphcl.app.catalogue import load_class, method_table

    for name in method_table():
        config = load_class("method", name, method_table()).Config
        if name == "popularity" or not any(
            isinstance(f.json_schema_extra, dict) for f in config.model_fields.values()
        ):
            continue
        settings = config().model_dump()
        found = search_space(config, settings)
        assert all(settings[key] in each for key, each in found.items()), name
