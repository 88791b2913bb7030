"""The ranges beside the fields of a `Config`, and what the command line may make of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import optuna
import pytest
from pydantic import Field

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
    flag: bool = True
    share: float | None = Field(None, ge=0, le=1)
    count: Annotated[int, Field(ge=1)] | None = None
    nested: dict[str, Any] = Field(default_factory=dict)


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
    assert space("name=[x, y]")["name"].choices == ("x", "y")
    assert space("shape=[[4, 4], [8]]")["shape"].choices == ((4, 4), (8,))
    assert space("share=0..1")["share"].whole is False
    assert space("count=1..3")["count"].whole is True


@pytest.mark.parametrize(
    ("wanted", "ends", "start"),
    [
        ("rate=0.001..0.01", (0.001, 0.01), 0.01),
        ("rate=0.6..0.9", (0.6, 0.9), 0.6),
        ("width=5..8", (5, 8), 5),
        ("count=2..4", (2, 4), 2),
    ],
)
def test_limits_that_were_given_are_not_widened_to_the_start(wanted, ends, start):
    (found,) = space(wanted).values()
    assert (found.low, found.high) == ends
    first = found.nearest(DEFAULTS[found.name])
    assert first == start
    assert type(first) is type(start)
    assert first in found


def test_choices_that_were_given_are_not_widened_either():
    found = space("width=[5, 6]")["width"]
    assert found.choices == (5, 6)
    assert (found.nearest(3), found.nearest(6)) == (5, 6)


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
        ("name=1..3", ["'name' is no number", "name=1..3", "name=[A, B]"]),
        ("flag=0..1", ["'flag' is no number", "flag=[A, B]"]),
        ("shape=1..2", ["'shape' is no number"]),
        ("rate=0.1..inf", ["finite", "0.1..inf"]),
        ("rate=-1e308..1e308", ["finite"]),
        ("rate=0.1..nan", ["LOW below HIGH"]),
        ("rate=1..2..3", ["LOW below HIGH"]),
        ("rate=2020-01-01..2021-01-01", ["LOW below HIGH"]),
        ("rate=[2020-01-01]", ["'rate'", "2020, 1, 1", "valid number"]),
        ("name=[2020-01-01]", ["'name'", "2020, 1, 1", "valid string"]),
        ("nested=[{a: 2020-01-01}]", ["'nested'", "finite numbers, words"]),
        ("rate=[.inf]", ["'rate'", "got inf", "finite"]),
        ("nested=[{a: [.nan]}]", ["'nested'", "finite"]),
        ("width=1.5..3", ["'width' is a whole number", "1.5..3"]),
        ("width=1..1e30", ["'width' is a whole number", "2^53"]),
        ("count=0..5", ["'count'", "got 0", "greater than or equal to 1"]),
        ("count=[0]", ["'count'", "got 0", "greater than or equal to 1"]),
        ("share=0..2", ["'share'", "got 2.0", "less than or equal to 1"]),
        ("width=[a]", ["'width'", "got 'a'", "valid integer"]),
        ("kind=[a, c]", ["'kind'", "got 'c'", "'a' or 'b'"]),
        ("width=[", ["--search takes", "width=["]),
    ],
)
def test_a_bad_range_is_one_sentence(wanted, words):
    with pytest.raises(ConfigError) as raised:
        space(wanted, fixed=["kind"] if wanted == "kind" else [])
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
