"""What a payload may be, and codecs that pack it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any, Protocol

from s3queue.core.checking import check_can
from s3queue.errors import CorruptObject, InvalidPayload, InvalidSetting


class PayloadCodec(Protocol):
    """Packs payloads on their way into the bucket: compression, encryption. ``name`` is written beside them."""

    name: str

    def encode(self, data: bytes) -> bytes:
        """Return ``data`` packed."""
        ...

    def decode(self, data: bytes) -> bytes:
        """Return what ``encode`` was given."""
        ...


class Plain:
    """Payloads as they are, readable with any S3 client."""

    name = ""

    def encode(self, data: bytes) -> bytes:
        """Return ``data``."""
        return data

    def decode(self, data: bytes) -> bytes:
        """Return ``data``."""
        return data


class Gzip:
    """Payloads compressed by gzip; worth it from a few hundred bytes an object."""

    name = "gzip"

    def encode(self, data: bytes) -> bytes:
        """Return ``data`` compressed; the same bytes each time."""
        return gzip.compress(data, mtime=0)

    def decode(self, data: bytes) -> bytes:
        """Return ``data`` decompressed."""
        return gzip.decompress(data)


PLAIN = Plain()

MAX_DEPTH = 100
"""How deep a payload may be nested. Python's JSON reader gives up at a depth that hangs on who calls it: what one process
could write, another might never read."""


def check_codec(codec: PayloadCodec) -> PayloadCodec:
    """Return the codec; raise InvalidSetting for what is none, or has no name to be found again by."""
    check_can("codec", codec, "encode", "decode")
    name = getattr(codec, "name", None)
    if not isinstance(name, str) or (not name and codec is not PLAIN):
        raise InvalidSetting(f"The codec {codec!r:.80} has no name.", remedy="Give it a `name` attribute.")
    return codec


class Seal:
    """The codecs that this process can read, by name."""

    def __init__(self, codecs: Sequence[PayloadCodec] = ()) -> None:
        self._codecs = {codec.name: codec for codec in (Gzip(), *codecs)}

    def find(self, name: str, key: str) -> PayloadCodec:
        """Return the codec; CorruptObject if this process has none of that name."""
        codec = self._codecs.get(name)
        if codec is None:
            raise CorruptObject(
                key,
                f"its payloads are packed by codec {name!r}, which this process does not have",
                remedy=f"Open the queue with codec=… whose name is {name!r}.",
            )
        return codec


def check_payload(payload: Any, limit_bytes: int) -> int:
    """Return the size of ``payload`` as JSON in bytes; raise InvalidPayload if JSON cannot hold it or it is larger.

    Any JSON value will do, None included. Tuples become lists. Integers are exact, floats must be finite.
    """
    remedy = "Use dicts with string keys, lists, strings, finite numbers, booleans and None."
    try:
        size = len(json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
        _check_keys(payload, "payload")
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidPayload(f"JSON cannot hold the payload: {error}.", remedy=remedy) from None
    except ValueError as error:
        raise InvalidPayload(f"JSON cannot hold the payload: {error}.", remedy=remedy) from None
    except RecursionError:
        raise InvalidPayload(
            f"The payload is nested more than {MAX_DEPTH} levels deep.", remedy="Flatten it."
        ) from None
    if size > limit_bytes:
        raise InvalidPayload(
            f"The payload has {size:,} bytes as JSON; the limit is {limit_bytes:,}.",
            remedy="Put the data into an object of its own and enqueue its key, or raise max_payload_bytes.",
        )
    return size


def _check_keys(value: Any, path: str, depth: int = 1) -> None:
    """Refuse keys that json would silently turn into strings (two of them could become one), and too deep a nesting."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} in {path} is of type {type(key).__name__}, not a string")
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{path}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{path}[{index}]", depth + 1)
