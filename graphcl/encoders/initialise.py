"""Filling a parameter with numbers that a generator on any device draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def initialise(
    parameter: Tensor,
    fill: Callable[..., Any],
    generator: torch.Generator | None,
    *arguments: float,
    **named: float,
) -> None:
    """`fill(parameter, *arguments, generator=generator, **named)`, a function of `torch.nn.init`.

    Drawn where the generator lives, then moved: a CPU generator begins alike on every device.
    """
    if generator is None or generator.device == parameter.device:
        fill(parameter, *arguments, generator=generator, **named)
        return
    with torch.no_grad():
        drawn = torch.empty_like(parameter, device=generator.device)
        fill(drawn, *arguments, generator=generator, **named)
        parameter.copy_(drawn)
