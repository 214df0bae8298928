"""``:`` takes names of screens, of queues, and of actions: ``:messages emails``, ``:q``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from textual.message import Message

from s3queue.core.keys import is_message_id
from s3queue_admin.tui.screens import PLACES
from s3queue_admin.tui.widgets.prompt import Prompt


class CommandBar(Prompt):
    """Posts :class:`Said`. ``words`` returns what can be said; ``queues`` the names that may follow."""

    class Said(Message):
        """A command: its first word, and what follows."""

        def __init__(self, word: str, rest: str) -> None:
            self.word, self.rest = word, rest
            super().__init__()

    def __init__(
        self,
        words: Callable[[], Sequence[str]],
        queues: Callable[[], Sequence[str]],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(":", hint="messages emails", id=id)
        self._words, self._queues = words, queues

    def candidates(self, text: str, cursor: int) -> tuple[int, list[str]]:
        """Return commands, or queues after the first word."""
        start = text.rfind(" ", 0, cursor) + 1
        begun = text[start:cursor]
        known = self._queues() if start else self._words()
        return start, [word for word in known if word.startswith(begun) and (start or begun or word)]

    def judge(self, text: str) -> tuple[int, str] | None:
        """Return what is wrong with the command."""
        word, _, rest = text.strip().partition(" ")
        if word and word not in self._words():
            near = difflib.get_close_matches(word, self._words(), 1)
            return 0, f"There is no {word!r}." + (f" Did you mean {near[0]}?" if near else "")
        if word in PLACES and PLACES[word].takes_id:
            return None if is_message_id(rest.strip()) else (len(word) + 1, "Here a message's id is needed.")
        if rest.strip() and rest.strip() not in self._queues():
            return len(word) + 1, f"There is no queue {rest.strip()!r} in the bucket."
        return None

    def said(self, text: str) -> bool:
        """Hand the command to the application."""
        word, _, rest = text.strip().partition(" ")
        if word:
            self.post_message(self.Said(word, rest.strip()))
        return True
