"""How far a long read is: told to whoever asks, or drawn on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

T = TypeVar("T")
Progress = Callable[[int, int | None], None]
"""Called with how many are done and of how many, if that is known; what it raises stops the read."""
Told = Progress | Literal["bar"] | None
EVERY: Final = 100
"""After how many it is called again."""
PATIENCE: Final = 1000
"""How many are read before a bar is drawn: short reads have none."""


class Bar:
    """A progress bar on stderr, if that is a terminal; drawn when over a thousand are done. Use it in a ``with`` statement."""

    def __init__(self, label: str, total: Callable[[], int | None]) -> None:
        self._label, self._total = label, total
        self._bar: ProgressBar[Any] | None = None
        self._drawn = 0
        self._wanted = sys.stderr.isatty()

    def __call__(self, done: int, total: int | None = None) -> None:
        if not self._wanted or done < PATIENCE:
            return
        if self._bar is None:
            # Of an unknown length, click draws no share: the bar only moves.
            length = max(total or self._total() or 0, done)
            self._bar = click.progressbar(length=length, label=self._label, file=sys.stderr, show_pos=True)
            self._bar.__enter__()
        self._bar.update(done - self._drawn)
        self._drawn = done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)


def watched(
    items: Iterable[T], told: Told, *, label: str = "reading", total: Callable[[], int | None] = lambda: None
) -> Iterator[T]:
    """Yield the items, telling ``told`` every hundred and at the end; ``"bar"`` draws one.

    ``total``: how many there will be, if anybody knows; asked once, and only if it is to be told.
    """
    if told is None:
        yield from items
    elif told == "bar":
        with Bar(label, total) as bar:
            yield from _telling(items, bar, None)
    else:
        yield from _telling(items, told, total())


def _telling(items: Iterable[T], told: Progress, total: int | None) -> Iterator[T]:
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        if done % EVERY == 0:
            told(done, total)
    if done % EVERY or not done:
        told(done, total)
