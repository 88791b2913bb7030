"""Losses: each an `nn.Module` and its functional twin with the same arguments.

Two views z1, z2 (N, d) of the same nodes, each node against all others:
    InfoNCE (CPC, SimCLR, CLIP; GRACE with `intra_view`), DecoupledInfoNCE (DCL, DCLW),
    DebiasedInfoNCE, HardnessInfoNCE (HCL), HardnessWeightedInfoNCE (LLaVE),
    HardContrastive, MarginInfoNCE (NT-Xent-AM, -AAM), MeanInfoNCE (cMIM), DHEL,
    KernelContrast (KCL), AlignmentUniformity, SigLIP, MannWhitney (AUC), GroCo (sorting)
With labels, relations, conditions or clusters of the nodes:
    SupCon (PAL), KernelConditional (CCL-K), ClusterNegatives (ClusterNS),
    MetaNodeInfoNCE, BlockContrast (PamC), SwAV, ProtoCLIP
Several views (V, N, d) of the same nodes, views first (SupCon too):
    MultiViewInfoNCE, MultiViewDHEL, CACR, Symile (three or more, by their product)
Two views without negatives:
    BarlowTwins (Graph Barlow Twins), VICReg, CCASSG, WMSE, Bootstrap (BYOL, BGRL)
Rows against a table of items or nodes:
    CrossEntropy (full softmax), SampledSoftmax (logQ), InfoNCEAllNodes (LightGCL)
Scores of positives and of their negatives:
    BPR, BinaryCrossEntropy, GBCE (gSASRec), SelfAdversarial (NSSA, RotatE),
    Asymmetric (ASL), PropensityPU (SAR-PU), EntropyMaximisation (EM), JSD (DGI, InfoGraph)
Around any of them:
    BadPairMining (DBPM) weighs the per-anchor values by their history

Per-anchor values come first and the reduction ("mean", "sum", "none") second.
Embeddings are un-normalised unless a loss says otherwise; 16-bit ones are computed
and returned in float32. Values and gradients are finite for finite input and any
temperature in [1e-3, 10], unless a loss of un-normalised numbers overflows; NaN and
infinity are refused. An anchor without candidates contributes a graph-connected 0. A
term of the whole batch (a correlation, a uniformity) is part of every anchor's
value, so that the mean over the anchors is the paper's loss.

Every class carries `functional` (its twin) and `example(count, dimension,
generator, dtype)`, random arguments of `forward`. Arguments of `forward` that
get no gradient are named in `detached`. A loss whose definition stops a
gradient inside names in `without_stop_gradient` the settings that let it pass.

To add a loss: one file, one import, one line in `LOSSES` and its name above; the
contract tests find it there.
"""

from torch import nn

from graphcl.losses.alignment_uniformity import AlignmentUniformity, alignment_uniformity
from graphcl.losses.asymmetric import Asymmetric, asymmetric
from graphcl.losses.bad_pair_mining import BadPairMining
from graphcl.losses.barlow_twins import BarlowTwins, barlow_twins
from graphcl.losses.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
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
from graphcl.losses.entropy_maximisation import EntropyMaximisation, entropy_maximisation
from graphcl.losses.gathered import gathered
from graphcl.losses.gbce import GBCE, gbce
from graphcl.losses.groco import GroCo, groco
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
from graphcl.losses.propensity_pu import PropensityPU, propensity_pu
from graphcl.losses.proto_clip import ProtoCLIP, proto_clip
from graphcl.losses.sampled_softmax import SampledSoftmax, sampled_softmax
from graphcl.losses.self_adversarial import SelfAdversarial, self_adversarial
from graphcl.losses.siglip import SigLIP, siglip
from graphcl.losses.sup_con import SupCon, sup_con
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
    "CACR": CACR,
    "CCASSG": CCASSG,
    "ClusterNegatives": ClusterNegatives,
    "CrossEntropy": CrossEntropy,
    "DHEL": DHEL,
    "DebiasedInfoNCE": DebiasedInfoNCE,
    "DecoupledInfoNCE": DecoupledInfoNCE,
    "EntropyMaximisation": EntropyMaximisation,
    "GBCE": GBCE,
    "GroCo": GroCo,
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
    "PropensityPU": PropensityPU,
    "ProtoCLIP": ProtoCLIP,
    "SampledSoftmax": SampledSoftmax,
    "SelfAdversarial": SelfAdversarial,
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
    "GBCE",
    "JSD",
    "LOSSES",
    "WMSE",
    "AlignmentUniformity",
    "Asymmetric",
    "BadPairMining",
    "BarlowTwins",
    "BinaryCrossEntropy",
    "BlockContrast",
    "Bootstrap",
    "ClusterNegatives",
    "CrossEntropy",
    "DebiasedInfoNCE",
    "DecoupledInfoNCE",
    "EntropyMaximisation",
    "GroCo",
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
    "PropensityPU",
    "ProtoCLIP",
    "SampledSoftmax",
    "SelfAdversarial",
    "SigLIP",
    "SupCon",
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
    "cacr",
    "cca_ssg",
    "cluster_negatives",
    "cross_entropy",
    "debiased_info_nce",
    "decoupled_info_nce",
    "dhel",
    "entropy_maximisation",
    "gathered",
    "gbce",
    "groco",
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
    "propensity_pu",
    "proto_clip",
    "sampled_softmax",
    "self_adversarial",
    "siglip",
    "sup_con",
    "swav",
    "symile",
    "vicreg",
    "wmse",
]
