"""Samplers: which items stand as negatives, and with what probability.

A sampler is called with rows, a number of draws and a generator and returns
`Negatives(indices, log_probability)`; `log_probability(rows, indices)` answers
for any item, the target included. Draws are independent, with replacement, so that
the log-probability is exact and `graphcl.losses.SampledSoftmax` can correct
for it. Nothing loops over rows; the generator decides everything.

To add a sampler: one file, one import and one line in `SAMPLERS`; the contract
tests find it there, through its `example(generator)`. In-batch negatives
(`in_batch`) are drawn by the batch itself, and `cluster_batches` makes batches.
"""

from graphcl.samplers.cluster import ClusterSampler
from graphcl.samplers.cluster_batches import cluster_batches, joint_clusters
from graphcl.samplers.contract import Negatives, Sampler
from graphcl.samplers.free_items import positive_keys
from graphcl.samplers.in_batch import StreamingFrequency, in_batch
from graphcl.samplers.pool import PoolSampler
from graphcl.samplers.popularity import PopularitySampler
from graphcl.samplers.positive_aware import PositiveAwareSampler, positive_aware
from graphcl.samplers.simans import SimANSSampler
from graphcl.samplers.two_hop import TwoHopSampler
from graphcl.samplers.uniform import UniformSampler

SAMPLERS: dict[str, type] = {
    "ClusterSampler": ClusterSampler,
    "PopularitySampler": PopularitySampler,
    "PositiveAwareSampler": PositiveAwareSampler,
    "SimANSSampler": SimANSSampler,
    "TwoHopSampler": TwoHopSampler,
    "UniformSampler": UniformSampler,
}

__all__ = [
    "SAMPLERS",
    "ClusterSampler",
    "Negatives",
    "PoolSampler",
    "PopularitySampler",
    "PositiveAwareSampler",
    "Sampler",
    "SimANSSampler",
    "StreamingFrequency",
    "TwoHopSampler",
    "UniformSampler",
    "cluster_batches",
    "in_batch",
    "joint_clusters",
    "positive_aware",
    "positive_keys",
]
