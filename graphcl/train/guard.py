"""Stops training at the first loss part or gradient that is not finite, and names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from graphcl.errors import NonFiniteArgumentError, NonFiniteError


def check_losses(parts: Mapping[str, Tensor], epoch: int, step: int) -> None:
    """Raise `NonFiniteError` naming the first part of the loss that is NaN or infinite."""
    # One answer for all parts: on a GPU every answer is waited for.
    device = next(iter(parts.values())).device
    finite = [torch.isfinite(value.detach()).all().to(device) for value in parts.values()]
    if bool(torch.stack(finite).all()):
        return
    # Parts before `total`: the total is non-finite whenever a part is, and says less.
    for name in sorted(parts, key=lambda part: part == "total"):
        value = parts[name].detach()
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteError(
                f"loss part '{name}' is {value.item() if value.numel() == 1 else 'not finite'} "
                f"at epoch {epoch}, step {step}"
            )


def located(error: NonFiniteError, epoch: int, step: int) -> NonFiniteError:
    """The error with the epoch and step where it happened, if it does not name them itself.

    An operator that refuses what it was given knows its argument, but not the step.
    """
    if isinstance(error, NonFiniteArgumentError):
        return NonFiniteError(f"{error}, at epoch {epoch}, step {step}")
    return error


def check_gradients(parameters: Iterable[tuple[str, nn.Parameter]], epoch: int, step: int) -> None:
    """Raise `NonFiniteError` naming the first parameter whose gradient is not finite."""
    # One reduction instead of a mask: a sum of finite squares can overflow only
    # for gradients beyond 1e19, which are as lost as infinite ones.
    gradients = {
        name: each.grad.coalesce().values() if each.grad.is_sparse else each.grad
        for name, each in parameters
        if each.grad is not None
    }
    if bool(torch.isfinite(nn.utils.get_total_norm(gradients.values()))):
        return
    for name, gradient in gradients.items():
        if not bool(torch.isfinite(gradient.norm())):
            raise NonFiniteError(
                f"the gradient of parameter '{name}' is not finite at epoch {epoch}, step {step}"
            )
