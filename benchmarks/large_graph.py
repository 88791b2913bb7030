"""One epoch of GRACE on a graph that does not fit in one step: time and peak memory.

    python benchmarks/large_graph.py
    python benchmarks/large_graph.py --nodes 100000 --edges 1000000 --sampler clusters

The graph is a planted partition with power-law degrees (`graphcl.data.synthetic`), a million nodes
and ten million undirected edges with 64 features by default. Batches are sampled by the library's
own kernel; the loss is exact among the nodes of a batch. Peak memory is that of the whole process,
graph included (Linux).
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from torch_geometric.data import Data

from graphcl.data.synthetic import planted_partition
from graphcl.methods.grace import GRACE, GRACEConfig


class Clock:
    """Prints what took how long, and the most memory there has been so far."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def __call__(self, what: str) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(
            f"| {what} | {wall - self.wall:.0f} | {processor - self.processor:.0f} | {peak:.1f} |",
            flush=True,
        )
        self.wall, self.processor = wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--sampler", choices=["neighbours", "clusters"], default="neighbours")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--fan-out", type=int, default=5)
    parser.add_argument("--steps", type=int, help="stop after so many")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    print("| | wall s | CPU s | peak GB |\n|---|---|---|---|")
    clock = Clock()
    drawn = planted_partition(arguments.nodes, arguments.edges, generator=generator)
    data = Data(x=drawn.x, edge_index=drawn.edge_index, num_nodes=arguments.nodes)
    clock(f"draw {arguments.nodes:,} nodes, {arguments.edges:,} edges")
    config = GRACEConfig(
        batch_size=arguments.batch_size, sampler=arguments.sampler, fan_out=arguments.fan_out
    )
    torch.manual_seed(0)
    method = GRACE(config, data)
    optimizer = method.optimizer()
    clock("prepare the method")
    steps, sampled, losses = 0, 0, []
    sampling = 0.0
    batches = method.batches(generator)
    while arguments.steps is None or steps < arguments.steps:
        started = time.perf_counter()
        batch = next(batches, None)
        if steps:
            # The first one includes the structure of the graph and its communities.
            sampling += time.perf_counter() - started
        if batch is None:
            break
        optimizer.zero_grad(set_to_none=True)
        loss = method.loss(batch, generator)["total"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        steps, sampled = steps + 1, sampled + batch.num_nodes
        if steps == 1:
            clock(f"first batch ({arguments.sampler}) and step")
    clock(f"the other {steps - 1} steps, of which {sampling:.0f} s sampling")
    print(
        f"\nGRACE, {arguments.sampler}, batches of {arguments.batch_size}, {steps} steps, "
        f"{sampled / max(steps, 1):,.0f} nodes a batch; loss {losses[0]:.3f} at first, "
        f"{sum(losses[-20:]) / len(losses[-20:]):.3f} at last; {arguments.threads} threads, "
        f"torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
