"""The application: which screen is shown, what it is fed, and what can be done everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import AppBlur, AppFocus, Event, Key, Mount, MouseEvent, Unmount
from textual.screen import Screen

from s3queue_admin.bucket import Bucket
from s3queue_admin.tui.actions import actions_on
from s3queue_admin.tui.feed import Feed
from s3queue_admin.tui.gentle import Memory
from s3queue_admin.tui.screens import PLACES, make_screen
from s3queue_admin.tui.screens.view import View
from s3queue_admin.tui.source import Source
from s3queue_admin.tui.themes import DARK, LIGHT, THEMES
from s3queue_admin.tui.widgets.statusline import Facts

TICK_S: Final = 1.0
"""How often the age of what is shown is painted anew."""
IDLE_S: Final = 1.0
"""So long after the last key nobody waits for a frame."""
FIRST_LOOK_S: Final = 0.05
"""After the start: the screen is painted before the bucket is asked."""


class Dashboard(App[None]):
    """The dashboard of a bucket. It only reads, and says so on each screen, unless ``write``.

    ``interval``: seconds between looks. ``screen`` and ``queue``: what is shown first; of a queue alone, its messages.
    """

    TITLE = "s3queue"
    CSS_PATH = Path(__file__).with_name("theme.tcss")
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(
        self, bucket: Bucket, *, interval: float = 2.0, write: bool = False, queue: str | None = None, screen: str = ""
    ) -> None:
        super().__init__()
        self.source = Source(bucket, write=write)
        self.write = write
        self.feed = Feed(self, self.source, interval=interval)
        self.memory = Memory()
        self._used_at_s = 0.0
        self.place = repr(bucket)[len("<Bucket ") : -1]
        self._first = (screen or ("messages" if queue else ""), queue or "")
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK

    def get_default_screen(self) -> Screen[Any]:
        """Return the screen that is shown before anything is known."""
        return make_screen("overview")

    @on(Mount)
    def _begin(self) -> None:
        self.memory.begin(self.source.monotonic())
        self.set_interval(TICK_S, self._tick)
        if self._first[1]:
            self._go_first()
        self.set_timer(FIRST_LOOK_S, self.feed.look)

    @on(Unmount)
    def _end(self) -> None:
        self.memory.end()

    async def on_event(self, event: Event) -> None:
        """Take note of when keys or the mouse were used last."""
        if isinstance(event, Key | MouseEvent):
            self._used_at_s = self.source.monotonic()
        await super().on_event(event)

    # -- what is shown --

    @property
    def view(self) -> View | None:
        """The uppermost screen that is none of the dialogs; none once the program ends, when widgets go one by one."""
        if not self.is_running:
            return None
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, View)), None)

    def facts(self, queue: str = "") -> Facts:
        """Return what the status line is made from."""
        standing = self.feed.standing
        requests = self.source.requests()
        return Facts(
            standing,
            standing.age_s(self.source.monotonic()),
            sum(requests.values()),
            self.source.usd(),
            self.write,
            self.feed.interval,
            self.feed.snapshot,
            queue,
        )

    def queue_names(self) -> Sequence[str]:
        """Return the names of the queues that were last seen."""
        return list(self.feed.snapshot.queues) if self.feed.snapshot is not None else []

    @on(Feed.Looked)
    def _looked(self, looked: Feed.Looked) -> None:
        is_new = self.feed.take_in(looked)
        view = self.view
        if view is None:
            return
        if not is_new:
            view.tell()
            return
        view.renew()
        self._go_first()

    def _tick(self) -> None:
        self.feed.tick()
        view = self.view
        if view is not None:
            view.tell()
        now_s = self.source.monotonic()
        if now_s - self._used_at_s >= IDLE_S and all(worker.is_finished for worker in self.workers):
            self.memory.tick(now_s)

    @on(AppBlur)
    def _blurred(self) -> None:
        self.feed.blur(blurred=True)

    @on(AppFocus)
    def _focused(self) -> None:
        self.feed.blur(blurred=False)

    # -- where to --

    def words(self) -> list[str]:
        """Return what can be said after ``:``: screens, and actions of the screen that is shown."""
        view = self.view
        own = [action.name for action in actions_on(view.NAME)] if view is not None else []
        return [*PLACES, *(name for name in own if name not in PLACES)]

    def say(self, word: str, rest: str = "") -> None:
        """Go to the screen of that name, of the queue that follows, or do the action of that name."""
        if word in PLACES and PLACES[word].takes_id:
            queue = self.view.queue if self.view is not None else ""
            self.go(word, queue, message_id=rest)
        elif word in PLACES:
            self.go(word, rest)
        elif self.view is not None:
            self.view.action_do(word)

    def go(self, name: str, queue: str = "", **options: Any) -> None:
        """Show the screen of that name; of one that is about a queue and is given none, the first queue."""
        if PLACES[name].needs_queue and not queue:
            names = self.queue_names()
            if not names:
                self.notify("There is no queue to show yet.", severity="warning")
                return
            queue = names[0]
        if name == "overview":
            while len(self.screen_stack) > 1:
                self.pop_screen()
            return
        self.push_screen(make_screen(name, queue, **options))

    def _go_first(self) -> None:
        """Go where the dashboard is to begin, if it has not begun there yet."""
        (name, queue), self._first = self._first, ("", "")
        if name:
            self.go(name, queue)

    def go_back(self) -> None:
        """Return to the screen before; from the first one nowhere."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def show_object(self, key: str) -> None:
        """Show an object of the bucket as it is."""
        from s3queue_admin.tui.screens.raw import Raw

        self.push_screen(Raw(self.source, key))

    # -- actions of every screen --

    def do_help(self) -> None:
        """Show the help of the screen that is shown."""
        from s3queue_admin.tui.screens.help import Help

        if self.view is not None:
            self.push_screen(Help(self.view.NAME, write=self.write))

    def do_pause_feed(self) -> None:
        """Stop looking, or go on."""
        self.feed.pause(paused=not self.feed.standing.paused)
        if self.view is not None:
            self.view.tell()

    def do_refresh(self) -> None:
        """Look now."""
        self.feed.look(fresh=True)

    def do_theme(self) -> None:
        """Switch between light and dark."""
        self.theme = LIGHT if self.theme == DARK else DARK

    def do_quit(self) -> None:
        """Leave."""
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return what the palette offers: the screens, and the actions of the one that is shown."""
        for name, place in PLACES.items():
            if place.takes_id:
                continue
            yield SystemCommand(f"Go to {name}", place.title, partial(self.say, name))
        if isinstance(screen, View):
            for action in actions_on(screen.NAME):
                if self.write or not action.write:
                    title = f"{action.title[:1].upper()}{action.title[1:]} ({action.shown_key})"
                    yield SystemCommand(title, action.help, partial(screen.action_do, action.name))
