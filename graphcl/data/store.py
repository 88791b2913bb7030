"""Checksums and whole-or-nothing writes: what stands between an outside file and the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from graphcl.atomic import write_bytes
from graphcl.data.cards import CardFile, DatasetCard, FileCopy
from graphcl.errors import ChecksumError, DataError, OutputError


def check_content(card: DatasetCard, file: CardFile, content: bytes, origin: str) -> None:
    """Compare `content` with the digests of `file`.

    Args:
        card: the data set, named in the message.
        file: the file that `content` should be.
        content: all bytes.
        origin: where they come from and what to do about a mismatch, for the message.

    Raises:
        ChecksumError: neither the file nor one of its stated copies has this digest.
    """
    got = hashlib.sha256(content).hexdigest()
    git_blob = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    git_blob.update(content)
    stated: tuple[CardFile | FileCopy, ...] = (file, *file.copies)
    if any(copy.sha256 == got or copy.git_blob == git_blob.hexdigest() for copy in stated):
        return
    kind, expected = ("sha256", file.sha256) if file.sha256 else ("git blob id", file.git_blob)
    found = got if file.sha256 else git_blob.hexdigest()
    size = f"{len(content)} " + ("" if file.bytes is None else f"of {file.bytes} ") + "bytes"
    raise ChecksumError(
        f"'{file.name}' of data set '{card.name}' has the wrong {kind}: expected {expected}, "
        f"got {found} ({size}) {origin}"
    )


def check_file(card: DatasetCard, file: CardFile, path: Path, remedy: str) -> None:
    """Compare the file at `path` with the digests of `file`, if it states any.

    Raises:
        ChecksumError: the bytes are others (a truncated file included).
        DataError: the file cannot be read.
    """
    if not file.has_digest:
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    check_content(card, file, content, f"in '{path}'; {remedy}")


def write_cached(path: Path, content: bytes) -> None:
    """Write a file of the cache whole or not at all.

    Raises:
        OutputError: the cache cannot be written; the message says how to name another one.
    """
    try:
        write_bytes(path, content)
    except OutputError as error:
        raise OutputError(f"{error}; name a writable cache folder in $GRAPHCL_CACHE") from None
