"""Random features: a kernel as an inner product of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite, check_matrix, full_precision


@torch.no_grad()
def random_fourier_features(
    x: Tensor,
    frequencies: int,
    bandwidth: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Features whose inner products approach the Gaussian kernel of the rows.

    .. math::
        \langle \phi(x), \phi(y) \rangle \approx e^{-\lVert x - y \rVert^2 / (2 h^2)}

    Rahimi and Recht 2007, "Random Features for Large-Scale Kernel Machines", in the
    form of cosine and sine pairs, for which a row's kernel with itself is exactly 1.
    The error falls with the square root of the number of frequencies.

    Args:
        x: (N, c) floating.
        frequencies: F, at least 1.
        bandwidth: h, above 0, in the units of x.
        generator: source of the frequencies; None for torch's global one.

    Returns:
        (N, 2 F), without gradient.

    Raises:
        ArgumentError: for a shape or number out of range, or rows that are not finite.
    """
    check_matrix("x", x, None)
    check_finite("x", x)
    if frequencies < 1:
        raise ArgumentError(f"frequencies must be at least 1; got {frequencies}")
    if not 0 < bandwidth < float("inf"):
        raise ArgumentError(f"bandwidth must be a finite number above 0; got {bandwidth}")
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    where = x.device if generator is None else generator.device
    shape = (x.shape[1], frequencies)
    directions = torch.randn(shape, generator=generator, device=where, dtype=x.dtype)
    with full_precision(x):
        angles = x @ directions.to(x.device) / bandwidth
    return torch.cat([angles.cos(), angles.sin()], dim=1) / frequencies**0.5
