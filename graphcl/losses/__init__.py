"""Losses: each an `nn.Module` and its functional twin with the same arguments.

Per-anchor values come first and the reduction ("mean", "sum", "none") second.
Values and gradients are finite for finite input and any temperature in
[1e-3, 10]; an anchor without candidates contributes a graph-connected 0. A
term of the whole batch (a correlation, a uniformity) is part of every anchor's
value, so that the mean over the anchors is the paper's loss.
Every class carries `functional` (its twin) and `example(count, dimension,
generator, dtype)`, random arguments of `forward`. Arguments of `forward` that
get no gradient are named in `detached`.

To add a loss: one file, one import and one line in `LOSSES`; the contract
tests find it there.
"""

from torch import nn

from graphcl.losses.alignment_uniformity import AlignmentUniformity, alignment_uniformity
from graphcl.losses.barlow_twins import BarlowTwins, barlow_twins
from graphcl.losses.block_contrast import BlockContrast, block_contrast
from graphcl.losses.bootstrap import Bootstrap, bootstrap
from graphcl.losses.bpr import BPR, bpr
from graphcl.losses.cca_ssg import CCASSG, cca_ssg
from graphcl.losses.cross_entropy import CrossEntropy, cross_entropy
from graphcl.losses.decoupled_info_nce import DecoupledInfoNCE, decoupled_info_nce
from graphcl.losses.dhel import DHEL, dhel
from graphcl.losses.info_nce import InfoNCE, info_nce
from graphcl.losses.info_nce_all_nodes import InfoNCEAllNodes, info_nce_all_nodes
from graphcl.losses.jsd import JSD, jsd
from graphcl.losses.kernel_conditional import KernelConditional, kernel_conditional
from graphcl.losses.kernel_contrast import KernelContrast, kernel_contrast
from graphcl.losses.mann_whitney import MannWhitney, mann_whitney
from graphcl.losses.meta_node_info_nce import MetaNodeInfoNCE, meta_node_info_nce
from graphcl.losses.multi_view_dhel import MultiViewDHEL, multi_view_dhel
from graphcl.losses.multi_view_info_nce import MultiViewInfoNCE, multi_view_info_nce
from graphcl.losses.proto_clip import ProtoCLIP, proto_clip
from graphcl.losses.siglip import SigLIP, siglip
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
    "CCASSG": CCASSG,
    "CrossEntropy": CrossEntropy,
    "DHEL": DHEL,
    "DecoupledInfoNCE": DecoupledInfoNCE,
    "InfoNCE": InfoNCE,
    "InfoNCEAllNodes": InfoNCEAllNodes,
    "JSD": JSD,
    "KernelConditional": KernelConditional,
    "KernelContrast": KernelContrast,
    "MannWhitney": MannWhitney,
    "MetaNodeInfoNCE": MetaNodeInfoNCE,
    "MultiViewDHEL": MultiViewDHEL,
    "MultiViewInfoNCE": MultiViewInfoNCE,
    "ProtoCLIP": ProtoCLIP,
    "SigLIP": SigLIP,
    "SwAV": SwAV,
    "Symile": Symile,
    "VICReg": VICReg,
    "WMSE": WMSE,
}

__all__ = [
    "BPR",
    "CCASSG",
    "DHEL",
    "JSD",
    "LOSSES",
    "WMSE",
    "AlignmentUniformity",
    "BarlowTwins",
    "BlockContrast",
    "Bootstrap",
    "CrossEntropy",
    "DecoupledInfoNCE",
    "InfoNCE",
    "InfoNCEAllNodes",
    "KernelConditional",
    "KernelContrast",
    "MannWhitney",
    "MetaNodeInfoNCE",
    "MultiViewDHEL",
    "MultiViewInfoNCE",
    "ProtoCLIP",
    "SigLIP",
    "SwAV",
    "Symile",
    "VICReg",
    "alignment_uniformity",
    "barlow_twins",
    "block_contrast",
    "bootstrap",
    "bpr",
    "cca_ssg",
    "cross_entropy",
    "decoupled_info_nce",
    "dhel",
    "info_nce",
    "info_nce_all_nodes",
    "jsd",
    "kernel_conditional",
    "kernel_contrast",
    "mann_whitney",
    "meta_node_info_nce",
    "multi_view_dhel",
    "multi_view_info_nce",
    "proto_clip",
    "siglip",
    "swav",
    "symile",
    "vicreg",
    "wmse",
]
