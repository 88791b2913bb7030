"""Passwords of databases, which are typed in URLs and must not be printed or written anywhere."""

from __future__ import annotations

import re
import shlex
from urllib.parse import unquote

HIDDEN = "***"

_CREDENTIALS = re.compile(r"(\w[\w+.-]{0,40}://(?!/)[^/:]*):.*@", re.DOTALL)
"""`scheme://user:password@`; the user is read as SQLAlchemy reads it, `@` and spaces among its
letters, and the password may hold any character, `@` itself among them.
Of a longer scheme the end is enough; without a bound, long words would take quadratic time."""

_URL = re.compile(r"[^\s'\"]*://")
"""How a text begins that is a URL and nothing else, with an option's name before it or not."""

_PARAMETER = re.compile(r"(?<=[?&;])([^=&;?\s'\"]+)=([^&\s'\"]+)")
"""In a sentence, where a quotation mark or a space may end the URL."""

_URL_PARAMETER = re.compile(r"(?<=[?&;])([^=&;?\s'\"]+)=([^&]+)")

_SECRET = ("pass", "pwd", "secret", "token", "odbc_connect")
"""What the name of a parameter holds whose value is a secret. `odbc_connect` is a whole
connection in one value, the password among it."""


def without_password(text: str) -> str:
    """A URL, or a sentence or an argument with one in it, as it may be shown.

    `scheme://user:password@host` loses the password, and in `?password=...` (passwd, pwd and
    the like) stars stand for the value.
    """
    parameter = _URL_PARAMETER if _URL.match(text) else _PARAMETER
    return parameter.sub(_hidden, _CREDENTIALS.sub(r"\1@", text))


def command_without_password(command: str) -> str:
    """A shell command of which every word is `without_password`."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is not closed
        return without_password(command)
    shown = [without_password(word) for word in words]
    return command if shown == words else shlex.join(shown)


def _hidden(found: re.Match[str]) -> str:
    name = unquote(found[1]).lower()
    return f"{found[1]}={HIDDEN}" if any(word in name for word in _SECRET) else found[0]
