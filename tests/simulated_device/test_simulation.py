"""The simulated device refuses what CUDA refuses, and computes what the CPU computes."""

from __future__ import annotations

import copy

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.compiled import address

REFUSED = {
    "two sides": lambda d: torch.zeros(3, device=d) + torch.zeros(3),
    "a product of two sides": lambda d: torch.zeros(3, 3, device=d) @ torch.zeros(3, 3),
    "joined with a number": lambda d: torch.stack([torch.zeros((), device=d), torch.zeros(())]),
    "indexed from the device": lambda d: torch.zeros(3)[torch.zeros(1, dtype=torch.long).to(d)],
    "an array": lambda d: torch.zeros(3, device=d).numpy(),
    "a generator there, numbers here": lambda d: torch.rand(3, generator=torch.Generator(d)),
    "a generator here, numbers there": lambda d: torch.zeros(3, device=d).uniform_(
        generator=torch.Generator()
    ),
    "a generator here, a factory there": lambda d: torch.rand(
        3, device=d, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses(device, name):
    with pytest.raises(RuntimeError) as found:
        REFUSED[name](device)
    assert type(found.value).__name__ == "WrongDevice"


def test_what_cuda_allows(device):
    x = torch.arange(3.0).to(device)
    assert x.device == device
    assert (x + torch.ones(())).tolist() == [1, 2, 3]
    assert x[torch.tensor([2])].tolist() == [2]
    assert torch.rand(3, device=device, generator=torch.Generator(device)).device == device
    assert x.cpu().numpy().tolist() == x.numpy(force=True).tolist() == [0, 1, 2]
    assert int(x.argmax()) == 2


def test_training_equals_the_cpu(device):
    torch.manual_seed(0)
    here = torch.nn.Linear(3, 2)
    there = copy.deepcopy(here).to(device)
    again = copy.deepcopy(there)
    assert again.weight.device == device
    assert isinstance(again.weight, torch.nn.Parameter)
    x = torch.randn(5, 3)
    for module, given in ((here, x), (there, x.to(device))):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            module(given).square().mean().backward()
            optimizer.step()
    assert torch.equal(here.weight, there.weight.cpu())
    assert not torch.equal(again.weight.cpu(), there.weight.cpu())


def test_compiled_kernels_are_not_given_its_addresses(device):
    assert address(torch.zeros(2)) is not None
    with pytest.raises(ArgumentError, match="compute on the CPU, got tensors on simulated"):
        address(torch.zeros(2, device=device))
