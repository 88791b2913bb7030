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
from graphcl.losses.block_contrast import BlockContrast, block_contrast
from graphcl.losses.bootstrap import Bootstrap, bootstrap
from graphcl.losses.bpr import BPR, bpr
from graphcl.losses.cacr import CACR, cacr
from graphcl.losses.cca_ssg import CCASSG, cca_ssg
from graphcl.losses.cluster_negatives import ClusterNegatives, cluster_negatives
from graphcl.losses.cross_entropy import CrossEntropy, cross_entropy
from graphcl.losses.debiased_info_nce import DebiasedInfoNCE, debiased_info_nce
from graphcl.losses.decoupled_info_nce import DecoupledInfoNCE, decoupled_info_nce
from graphcl.losses.dhel import DHEL, dhel
from graphcl.losses.hard_contrastive import HardContrastive, hard_contrastive
from graphcl.losses.hardness_info_nce import HardnessInfoNCE, hardness_info_nce
from graphcl.losses.hardness_weighted_info_nce import (
    HardnessWeightedInfoNCE,
    hardness_weighted_info_nce,
)
from graphcl.losses.info_nce import InfoNCE, info_nce
from graphcl.losses.info_nce_all_nodes import InfoNCEAllNodes, info_nce_all_nodes
from graphcl.losses.jsd import JSD, jsd
from graphcl.losses.kernel_conditional import KernelConditional, kernel_conditional
from graphcl.losses.kernel_contrast import KernelContrast, kernel_contrast
from graphcl.losses.mann_whitney import MannWhitney, mann_whitney
from graphcl.losses.margin_info_nce import MarginInfoNCE, margin_info_nce
from graphcl.losses.mean_info_nce import MeanInfoNCE, mean_info_nce
from graphcl.losses.meta_node_info_nce import MetaNodeInfoNCE, meta_node_info_nce
from graphcl.losses.multi_view_dhel import MultiViewDHEL, multi_view_dhel
from graphcl.losses.multi_view_info_nce import MultiViewInfoNCE, multi_view_info_nce
from graphcl.losses.proto_clip import ProtoCLIP, proto_clip
from graphcl.losses.siglip import SigLIP, siglip
from graphcl.losses.sup_con import SupCon, sup_con
from graphcl.losses.swav import SwAV, swav
from graphcl.losses.symile import Symile, symile
from graphcl.losses.vicreg import VICReg, vicreg
from graphcl.losses.wmse import WMSE, wmse

LOSSES: dict[str, type[nn.Module]] = {
    "AlignmentUniformity": AlignmentUniformity,
    "BPR": BPR,
    "BarlowTwins": BarlowTwins,
    "BlockContrast": BlockContrast,
    "Bootstrap": Bootstrap,
    "CACR": CACR,
    "CCASSG": CCASSG,
    "ClusterNegatives": ClusterNegatives,
    "CrossEntropy": CrossEntropy,
    "DHEL": DHEL,
    "DebiasedInfoNCE": DebiasedInfoNCE,
    "DecoupledInfoNCE": DecoupledInfoNCE,
    "HardContrastive": HardContrastive,
    "HardnessInfoNCE": HardnessInfoNCE,
    "HardnessWeightedInfoNCE": HardnessWeightedInfoNCE,
    "InfoNCE": InfoNCE,
    "InfoNCEAllNodes": InfoNCEAllNodes,
    "JSD": JSD,
    "KernelConditional": KernelConditional,
    "KernelContrast": KernelContrast,
    "MannWhitney": MannWhitney,
    "MarginInfoNCE": MarginInfoNCE,
    "MeanInfoNCE": MeanInfoNCE,
    "MetaNodeInfoNCE": MetaNodeInfoNCE,
    "MultiViewDHEL": MultiViewDHEL,
    "MultiViewInfoNCE": MultiViewInfoNCE,
    "ProtoCLIP": ProtoCLIP,
    "SigLIP": SigLIP,
    "SupCon": SupCon,
    "SwAV": SwAV,
    "Symile": Symile,
    "VICReg": VICReg,
    "WMSE": WMSE,
}

__all__ = [
    "BPR",
    "CACR",
    "CCASSG",
    "DHEL",
    "JSD",
    "LOSSES",
    "WMSE",
    "AlignmentUniformity",
    "BadPairMining",
    "BarlowTwins",
    "BlockContrast",
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
    "KernelConditional",
    "KernelContrast",
    "MannWhitney",
    "MarginInfoNCE",
    "MeanInfoNCE",
    "MetaNodeInfoNCE",
    "MultiViewDHEL",
    "MultiViewInfoNCE",
    "ProtoCLIP",
    "SigLIP",
    "SupCon",
    "SwAV",
    "Symile",
    "VICReg",
    "alignment_uniformity",
    "barlow_twins",
    "block_contrast",
    "bootstrap",
    "bpr",
    "cacr",
    "cca_ssg",
    "cluster_negatives",
    "cross_entropy",
    "debiased_info_nce",
    "decoupled_info_nce",
    "dhel",
    "hard_contrastive",
    "hardness_info_nce",
    "hardness_weighted_info_nce",
    "info_nce",
    "info_nce_all_nodes",
    "jsd",
    "kernel_conditional",
    "kernel_contrast",
    "mann_whitney",
    "margin_info_nce",
    "mean_info_nce",
    "meta_node_info_nce",
    "multi_view_dhel",
    "multi_view_info_nce",
    "proto_clip",
    "siglip",
    "sup_con",
    "swav",
    "symile",
    "vicreg",
    "wmse",
]
