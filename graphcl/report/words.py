"""Settings and protocols as words a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def protocol_sentence(protocol: Mapping[str, Any]) -> str:
    """The protocol and every choice that changes the number, as one sentence."""
    choices = [
        f"{spaced(key)} {phrase(value)}"
        for key, value in protocol.items()
        if key not in ("name", "description")
    ]
    text = f"Protocol {protocol['name']}"
    if protocol.get("description"):
        text += f" ({str(protocol['description']).rstrip('.')})"
    return f"{text}: {'; '.join(choices)}." if choices else f"{text}."


def dataset_sentence(dataset: Mapping[str, Any]) -> str:
    """The data set and its statistics, as one sentence."""
    facts = [
        f"{spaced(key)} {phrase(value)}"
        for key, value in dataset.items()
        if key not in ("name", "hash")
    ]
    if dataset.get("hash"):
        facts.append(f"content hash {str(dataset['hash'])[:12]}")
    text = f"Data set {dataset['name']}"
    return f"{text}: {', '.join(facts)}." if facts else f"{text}."


def spaced(key: str) -> str:
    """A key as words: `seen_items` -> `seen items`."""
    return str(key).replace("_", " ").replace("-", " ").strip()


def phrase(value: Any) -> str:
    """A value as words: yes and no for booleans, thousands separated, six digits at most."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{spaced(key)} {phrase(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(phrase(item) for item in value) or "none"
    return str(value)
