"""Data-parallel training over two processes: the gradient is that of one process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from graphcl.losses import LOSSES, gathered

# One of each kind: two views, self-similar, labels, a batch statistic, scores.
NAMES = ("InfoNCE", "DecoupledInfoNCE", "SupCon", "BarlowTwins", "AlignmentUniformity", "BPR")


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 6, dtype=torch.float64)


def embedded(name: str, network: nn.Module, part: slice) -> list[Tensor]:
    """Some rows of the loss's arguments; embeddings among them go through the network."""
    inputs = LOSSES[name].example(9, 5, torch.Generator().manual_seed(1), torch.float64)
    results = []
    for argument in inputs:
        if argument.dim() == 3:  # (V, N, d)
            argument = argument.transpose(0, 1)
        rows = argument[part]
        if rows.is_floating_point() and rows.shape[-1] == 5 and rows.dim() > 1:
            rows = network(rows)
        results.append(rows)
    return results


def loss_of(name: str, rows: list[Tensor]) -> Tensor:
    arguments = [part.transpose(0, 1) if part.dim() == 3 else part for part in rows]
    return LOSSES[name]()(*arguments)


def train(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        gradients = {}
        for name in NAMES:
            network = nn.parallel.DistributedDataParallel(model())
            # Unequal shares: the last batch of an epoch seldom divides evenly.
            part = slice(0, 5) if rank == 0 else slice(5, 9)
            rows = [gathered(argument) for argument in embedded(name, network, part)]
            loss_of(name, rows).backward()
            gradients[name] = [value.grad.clone() for value in network.parameters()]
        torch.save(gradients, Path(folder) / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, args=(port, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in NAMES:
        network = model()
        loss_of(name, embedded(name, network, slice(0, 9))).backward()
        for number, parameter in enumerate(network.parameters()):
            assert parameter.grad.abs().sum() > 0
            for gradients in found:
                torch.testing.assert_close(
                    gradients[name][number], parameter.grad, rtol=1e-10, atol=1e-12
                )


def test_one_process_keeps_its_rows() -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    assert gathered(rows) is rows
