"""A slowly moving copy of a module: the target network of BYOL and BGRL."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError


class MovingAverage(nn.Module):
    r"""A copy of a module whose parameters follow the original's as a moving average.

    .. math:: \xi \leftarrow m\, \xi + (1 - m)\, \theta

    Grill et al. 2020, BYOL, arXiv 2006.07733. The copy's parameters are buffers: they are
    saved with the model but no optimiser finds them and no gradient reaches them.

    Args:
        module: the original; copied, not kept.
        reset: call `reset_parameters(generator)` of the copy, so that it starts elsewhere.
        generator: source of that start; None is torch's global one.
    """

    def __init__(
        self, module: nn.Module, *, reset: bool = False, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)
        if reset:
            start: Any = self.module
            start.reset_parameters(generator)
        for part in self.module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                delattr(part, name)
                part.register_buffer(name, parameter.detach().clone())

    @torch.no_grad()
    def update(self, module: nn.Module, momentum: float) -> None:
        """Move towards `module` by 1 - momentum, in [0, 1]. Its own buffers are left out.

        Raises:
            ArgumentError: momentum outside [0, 1], or a module with other parameters.
        """
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"momentum must lie in [0, 1]; got {momentum}")
        own = dict(self.module.named_buffers())
        for name, parameter in module.named_parameters():
            if name not in own or own[name].shape != parameter.shape:
                raise ArgumentError(f"the module's parameter '{name}' has no twin in the copy")
            own[name].lerp_(parameter, 1 - momentum)

    @torch.no_grad()
    def forward(self, *arguments: Any, **settings: Any) -> Tensor:
        """The copy's output, without gradient."""
        output: Tensor = self.module(*arguments, **settings)
        return output
