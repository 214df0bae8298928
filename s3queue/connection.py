"""One process' connection to a queue: its store, dressed; its settings; its lane and the agents on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from s3queue.clock import Clock
from s3queue.coordination import MESSAGES, Hint, Hints, NoHints
from s3queue.core.codec import decode_ledger, encode_ledger
from s3queue.core.keys import Keys, parse_ledger_key
from s3queue.core.payload import PayloadCodec
from s3queue.core.settings import Settings
from s3queue.errors import CorruptObject, S3QueueError
from s3queue.events import Events
from s3queue.ids import Ids
from s3queue.protocol.committer import Committer
from s3queue.protocol.duties import Duties
from s3queue.protocol.history import HistoryWriter
from s3queue.protocol.inbox import Inbox, Scanner
from s3queue.protocol.lane import Lane, Standing
from s3queue.protocol.lanes import Agents, Consumer, Lanes
from s3queue.protocol.locks import sweep_locks
from s3queue.protocol.naming import Naming
from s3queue.protocol.register import Register
from s3queue.protocol.retention import Retention
from s3queue.protocol.schedules import Scheduler
from s3queue.store.metered import Meter, Metered
from s3queue.store.opening import dress
from s3queue.store.port import Store
from s3queue.store.probe import ensure_safe
from s3queue.store.record import Record
from s3queue.telemetry import OFF, Telemetry

_FOREIGN_TOLD = 1000


class Connection:
    """What a queue object keeps while it is open. Making one asks nothing of the store."""

    def __init__(
        self,
        raw: Store,
        root: str,
        *,
        worker: str,
        wanted: Settings,
        codec: PayloadCodec,
        probe: bool,
        clock: Clock,
        ids: Ids,
        meter: Meter,
        events: Events,
        hints: Hints | None = None,
        telemetry: Telemetry = OFF,
        tell_settings: Callable[[Settings], object] = bool,
    ) -> None:
        self._clock, self._ids, self._events = clock, ids, events
        self._foreign: set[str] = set()
        self.hints: Hints = hints or NoHints()
        self.store = dress(raw, root, clock=clock, ids=ids, meter=meter, on_throttle=self._tell_throttled)
        self._once = Metered(raw, meter, root)
        self.keys = Keys(root)
        probing = self._probe if probe else None
        self.register = Register(self.store, self.keys, clock, wanted, probing, tell=tell_settings)
        self.standing = Standing(worker, telemetry=telemetry, announce=self._announce)
        self._codec = codec
        self._abroad: dict[str, Lane] = {}
        self.lanes = Lanes(
            lambda number: Agents.of(self._make_lane(number, self.keys, self.standing)), self.register.current
        )
        self.lane = self.lanes.first.lane
        """The first lane, where what concerns the whole queue is written down."""
        self.consumer = Consumer(self.lanes)
        """What a worker claims by; those who receive, or process once, hold what they claim apart."""
        self.receiver, self.processor = Consumer(self.lanes.beside()), Consumer(self.lanes.beside())
        self.duties = Duties(self.lanes, self.register.change)
        self.duties.add(Scheduler(self.lane).step, 1.0)
        self.duties.add(Retention(self.lane).step, 60.0)
        self.duties.add(partial(sweep_locks, self.lane), 3600.0)
        self.history = HistoryWriter(self.lane)
        self.standing.note = self.history.note

    def _lane_abroad(self, ledger: str) -> Lane:
        """Return the lane of another queue that has this ledger, to take part in its books."""
        lane = self._abroad.get(ledger)
        if lane is None:
            found = parse_ledger_key(ledger)
            if found is None:
                raise CorruptObject(ledger, "it is not the key of a ledger")
            root, number = found
            lane = self._abroad[ledger] = self._make_lane(number, Keys(root), Standing(self.standing.worker))
        return lane

    def _make_lane(self, number: int, keys: Keys, standing: Standing) -> Lane:
        codec, store = self._codec, self.store
        clock, ids = self._clock, self._ids
        inbox = Inbox(store, keys, number, codec=codec, on_foreign=self._tell_foreign)
        # Not the worker's id: that may be given again to another process, whose commit numbers begin anew.
        writer = ids.new(clock.now_ms())
        record = Record(store, keys.ledger(number), decode_ledger, encode_ledger)
        return Lane(
            number=number,
            standing=standing,
            store=store,
            once=self._once,
            keys=keys,
            committer=Committer(record, writer=writer, clock=clock, ids=ids, now_ms=store.now_ms),
            inbox=inbox,
            scanner=Scanner(inbox, clock, store.now_ms),
            events=self._events,
            settings=self.register.current,
            clock=clock,
            ids=ids,
            codec=codec,
            naming=Naming(ids),
            abroad=self._lane_abroad,
        )

    def _announce(self, lane: int) -> None:
        self.hints.announce(Hint(MESSAGES, lane))

    def _probe(self) -> None:
        ensure_safe(self.store, self.keys.root, ids=self._ids, clock=self._clock)

    def _tell_foreign(self, key: str) -> None:
        if key in self._foreign or len(self._foreign) >= _FOREIGN_TOLD:
            return
        self._foreign.add(key)
        error = CorruptObject(key, "it is foreign", remedy="It is ignored: move it away.")
        self._events.emit("error", error=error, doing="listing the inbox")

    def _tell_throttled(self, operation: str, attempt: int, delay_s: float) -> None:
        self._events.emit("s3-throttled", operation=operation, attempt=attempt, delay_s=delay_s)

    def close(self) -> None:
        """Clean up after this process and give back what the store holds."""
        self.hints.close()
        for agents in self.lanes.known:
            if not agents.lane.is_aside:
                agents.janitor.tick(flush=True)
        self.flush()
        self.history.step(flush=True)
        self.store.close()

    def tidy(self, *, flush: bool = False) -> None:
        """Delete, journal and sweep what is due (with ``flush``: delete and journal all there is).

        Messages do not wait for it: what fails is told as an error event and tried again later.
        """
        steps: list[tuple[Lane | None, Callable[[], object]]] = [(None, partial(self.history.step, flush=flush))]
        for agents in self.lanes.all():
            steps.append((agents.lane, partial(agents.janitor.tick, flush=flush)))
            if not flush:
                steps.append((agents.lane, partial(agents.sweeper.step, eager=True)))
        for lane, step in steps:
            if lane is None or not lane.is_aside:
                self.attempt("tidying up", step, lane)

    def attempt(self, doing: str, step: Callable[[], object], lane: Lane | None = None) -> None:
        """Do what may be done later as well; tell of a failure as an error event, unless it is of a ledger left alone."""
        try:
            step()
        except S3QueueError as error:
            if lane is None or not lane.sets_aside(error):
                self._events.emit("error", error=error, doing=doing)

    def flush(self) -> None:
        """Commit what waits for a commit to ride with; for a process that may not come back."""
        for agents in self.lanes.known:
            if not agents.lane.is_aside:
                agents.flush()
