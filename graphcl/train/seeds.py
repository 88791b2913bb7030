"""Random state: one seed in, every generator out, and all of it saved and restored."""

from __future__ import annotations

import torch
from torch import Tensor


def seed_everything(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Seed torch's global generators (initialisation, dropout) and return one for the rest.

    The returned generator, on `device`, draws views, batches and negatives. It is seeded apart
    from the global one, so that a method that draws more dropout sees the same views.
    """
    torch.manual_seed(seed)
    return torch.Generator(device).manual_seed(seed + 0x9E3779B9)


def random_state(generator: torch.Generator) -> dict[str, Tensor]:
    """Every random state that training depends on, as byte tensors."""
    state = {"generator": generator.get_state(), "global": torch.get_rng_state()}
    if generator.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(generator.device)
    return state


def restore_random_state(generator: torch.Generator, state: dict[str, Tensor]) -> None:
    """Put back what `random_state` returned."""
    generator.set_state(state["generator"])
    torch.set_rng_state(state["global"])
    if generator.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], generator.device)
