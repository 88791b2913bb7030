"""What the files of a heterogeneous graph mean: node types, relations, meta-paths."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
PlainFileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

TAKEN = ("target", "meta_paths", "splits", "name")
"""What the loaded graph calls its own properties; a node type cannot be called so."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Relation(_Strict):
    """Edges between two node types: a text file of two columns, source and target number."""

    source: Name
    target: Name
    file: PlainFileName


class HeterogeneousSchema(_Strict):
    """The table `[heterogeneous]` of a card, or the file `schema.toml` of a folder of one's own.

    `target` is the node type that has labels and whose nodes are embedded. `nodes` counts the
    nodes of every type, isolated ones included. `features` names the feature file of the types
    that have features: `.npz` (scipy sparse) or `.npy`; a type without is one-hot. `meta_paths`
    lists, by name, the node types that a path from the target type back to it passes.
    """

    target: Name
    labels: PlainFileName
    nodes: dict[Name, Annotated[int, Field(gt=0)]]
    features: dict[Name, PlainFileName] = {}
    relations: tuple[Relation, ...] = Field(min_length=1)
    meta_paths: dict[Name, tuple[Name, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> HeterogeneousSchema:
        if taken := sorted(set(self.nodes) & set(TAKEN)):
            raise ValueError(f"a node type cannot be called '{taken[0]}'")
        named = {self.target, *self.features}
        named |= {end for relation in self.relations for end in (relation.source, relation.target)}
        strangers = sorted(named - set(self.nodes))
        if strangers:
            raise ValueError(f"node type '{strangers[0]}' is not counted under nodes")
        joined = [{relation.source, relation.target} for relation in self.relations]
        if any(pair in joined[:place] for place, pair in enumerate(joined)):
            raise ValueError("two relations join the same two node types")
        for name, path in self.meta_paths.items():
            if len(path) < 3 or path[0] != self.target or path[-1] != self.target:
                raise ValueError(
                    f"meta-path '{name}' must lead from '{self.target}' over other types back to it"
                )
            for pair in itertools.pairwise(path):
                if set(pair) not in joined:
                    raise ValueError(f"meta-path '{name}' needs a relation of {' and '.join(pair)}")
        return self

    def files(self) -> list[str]:
        """Every file that the schema names."""
        relations = [relation.file for relation in self.relations]
        return [self.labels, *self.features.values(), *relations]
