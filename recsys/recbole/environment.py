"""What RecBole 1.2.1 needs to run on a current stack, for as long as a `with` block lasts.

RecBole assigns numpy aliases that numpy 2 no longer has, reads `sys.argv`, evaluates strings of a
configuration as Python code, extends yaml's loader, sets `CUDA_VISIBLE_DEVICES`, seeds every global
generator, opens a TensorBoard log in the working directory, and importing one of its sequential
models switches on autograd's anomaly detection. None of that outlives the block.
"""

from __future__ import annotations

import os
import random
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import yaml

from graphcl.errors import ConfigError

NUMPY_NAMES = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}
"""Names that numpy 2 dropped and RecBole's configuration reads."""
NUMPY_ALIASES = ("bool", "int", "float", "complex", "object", "str", "long", "unicode")
"""Names that RecBole's configuration sets on numpy."""


class SilentWriter:
    """Stands where RecBole would open a TensorBoard log: any call does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **settings: None


@contextmanager
def recbole_environment() -> Iterator[None]:
    """RecBole can be imported and used inside; everything it changes globally is put back.

    Raises:
        ConfigError: RecBole, or something it imports, is not installed.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Its notices about pandas and torch are for its authors.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
        stack.enter_context(_numpy_names())
        stack.enter_context(_replaced(sys, "argv", sys.argv[:1] or ["recbole"]))
        stack.enter_context(_environment_variables())
        stack.enter_context(_random_states())
        stack.enter_context(_torch_switches())
        stack.enter_context(_yaml_resolvers())
        if find_spec("tensorboard") is None:
            stack.enter_context(_no_tensorboard())
        try:
            import recbole.config.configurator as configurator
            import recbole.trainer.trainer as trainer
        except ImportError as error:
            raise ConfigError(
                f"RecBole cannot be imported ({error}); install it with the extra, pip install "
                "'graphcl[recbole]', on Python 3.11 (for later ones it has no requirement ray)"
            ) from None
        stack.enter_context(
            # The values of a configuration are taken as they are, never run as code.
            _replaced(configurator.Config, "_convert_config_dict", lambda self, values: values)
        )
        stack.enter_context(_replaced(trainer, "get_tensorboard", lambda logger: SilentWriter()))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _environment_variables() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _no_tensorboard() -> Iterator[None]:
    """RecBole imports TensorBoard's writer whether it is used or not."""
    name = "torch.utils.tensorboard"
    absent = types.ModuleType(name)
    absent.SummaryWriter = SilentWriter  # type: ignore[attr-defined]
    sys.modules[name] = absent
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _numpy_names() -> Iterator[None]:
    missing = object()
    names = (*NUMPY_NAMES, *NUMPY_ALIASES)
    before = {name: np.__dict__.get(name, missing) for name in names}
    for name, value in NUMPY_NAMES.items():
        if before[name] is missing:
            setattr(np, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not missing:
                setattr(np, name, value)
            elif name in np.__dict__:
                delattr(np, name)


@contextmanager
def _random_states() -> Iterator[None]:
    # RecBole draws from numpy's global generator.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _torch_switches() -> Iterator[None]:
    anomaly = torch.is_anomaly_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(anomaly)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


@contextmanager
def _yaml_resolvers() -> Iterator[None]:
    loader = yaml.FullLoader
    own = loader.__dict__.get("yaml_implicit_resolvers")
    # Copied, since RecBole appends to the lists in place.
    loader.yaml_implicit_resolvers = {
        key: list(values) for key, values in loader.yaml_implicit_resolvers.items()
    }
    try:
        yield
    finally:
        if own is None:
            del loader.yaml_implicit_resolvers
        else:
            loader.yaml_implicit_resolvers = own
