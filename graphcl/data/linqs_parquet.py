"""Read LINQS Cora from the two parquet files that the graphdatascience wheel carries."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from graphcl.data.assemble import MASKS, RawGraph
from graphcl.errors import DataError

NODES = "cora_nodes.parquet.gzip"
CITATIONS = "cora_rels.parquet.gzip"
PUBLIC_SPLIT = "linqs_ids.csv"


def read_linqs_parquet(origin: str, paths: dict[str, Path]) -> RawGraph:
    """Cora in the row order of the node file; `node_ids` are the LINQS paper ids.

    The public split is there when `paths` has the optional file `linqs_ids.csv`.

    Raises:
        DataError: a file is unreadable, lacks a column, or names an unknown paper.
    """
    nodes = _columns(paths[NODES], ["nodeId", "subject", "features"])
    citations = _columns(paths[CITATIONS], ["sourceNodeId", "targetNodeId"])
    papers = np.asarray(nodes["nodeId"], dtype=np.int64)
    number = {int(paper): position for position, paper in enumerate(papers)}
    try:
        edges = np.array(
            [[number[int(paper)] for paper in ends] for ends in citations.values()], dtype=np.int64
        )
    except KeyError as error:
        raise DataError(f"{origin}: a citation names the unknown paper {error}") from None
    return RawGraph(
        origin=origin,
        x=np.stack([np.asarray(row, dtype=np.float32) for row in nodes["features"]]),
        edge_index=edges,
        y=np.asarray(nodes["subject"], dtype=np.int64),
        node_ids=papers,
        masks=_public_split(paths[PUBLIC_SPLIT], number) if PUBLIC_SPLIT in paths else None,
    )


def _columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=names)
        return {
            name: table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
            for name in names
        }
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise DataError(f"'{path}' is not a readable parquet file ({error})") from None


def _public_split(path: Path, number: dict[int, int]) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(len(number), dtype=bool) for name in MASKS}
    of_word = {"train": MASKS[0], "val": MASKS[1], "test": MASKS[2]}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row["split"] in of_word:
                    masks[of_word[row["split"]]][number[int(row["linqs_paper_id"])]] = True
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise DataError(f"'{path}' is not a readable map of paper ids ({error!r})") from None
    return masks
