"""Views of item sequences: batched pure functions on padded tensors.

Each is `(items, lengths, generator) -> (items, lengths)`: `items` are integers (B, L), oldest
first and padded on the right; `lengths` (B,). What stands after the end is ignored and written
anew as the `padding` that a view is given by name. A view never changes its input, has no Python
loop over sequences, runs on the device of its input and draws from the generator that is passed in
(None: torch's global one). None of them needs the rest of the library: ids, paddings and mask
tokens are the caller's own.

`VIEWS` names the classes. A view is added by one file and one line in that table.
`Prototypes`, `LearnableAugmenter` and `NeighbourSynthesis` are views of representations instead of
items.
"""

from recsys.views.crop import CropItems, crop_items
from recsys.views.insert import InsertItems, insert_items
from recsys.views.learnable_augmenter import LearnableAugmenter
from recsys.views.mask import MaskItems, mask_items
from recsys.views.neighbour_synthesis import NeighbourSynthesis
from recsys.views.neighbours import NeighbourTable, co_occurring_items, nearest_rows
from recsys.views.one_of import OneOf, SequenceView
from recsys.views.prototypes import Prototypes
from recsys.views.reorder import ReorderItems, reorder_items
from recsys.views.same_target import SameTargetSubsequences
from recsys.views.semantic_neighbours import SemanticNeighbours
from recsys.views.subsequences import Subsequences
from recsys.views.substitute import SubstituteItems, substitute_items
from recsys.views.unchanged import DropoutTwice

VIEWS: dict[str, type] = {
    "CropItems": CropItems,
    "DropoutTwice": DropoutTwice,
    "InsertItems": InsertItems,
    "MaskItems": MaskItems,
    "OneOf": OneOf,
    "ReorderItems": ReorderItems,
    "SameTargetSubsequences": SameTargetSubsequences,
    "SemanticNeighbours": SemanticNeighbours,
    "SubstituteItems": SubstituteItems,
}

__all__ = [
    "VIEWS",
    "CropItems",
    "DropoutTwice",
    "InsertItems",
    "LearnableAugmenter",
    "MaskItems",
    "NeighbourSynthesis",
    "NeighbourTable",
    "OneOf",
    "Prototypes",
    "ReorderItems",
    "SameTargetSubsequences",
    "SemanticNeighbours",
    "SequenceView",
    "Subsequences",
    "SubstituteItems",
    "co_occurring_items",
    "crop_items",
    "insert_items",
    "mask_items",
    "nearest_rows",
    "reorder_items",
    "substitute_items",
]
