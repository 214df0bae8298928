"""Documents: what every object of ours looks like, and how one that is not ours is told.

A document is a JSON object whose ``format`` says what it is and in which version.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from s3queue.errors import CorruptObject, NewerFormat

T = TypeVar("T")
Wire = dict[str, Any]

VERSIONS = {
    "ledger": 1,
    "messages": 1,
    "letter": 1,
    "queue": 1,
    "settled": 1,
    "result": 1,
    "attempt": 1,
    "reservation": 1,
    "forgetting": 1,
    "worker": 1,
    "schedule": 1,
    "lock": 1,
    "audit": 1,
}


def dump(kind: str, fields: Wire) -> bytes:
    """Return the bytes of an object of this kind."""
    document = {"format": f"s3queue.{kind}/{VERSIONS[kind]}", **fields}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def load(kind: str, body: bytes, key: str) -> Wire:
    """Return the fields of an object of this kind; CorruptObject or NewerFormat if it is none."""
    if not body:
        raise CorruptObject(key, "it is empty")
    try:
        document = json.loads(body)
    except RecursionError:
        raise CorruptObject(key, "it is nested too deeply") from None
    except ValueError as error:
        raise CorruptObject(key, f"it is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise CorruptObject(key, "it is no JSON object")
    found = document.get("format")
    name, _, version = str(found).partition("/")
    if name != f"s3queue.{kind}" or not (version.isascii() and version.isdigit()):
        raise CorruptObject(key, f"it has format {found!r}, not 's3queue.{kind}/…': it is foreign")
    if len(version) > 9 or int(version) > VERSIONS[kind]:
        raise NewerFormat(key, str(found), f"s3queue.{kind}/{VERSIONS[kind]}")
    return document


def is_a(value: Any, *kinds: type) -> Any:
    """Return ``value`` if it is of one of these very types: what is not would break far from here."""
    if type(value) not in kinds:
        raise TypeError(f"{value!r:.80} is no {kinds[0].__name__}")
    return value


def read(kind: str, body: bytes, key: str, build: Callable[[Wire], T]) -> T:
    """Return what ``build`` makes of the fields of an object of this kind; CorruptObject, too, for fields that are wrong."""
    wire = load(kind, body, key)
    try:
        return build(wire)
    except CorruptObject:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise CorruptObject(key, f"a field is missing or wrong ({type(error).__name__}: {error})") from None
