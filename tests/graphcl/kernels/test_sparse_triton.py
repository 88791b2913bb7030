"""The Triton product against the dense one, in the interpreter, and compiled for Hopper."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix, drop_entries, horner, keep_probability, scaled, spmm

INSTALLED = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
needs_triton = pytest.mark.skipif(not INSTALLED, reason="triton is not installed")
runs_kernels = pytest.mark.skipif(
    not INSTALLED or not (INTERPRETED or torch.cuda.is_available()),
    reason="needs triton, and TRITON_INTERPRET=1 or a CUDA device",
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(symmetric: bool) -> SparseMatrix:
    """Self-loops, a hub of more entries than a program takes at a time, nodes without any."""
    ends = torch.randint(9, (2, 14), generator=generator(1))
    hub = torch.stack([torch.zeros(20, dtype=torch.long), torch.arange(20)])
    edges = torch.cat([ends, hub, torch.tensor([[4], [4]])], 1)
    if symmetric:
        edges = torch.cat([edges, edges.flip(0)], 1).unique(dim=1)
    return SparseMatrix.from_edge_index(
        edges.to(DEVICE), shape=22, symmetric=symmetric, dtype=torch.float64
    )


def views():
    undirected, directed = graph(True), graph(False)
    probability = ((undirected.row + undirected.column) % 5).double() / 4
    return {
        "values": directed.normalised("row"),
        "no values": scaled(undirected),
        "one rate": drop_entries(scaled(undirected), 0.4, generator=generator()),
        "anew": drop_entries(scaled(undirected), 0.4, generator=generator(), correct="degrees"),
        "each edge": drop_entries(
            scaled(undirected, "row"),
            keep_probability(undirected, probability),
            generator=generator(),
            keep_self_loops=False,
        ),
        "directed": drop_entries(directed, 0.4, generator=generator()),
        "single precision": drop_entries(
            scaled(undirected.to(dtype=torch.float32)), 0.4, generator=generator()
        ),
    }


NAMES = ("values", "no values", "one rate", "anew", "each edge", "directed", "single precision")


@runs_kernels
@pytest.mark.parametrize("name", NAMES)
def test_products_and_gradients_equal_dense(name):
    view = views()[name]
    dtype = view.dtype
    x = torch.randn(22, 5, generator=generator(), dtype=torch.float64).to(DEVICE, dtype)
    y = torch.randn(22, 5, generator=generator(1), dtype=torch.float64).to(DEVICE, dtype)
    results = []
    for backend in ("triton", "dense"):
        dense = x.clone().requires_grad_()
        product = spmm(view, dense, backend=backend)
        mixed = horner(view, dense, [0.4, 0.0, 0.1], backend=backend)
        gradient = torch.autograd.grad((product * y + mixed * y).sum(), dense)[0]
        results.append((product, mixed, gradient))
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=bound, atol=bound)


@runs_kernels
def test_wide_and_empty():
    directed = graph(False)
    x = torch.randn(22, 130, generator=generator(), dtype=torch.float64).to(DEVICE)
    part = directed.with_value(directed.value * 2)
    torch.testing.assert_close(
        spmm(part, x, backend="triton"), spmm(part, x, backend="dense"), rtol=1e-12, atol=1e-12
    )
    assert spmm(part, x[:, :0], backend="triton").shape == (22, 0)


@needs_triton
def test_without_a_device(monkeypatch):
    from graphcl.kernels import sparse_triton_kernel

    monkeypatch.setattr(sparse_triton_kernel, "INTERPRETED", False)
    if DEVICE == "cpu":
        with pytest.raises(ArgumentError, match="'triton' computes on CUDA devices"):
            spmm(graph(False), torch.ones(22, 1, dtype=torch.float64), backend="triton")


def test_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphcl.kernels.sparse_triton", None)
    with pytest.raises(ArgumentError, match="needs the package triton"):
        spmm(graph(False), torch.ones(22, 1, dtype=torch.float64, device=DEVICE), backend="triton")


@needs_triton
@pytest.mark.slow
def test_compiles_for_hopper():
    script = Path(__file__).with_name("compile_sparse_triton.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("product_kernel") == 3
