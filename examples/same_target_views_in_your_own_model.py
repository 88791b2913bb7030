"""Contrast two histories that lead to the same item, in a model and data pipeline of your own.

Nothing of the library but the operator is needed: flat item numbers (0 is padding here), where
each history starts, and any encoder of padded sequences.
"""

import torch
from torch import nn

from graphcl.losses import InfoNCE
from recsys.views import SameTargetSubsequences

torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)

# 200 histories of 3 to 20 items, one after the other; items 1..99.
lengths = torch.randint(3, 21, (200,))
offsets = torch.cat((torch.zeros(1, dtype=torch.long), lengths.cumsum(0)))
starts = torch.randint(1, 100, (200,)).repeat_interleave(lengths)
items = (starts + torch.arange(len(starts))) % 99 + 1

same_target = SameTargetSubsequences(items, offsets, max_length=10)
rows = torch.randint(len(same_target.subsequences), (64,), generator=generator)
sequences, lengths = same_target.subsequences.gather(rows)
targets = same_target.subsequences.targets[rows]
others, other_lengths = same_target(sequences, lengths, generator, targets=targets, rows=rows)

table, recurrent = nn.Embedding(100, 32, padding_idx=0), nn.GRU(32, 32, batch_first=True)


def encode(sequences: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    states, _ = recurrent(table(sequences))
    return states[torch.arange(len(states)), lengths - 1]


loss = InfoNCE(temperature=0.5)(encode(sequences, lengths), encode(others, other_lengths))
loss.backward()
print(f"{len(same_target.subsequences)} subsequences; contrast of 64 pairs: {loss.item():.3f}")
