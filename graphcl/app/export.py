"""`graphcl export`: what was learned, in files that work without this library and load back in it.

Everything is written into a temporary folder beside the target, which gets its name at the end:
nothing half-written is ever found under it.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphcl.app.card import CardContent, model_card
from graphcl.app.load import WEIGHTS, LoadedRun, load_run
from graphcl.atomic import new_folder, write_bytes, write_text
from graphcl.config import dump_yaml
from graphcl.errors import ConfigError, unknown_name
from graphcl.evaluate.contract import VectorTable
from graphcl.methods.contract import PortableEncoder
from graphcl.train.checkpoint import save_checkpoint

FORMATS = ("parquet", "npz")
ENCODER = "encoder.pt2"


@dataclass
class Exported:
    """What an export wrote, and what it could not."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    """Name -> what it holds."""
    sentences: list[str] = field(default_factory=list)
    """What was left out, and why."""


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    formats: Sequence[str] = FORMATS,
    index: bool | None = None,
    encoder: bool = True,
    dataset: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
) -> Exported:
    """Export one seed of a finished run.

    Args:
        run: its folder.
        out: a new or empty folder; default `exports/` and the name of `run`.
        seed: default the first.
        formats: of the vectors, any of `FORMATS`.
        index: whether to write a faiss index of the items; None where faiss is installed.
        encoder: whether to write the encoder with `torch.export`, where that is possible.
        dataset: name or path, where the data set is not where it was.
        data_root: searched first for a named data set.

    Raises:
        ConfigError: an unknown format, no such seed, or an index is wanted without faiss.
        OutputError: `out` is not empty or cannot be written.
        GraphclError: as of `load_run`.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    if index and not _has_faiss():
        raise ConfigError(
            "an index of the items is made by faiss, which is not installed; "
            'get it with `pip install "graphcl[ann]"`'
        )
    target = Path(out) if out is not None else Path("exports") / Path(run).resolve().name
    # Before the work, so that a target which cannot be written shows at once.
    with new_folder(target) as folder:
        loaded = load_run(run, seed=seed, dataset=dataset, data_root=data_root)
        done = Exported(target)
        tables = loaded.tables()
        for name, table in tables.items():
            _write_table(folder, name, table, formats, done)
            if table.search is not None and index is not False:
                _write_index(folder, name, table, done)
        if encoder:
            _write_encoder(folder, loaded, done)
        _write_model(folder, loaded, done)
        content = CardContent(loaded, tables, done.files, done.sentences, target.name)
        write_text(folder / "README.md", model_card(content))
        done.files["README.md"] = "the model card"
    return done


def _write_table(
    folder: Path, name: str, table: VectorTable, formats: Sequence[str], done: Exported
) -> None:
    rows, width = table.vectors.shape
    titled = "" if table.titles is None else ", title"
    if "parquet" in formats:
        write_bytes(folder / f"{name}.parquet", _parquet(table))
        done.files[f"{name}.parquet"] = (
            f"{rows} {name}: columns id{titled}, vector ({width} numbers)"
        )
    if "npz" in formats:
        arrays = {"id": _plain(table.ids), "vector": table.vectors}
        if table.titles is not None:
            arrays["title"] = _plain(table.titles)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_bytes(folder / f"{name}.npz", buffer.getvalue())
        done.files[f"{name}.npz"] = (
            f"the same {name} for numpy: arrays id{titled}, vector ({rows}, {width})"
        )


def _parquet(table: VectorTable) -> bytes:
    import pyarrow
    import pyarrow.parquet

    flat = pyarrow.array(np.ascontiguousarray(table.vectors).ravel())
    columns = {"id": pyarrow.array(_plain(table.ids))}
    if table.titles is not None:
        columns["title"] = pyarrow.array(_plain(table.titles))
    columns["vector"] = pyarrow.FixedSizeListArray.from_arrays(flat, table.vectors.shape[1])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def _plain(names: np.ndarray) -> np.ndarray:
    """Integers as they are, everything else as unicode text: no file needs a pickle."""
    return names if names.dtype.kind in "iu" else names.astype(np.str_)


def _has_faiss() -> bool:
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def _write_index(folder: Path, name: str, table: VectorTable, done: Exported) -> None:
    if not _has_faiss():
        done.sentences.append(
            f'No faiss index of the {name}: faiss is not installed (`pip install "graphcl[ann]"`).'
        )
        return
    import faiss

    vectors = np.ascontiguousarray(table.vectors, dtype=np.float32)
    compares = "inner product"
    if table.search == "cosine":
        vectors = vectors.copy()
        faiss.normalize_L2(vectors)
        compares = "cosine (inner product of vectors of length one: scale a query too)"
    found = faiss.IndexFlatIP(vectors.shape[1])
    found.add(vectors)
    write_bytes(folder / f"{name}.faiss", faiss.serialize_index(found).tobytes())
    done.files[f"{name}.faiss"] = (
        f"exact faiss index of the {name} by {compares}; its numbers are rows of the table"
    )


def _write_encoder(folder: Path, loaded: LoadedRun, done: Exported) -> None:
    method = loaded.specification.method
    portable = loaded.method.portable_encoder()
    if portable is None:
        done.sentences.append(
            f"No {ENCODER}: {method} has no encoder that is a function of tensors alone."
        )
        return
    try:
        content = exported_program(portable)
    except Exception as error:  # torch.export raises many unrelated classes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        done.sentences.append(f"No {ENCODER}: torch.export cannot follow {method} ({reason}).")
        return
    write_bytes(folder / ENCODER, content)
    done.files[ENCODER] = f"the encoder for torch.export.load: {portable.meaning}"


def exported_program(portable: PortableEncoder) -> bytes:
    """The content of a `.pt2` file that `torch.export.load` reads.

    Raises:
        Exception: whatever `torch.export` raises where it cannot follow the module.
    """
    sizes: dict[str, Any] = {}
    for dimensions in portable.varying.values():
        for name, largest in dimensions.values():
            sizes.setdefault(name, torch.export.Dim(name, min=1, max=largest))
    shapes = tuple(
        {place: sizes[name] for place, (name, _) in portable.varying.get(argument, {}).items()}
        for argument in portable.arguments
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about recurrent layers, whose result is tested
        program = torch.export.export(
            portable.module, tuple(portable.arguments.values()), dynamic_shapes=shapes, strict=False
        )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # full of the paths of this machine
        torch.export.save(program, buffer)
    return buffer.getvalue()


def _write_model(folder: Path, loaded: LoadedRun, done: Exported) -> None:
    state = {
        "method": loaded.specification.method,
        "seed": loaded.seed,
        "fingerprint": loaded.fingerprint,
    }
    save_checkpoint(folder / WEIGHTS, loaded.method.state_dict(), state)
    done.files[WEIGHTS] = f"all weights of seed {loaded.seed}, in safetensors"
    write_text(folder / "config.yaml", dump_yaml(loaded.stored_config))
    done.files["config.yaml"] = "method, data set, protocol and every setting"
    measured = json.loads((loaded.folder / "result.json").read_text(encoding="utf-8"))
    # As read, the command has no passwords; an older version wrote them.
    measured["command"] = loaded.result.command
    write_text(folder / "result.json", json.dumps(measured, indent=2) + "\n")
    done.files["result.json"] = "what was measured, with the hash of the data and the versions"
