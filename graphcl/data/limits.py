"""Refuse files that would unpack to far more than they are, before they do.

A kilobyte of zeros-to-be can stand for gigabytes; such a file is an attack or an accident, and
both end better in a sentence than in a machine without memory.
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from graphcl.errors import DataError

HARMLESS_BYTES = 256 << 20
"""An archive that unpacks to less is fine, however well it is packed."""

LARGEST_RATIO = 500
"""Feature matrices of mostly zeros pack to a two-hundredth; deflate's limit is about 1000."""


HARMLESS_TEXT = 16 << 20
"""Bytes: millions of short lines, which are read in seconds."""

LARGEST_TEXT_RATIO = 50
"""Tables of numbers pack to a third or a tenth, sorted ones to a thirtieth."""

LONGEST_LINE = 1 << 20
"""Of packed text: a row of a hundred thousand numbers fits."""


def unpacked_lines(path: Path) -> Iterator[str]:
    """The lines of a gzip file of ASCII text, unpacked as they are asked for.

    Raises:
        DataError: the file cannot be read, is not such text, has a line of more than `LONGEST_LINE`
            bytes, or unpacks to very much more than it is.
    """
    total = 0
    try:
        most = max(HARMLESS_TEXT, LARGEST_TEXT_RATIO * path.stat().st_size)
        with gzip.open(path, "rb") as stream:
            while line := stream.readline(LONGEST_LINE):
                total += len(line)
                if total > most:
                    raise DataError(
                        f"'{path}' would unpack to more than {most} bytes, which is refused"
                    )
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    raise DataError(f"'{path}' has a line of more than {LONGEST_LINE} bytes")
                yield line.decode("ascii")
    except UnicodeDecodeError:
        raise DataError(f"'{path}' holds something other than ASCII text") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"'{path}' is not a whole gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None


def check_unpacked(path: Path) -> None:
    """Refuse a zip archive that unpacks to very much more than it is; other files pass.

    Raises:
        DataError: it does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        size = path.stat().st_size
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return  # the reader of the file says what is wrong with it
    if total > max(HARMLESS_BYTES, LARGEST_RATIO * size):
        raise DataError(
            f"'{path}' has {size} bytes and would unpack to {total}, more than {LARGEST_RATIO} "
            "times as many; it is refused"
        )


def check_memory(origin: str, needed: int) -> None:
    """Refuse an array that this machine could not hold.

    Raises:
        DataError: it needs more bytes than the machine has memory.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{origin} would take {needed / 2**30:.0f} GiB as a dense array; "
            f"this machine has {memory / 2**30:.0f} GiB"
        )
