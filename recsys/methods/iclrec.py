"""ICLRec: random views of a sequence, and the intent it belongs to.

Chen et al., "Intent Contrastive Learning for Sequential Recommendation", WWW 2022
(arXiv 2202.02519).

    total = next_item + contrast_weight * InfoNCE(h(view_1(s)), h(view_2(s)))
                      + fine_weight * [InfoNCE(h(view_1(s)), c(s)) + InfoNCE(h(view_2(s)), c(s))]

with the views of CL4SRec and c(s) the nearest of `intents` prototypes (k-means, an E-step at the
start of every epoch); in the intent part rows of the same cluster are no negatives (section 4.2).

Deviations: the authors' code halves the intent part, so that its weight of 0.1 is 0.05 here; full
softmax and anchors as in CL4SRec here; prototypes as in ICSRec here, of the states of subsequences
instead of each user's mean state, and of length one.

Cost of a step: that of CL4SRec, and where histories are longer than `max_length` one more encoding
of `anchors` subsequences; of an epoch: as of ICSRec.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.config import tunable
from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.methods.cl4srec import CL4SRec, CL4SRecConfig
from recsys.methods.sequence_contrast import paired_info_nce
from recsys.views import Prototypes


class ICLRecConfig(CL4SRecConfig):
    """Settings of ICLRec."""

    fine_weight: float = tunable(0.1, low=0.02, high=0.5, log=True, ge=0)
    intents: int = tunable(256, choices=[128, 256, 512, 1024], ge=1)


class ICLRec(CL4SRec):
    """Random views, and the intent of a sequence (Chen et al. 2022)."""

    Config = ICLRecConfig

    def __init__(self, config: ICLRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.prototypes = Prototypes(config.intents, config.dimension).to(data.device)

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Move the prototypes to the states of subsequences, taken without dropout."""
        self.fit_prototypes(self.prototypes, generator)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total`, the next-item loss under its name, `view_contrast` and `intent`."""
        config = self.config
        hidden = self.hidden(batch)
        next_item = self.next_item(batch, generator, hidden)
        chosen = self.anchors(batch, generator)
        items, lengths = self.subsequences.gather(self.subsequences.row_at[batch.places[chosen]])
        views = [self.last_states(*self.view(items, lengths, generator)) for _ in range(2)]
        contrast = paired_info_nce(views[0], views[1], config.temperature)
        with torch.no_grad():
            labels, centres = self.prototypes(self.anchor_states(batch, chosen, hidden))
        centres = torch.nn.functional.normalize(centres, dim=1)
        intent = paired_info_nce(views[0], centres, config.temperature, labels=labels)
        intent = intent + paired_info_nce(views[1], centres, config.temperature, labels=labels)
        return {
            "total": next_item + config.contrast_weight * contrast + config.fine_weight * intent,
            self.next_item_loss.name: next_item,
            "view_contrast": contrast,
            "intent": intent,
        }
