"""Losses: each an `nn.Module` and its functional twin with the same arguments.

Per-anchor values come first and the reduction ("mean", "sum", "none") second.
Values and gradients are finite for finite input and any temperature in
[1e-3, 10]; an anchor without candidates contributes a graph-connected 0. A
term of the whole batch (a correlation, a uniformity) is part of every anchor's
value, so that the mean over the anchors is the paper's loss.
Every class carries `functional` (its twin) and `example(count, dimension,
generator, dtype)`, random arguments of `forward`. Arguments of `forward` that
get no gradient are named in `detached`. A loss whose definition stops a
gradient inside names in `without_stop_gradient` the settings that let it pass.

`BadPairMining` is no loss but weighs the per-anchor values of one, by their history.

To add a loss: one file, one import and one line in `LOSSES`; the contract
tests find it there.
"""

from torch import nn

from graphcl.losses.alignment_uniformity import AlignmentUniformity, alignment_uniformity
from graphcl.losses.bad_pair_mining import BadPairMining
from graphcl.losses.barlow_twins import BarlowTwins, barlow_twins
from graphcl.losses.bootstrap import Bootstrap, bootstrap
from graphcl.losses.bpr import BPR, bpr
from graphcl.losses.cacr import CACR, cacr
from graphcl.losses.cca_ssg import CCASSG, cca_ssg
from graphcl.losses.cluster_negatives import ClusterNegatives, cluster_negatives
from graphcl.losses.cross_entropy import CrossEntropy, cross_entropy
from graphcl.losses.debiased_info_nce import DebiasedInfoNCE, debiased_info_nce
from graphcl.losses.decoupled_info_nce import DecoupledInfoNCE, decoupled_info_nce
from graphcl.losses.hard_contrastive import HardContrastive, hard_contrastive
from graphcl.losses.hardness_info_nce import HardnessInfoNCE, hardness_info_nce
from graphcl.losses.hardness_weighted_info_nce import (
    HardnessWeightedInfoNCE,
    hardness_weighted_info_nce,
)
from graphcl.losses.info_nce import InfoNCE, info_nce
from graphcl.losses.info_nce_all_nodes import InfoNCEAllNodes, info_nce_all_nodes
from graphcl.losses.jsd import JSD, jsd
from graphcl.losses.margin_info_nce import MarginInfoNCE, margin_info_nce
from graphcl.losses.mean_info_nce import MeanInfoNCE, mean_info_nce
from graphcl.losses.sup_con import SupCon, sup_con
from graphcl.losses.vicreg import VICReg, vicreg
from graphcl.losses.wmse import WMSE, wmse

LOSSES: dict[str, type[nn.Module]] = {
    "AlignmentUniformity": AlignmentUniformity,
    "BPR": BPR,
    "BarlowTwins": BarlowTwins,
    "Bootstrap": Bootstrap,
    "CACR": CACR,
    "CCASSG": CCASSG,
    "ClusterNegatives": ClusterNegatives,
    "CrossEntropy": CrossEntropy,
    "DebiasedInfoNCE": DebiasedInfoNCE,
    "DecoupledInfoNCE": DecoupledInfoNCE,
    "HardContrastive": HardContrastive,
    "HardnessInfoNCE": HardnessInfoNCE,
    "HardnessWeightedInfoNCE": HardnessWeightedInfoNCE,
    "InfoNCE": InfoNCE,
    "InfoNCEAllNodes": InfoNCEAllNodes,
    "JSD": JSD,
    "MarginInfoNCE": MarginInfoNCE,
    "MeanInfoNCE": MeanInfoNCE,
    "SupCon": SupCon,
    "VICReg": VICReg,
    "WMSE": WMSE,
}

__all__ = [
    "BPR",
    "CACR",
    "CCASSG",
    "JSD",
    "LOSSES",
    "WMSE",
    "AlignmentUniformity",
    "BadPairMining",
    "BarlowTwins",
    "Bootstrap",
    "ClusterNegatives",
    "CrossEntropy",
    "DebiasedInfoNCE",
    "DecoupledInfoNCE",
    "HardContrastive",
    "HardnessInfoNCE",
    "HardnessWeightedInfoNCE",
    "InfoNCE",
    "InfoNCEAllNodes",
    "MarginInfoNCE",
    "MeanInfoNCE",
    "SupCon",
    "VICReg",
    "alignment_uniformity",
    "barlow_twins",
    "bootstrap",
    "bpr",
    "cacr",
    "cca_ssg",
    "cluster_negatives",
    "cross_entropy",
    "debiased_info_nce",
    "decoupled_info_nce",
    "hard_contrastive",
    "hardness_info_nce",
    "hardness_weighted_info_nce",
    "info_nce",
    "info_nce_all_nodes",
    "jsd",
    "margin_info_nce",
    "mean_info_nce",
    "sup_con",
    "vicreg",
    "wmse",
]
