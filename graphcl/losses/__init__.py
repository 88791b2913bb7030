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

To add a loss: one file, one import and one line in `LOSSES`; the contract
tests find it there.
"""

from torch import nn

from graphcl.losses.alignment_uniformity import AlignmentUniformity, alignment_uniformity
from graphcl.losses.asymmetric import Asymmetric, asymmetric
from graphcl.losses.barlow_twins import BarlowTwins, barlow_twins
from graphcl.losses.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from graphcl.losses.block_contrast import BlockContrast, block_contrast
from graphcl.losses.bootstrap import Bootstrap, bootstrap
from graphcl.losses.bpr import BPR, bpr
from graphcl.losses.cca_ssg import CCASSG, cca_ssg
from graphcl.losses.cross_entropy import CrossEntropy, cross_entropy
from graphcl.losses.decoupled_info_nce import DecoupledInfoNCE, decoupled_info_nce
from graphcl.losses.dhel import DHEL, dhel
from graphcl.losses.entropy_maximisation import EntropyMaximisation, entropy_maximisation
from graphcl.losses.gbce import GBCE, gbce
from graphcl.losses.groco import GroCo, groco
from graphcl.losses.info_nce import InfoNCE, info_nce
from graphcl.losses.info_nce_all_nodes import InfoNCEAllNodes, info_nce_all_nodes
from graphcl.losses.jsd import JSD, jsd
from graphcl.losses.kernel_conditional import KernelConditional, kernel_conditional
from graphcl.losses.kernel_contrast import KernelContrast, kernel_contrast
from graphcl.losses.mann_whitney import MannWhitney, mann_whitney
from graphcl.losses.meta_node_info_nce import MetaNodeInfoNCE, meta_node_info_nce
from graphcl.losses.multi_view_dhel import MultiViewDHEL, multi_view_dhel
from graphcl.losses.multi_view_info_nce import MultiViewInfoNCE, multi_view_info_nce
from graphcl.losses.propensity_pu import PropensityPU, propensity_pu
from graphcl.losses.proto_clip import ProtoCLIP, proto_clip
from graphcl.losses.sampled_softmax import SampledSoftmax, sampled_softmax
from graphcl.losses.self_adversarial import SelfAdversarial, self_adversarial
from graphcl.losses.siglip import SigLIP, siglip
from graphcl.losses.swav import SwAV, swav
from graphcl.losses.symile import Symile, symile
from graphcl.losses.vicreg import VICReg, vicreg
from graphcl.losses.wmse import WMSE, wmse

LOSSES: dict[str, type[nn.Module]] = {
    "AlignmentUniformity": AlignmentUniformity,
    "Asymmetric": Asymmetric,
    "BPR": BPR,
    "BarlowTwins": BarlowTwins,
    "BinaryCrossEntropy": BinaryCrossEntropy,
    "BlockContrast": BlockContrast,
    "Bootstrap": Bootstrap,
    "CCASSG": CCASSG,
    "CrossEntropy": CrossEntropy,
    "DHEL": DHEL,
    "DecoupledInfoNCE": DecoupledInfoNCE,
    "EntropyMaximisation": EntropyMaximisation,
    "GBCE": GBCE,
    "GroCo": GroCo,
    "InfoNCE": InfoNCE,
    "InfoNCEAllNodes": InfoNCEAllNodes,
    "JSD": JSD,
    "KernelConditional": KernelConditional,
    "KernelContrast": KernelContrast,
    "MannWhitney": MannWhitney,
    "MetaNodeInfoNCE": MetaNodeInfoNCE,
    "MultiViewDHEL": MultiViewDHEL,
    "MultiViewInfoNCE": MultiViewInfoNCE,
    "PropensityPU": PropensityPU,
    "ProtoCLIP": ProtoCLIP,
    "SampledSoftmax": SampledSoftmax,
    "SelfAdversarial": SelfAdversarial,
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
    "GBCE",
    "JSD",
    "LOSSES",
    "WMSE",
    "AlignmentUniformity",
    "Asymmetric",
    "BarlowTwins",
    "BinaryCrossEntropy",
    "BlockContrast",
    "Bootstrap",
    "CrossEntropy",
    "DecoupledInfoNCE",
    "EntropyMaximisation",
    "GroCo",
    "InfoNCE",
    "InfoNCEAllNodes",
    "KernelConditional",
    "KernelContrast",
    "MannWhitney",
    "MetaNodeInfoNCE",
    "MultiViewDHEL",
    "MultiViewInfoNCE",
    "PropensityPU",
    "ProtoCLIP",
    "SampledSoftmax",
    "SelfAdversarial",
    "SigLIP",
    "SwAV",
    "Symile",
    "VICReg",
    "alignment_uniformity",
    "asymmetric",
    "barlow_twins",
    "binary_cross_entropy",
    "block_contrast",
    "bootstrap",
    "bpr",
    "cca_ssg",
    "cross_entropy",
    "decoupled_info_nce",
    "dhel",
    "entropy_maximisation",
    "gbce",
    "groco",
    "info_nce",
    "info_nce_all_nodes",
    "jsd",
    "kernel_conditional",
    "kernel_contrast",
    "mann_whitney",
    "meta_node_info_nce",
    "multi_view_dhel",
    "multi_view_info_nce",
    "propensity_pu",
    "proto_clip",
    "sampled_softmax",
    "self_adversarial",
    "siglip",
    "swav",
    "symile",
    "vicreg",
    "wmse",
]
