"""Going through many things some at a time: a request takes so many, and memory holds no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to ``size`` items, made as they are wanted."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some
