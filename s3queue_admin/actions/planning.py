"""Plans: which messages an action is about, what it will cost, what to mind. Making one writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from sys import intern
from typing import Any, Final, Protocol

from s3queue.clock import to_datetime, to_ms
from s3queue.core.keys import is_message_id, parse_letter
from s3queue.errors import InvalidInput
from s3queue.protocol.changing import IS_DEAD, NOT_THERE
from s3queue.protocol.viewing import MessageView, find
from s3queue.queue import Queue
from s3queue.store.metered import S3_STANDARD, Prices
from s3queue_admin.actions import applying
from s3queue_admin.actions.costs import estimate, is_edited
from s3queue_admin.actions.model import VERBS, Cost, Progress, Result, Sample, Stop, never
from s3queue_admin.actions.options import check_options
from s3queue_admin.text import Redactor

SAMPLE: Final = 5
LIMIT: Final = 100_000
"""How many messages a plan has at most unless told: it keeps of each what it takes to find it again, half a kilobyte."""
MANY: Final = 1_000
_NONE: Final[dict[str, str]] = {}
_WAITS = ("pending", "scheduled", "processing")


class Chooses(Protocol):
    """What a filter is to a plan: :class:`s3queue_admin.filters.Filter`."""

    @property
    def states(self) -> tuple[str, ...]:
        """The states that messages which match can be in."""
        ...

    def matches(self, view: MessageView, now_ms: int) -> bool:
        """Whether the message is meant."""
        ...


Where = Chooses | str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """An action before it is done. ``count`` messages are meant (``views``, or dead ``letters`` by name; both bare of payloads).

    ``refused``: ids that were asked for and cannot be. ``cost`` and ``usd``: about what it will take. ``more``: others match
    and are not in this plan. A dry run is a plan that is not applied.
    """

    queue: Queue
    verb: str
    where: str
    options: Mapping[str, Any]
    planned_at: datetime
    views: tuple[MessageView, ...] = ()
    letters: tuple[str, ...] = ()
    sample: tuple[Sample, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    usd: float = 0.0
    warnings: tuple[str, ...] = ()
    more: bool = False
    redactor: Redactor = field(default_factory=Redactor)

    @property
    def count(self) -> int:
        """How many messages are meant; 0 for actions on the queue itself."""
        return len(self.views) + len(self.letters)

    def apply(
        self, *, reason: str = "", who: str | None = None, on_progress: Progress | None = None, stop: Stop = never
    ) -> Result:
        """Do it: exactly to these messages as they were seen; return what came of it, which is in the audit trail, too.

        What changed since is refused, with why. A store that fails in the middle ends it: the result has what was done
        until then, and the error. ``stop`` is asked between commits. Raises LockHeld if another replay or discard is under
        way; StoreRefused, before anything is changed, if the audit entry cannot be written.
        """
        return applying.apply(self, reason=reason, who=who, on_progress=on_progress, stop=stop)


def plan(
    queue: Queue,
    verb: str,
    where: Where = None,
    *,
    limit: int = LIMIT,
    prices: Prices = S3_STANDARD,
    redactor: Redactor | None = None,
    **options: Any,
) -> Plan:
    """Return what doing ``verb`` would mean: which messages, which requests. Reads what the filter has to see.

    ``where``: a filter, an id or ids; not for ``purge`` (all dead letters) nor what is about the queue.
    ``queue``: opened for writing if the plan is to be applied. Options by verb: ``replay`` (``payload``, ``patch`` (an
    RFC 7396 merge patch), ``edit`` (a function of the payload), ``to`` (another queue), ``per_s``), ``reprioritise``
    (``priority``), ``delay`` (``seconds`` from now), ``reset`` (``lapsed``: only ended leases), ``cancel`` (``claimed``),
    ``unlock`` (``name``, ``token``), ``unschedule`` (``name``), ``configure`` (settings as for the queue).
    Raises InvalidInput for what cannot be meant.
    """
    hides = redactor or Redactor()
    check_options(verb, options)
    now_ms = queue.connect().lane.now_ms()
    made = Plan(queue, verb, _say(where), options, to_datetime(now_ms), redactor=hides)
    if verb == "purge":
        made = _refuse_where(made, where)
        names = tuple(islice(queue.dlq.names(), limit + 1))
        made = replace(made, letters=names[:limit], more=len(names) > limit)
    elif not VERBS[verb]:
        made = _refuse_where(made, where)
    else:
        made = _with_messages(made, where, limit, now_ms)
    cost = estimate(made)
    return replace(made, cost=cost, usd=cost.usd(prices), warnings=tuple(_warnings(made, now_ms)))


def paced(made: Plan, per_s: float, *, prices: Prices = S3_STANDARD) -> Plan:
    """Return a plan to replay at that many messages a second; InvalidInput if that cannot be."""
    options = {**made.options, "per_s": per_s}
    check_options(made.verb, options)
    again = replace(made, options=options)
    cost = estimate(again)
    warnings = tuple(_warnings(again, to_ms(made.planned_at)))
    return replace(again, cost=cost, usd=cost.usd(prices), warnings=warnings)


def _say(where: Where) -> str:
    if where is None or isinstance(where, str):
        return where or ""
    if isinstance(where, Iterable):
        return ""
    return str(where)


def _refuse_where(made: Plan, where: Where) -> Plan:
    if where is not None:
        raise InvalidInput(
            f"{made.verb} takes no filter and no ids.",
            remedy="Leave them out, or use discard."
            if made.verb == "purge"
            else "Leave them out: it is about the queue.",
        )
    return made


def _with_messages(made: Plan, where: Where, limit: int, now_ms: int) -> Plan:
    """Choose by ids, or by a filter over the states that the verb is about."""
    if where is None:
        raise InvalidInput(
            f"Say which messages to {made.verb}.", remedy="Give ids, or a filter: the empty one, parse(''), means all."
        )
    if isinstance(where, str) and not is_message_id(where):
        raise InvalidInput(
            f"{where!r:.80} is no message's id.",
            remedy="Use what enqueue returned; of a filter's text make one: parse('…').",
        )
    if isinstance(where, str | Iterable):
        return _by_ids(made, [where] if isinstance(where, str) else list(where))
    states = [state for state in VERBS[made.verb] if state in where.states]
    if not states:
        raise InvalidInput(
            f"{made.verb} is about messages that are {' or '.join(VERBS[made.verb])}, and no such message matches {where}.",
            remedy="Change the filter, or use another verb.",
        )
    admits: Callable[[str], bool] | None = getattr(where, "admits", None)
    views = made.queue.messages(*states) if admits is None or admits(made.queue.name) else iter(())
    chosen = (view for view in views if where.matches(view, now_ms))
    planned = _with(made, islice(chosen, limit))
    return replace(planned, more=next(chosen, None) is not None)


def _by_ids(made: Plan, ids: list[str]) -> Plan:
    if not ids or not all(isinstance(id_, str) and id_ for id_ in ids):
        raise InvalidInput(f"The ids are {ids!r:.80}.", remedy="Give the ids of messages, one at least.")
    lanes = [agents.lane for agents in made.queue.connect().lanes.all()]
    states = VERBS[made.verb]
    found = find(lanes, ids, ("dead",) if states == ("dead",) else (*_WAITS, "dead"))
    refused = {id_: NOT_THERE if states != ("dead",) else "there is no letter of it" for id_ in ids if id_ not in found}
    chosen = []
    for id_ in dict.fromkeys(ids):
        view = found.get(id_)
        if view is not None and view.state in states:
            chosen.append(view)
        elif view is not None:
            refused[id_] = IS_DEAD if view.state == "dead" else f"it is {view.state}: {made.verb} is not for those"
    where = made.where or " ".join(islice(ids, 1000))
    return _with(replace(made, where=where, refused=refused), chosen)


def _with(made: Plan, chosen: Iterable[MessageView]) -> Plan:
    """Keep of dead letters the names, of others what was seen, without payload; and some of them to show."""
    sample: list[Sample] = []
    views: list[MessageView] = []
    letters: list[str] = []
    early = dict(made.refused)
    for view in chosen:
        if len(sample) < SAMPLE:
            sample.append(_sample(view, made.redactor))
        if VERBS[made.verb] != ("dead",):
            views.append(_bare(view))
        elif parse_letter(view.name) is not None:
            letters.append(view.name)
        else:
            early[view.id] = "it has just died, and its letter is not written yet: try again"
    return replace(made, views=tuple(views), letters=tuple(letters), sample=tuple(sample), refused=early)


def _bare(view: MessageView) -> MessageView:
    """Return what says which message was seen, where, and who has it: what it holds is read again when it is moved."""
    message = replace(view.message, payload=None, errors=(), headers=_NONE, retry=None)
    return replace(view, message=message, key="", name=intern(view.name))


def _sample(view: MessageView, redactor: Redactor) -> Sample:
    last = view.errors[-1] if view.errors else None
    error = redactor.text(f"{last.type}: {last.message}", "error") if last is not None else ""
    payload = redactor.value(view.payload, "payload")
    return Sample(view.id, view.state, payload, error, view.message.attempts)


def _warnings(made: Plan, now_ms: int) -> Iterable[str]:
    held = [view for view in made.views if view.token]
    living = sum(view.expires_at_ms > now_ms for view in held)
    if made.more:
        yield f"More match: this plan has the first {made.count:,}. Make another when it is done."
    if made.verb == "cancel" and held and made.options.get("claimed", True):
        yield f"Workers hold {len(held):,} of them: they may be at work, and are refused the outcome."
    if made.verb in ("reset", "release") and living and not made.options.get("lapsed"):
        yield f"The lease of {living:,} has not ended: their workers may be at work, and are refused the outcome."
    if made.verb == "replay" and made.count > MANY and not made.options.get("per_s"):
        yield f"{made.count:,} messages become visible at once; per_s spreads them."
    if made.verb == "replay" and is_edited(made.options):
        yield "Edited or moved to another queue, they become new messages, with new ids and no errors of the past."
    if made.verb in ("discard", "purge") and made.count:
        yield "What is discarded can be had back only where the bucket keeps versions (undo)."
    if made.verb == "unlock":
        yield "A holder that lives goes on until its next renewal: break locks of the dead, or where tokens are checked."
    if made.verb == "unschedule":
        yield "What was enqueued stays; a process that says the schedule when it starts makes it anew."
    if made.verb in ("replay", "reset", "release") and made.queue.connect().lane.committer.ledger.paused:
        yield "The queue is paused: nothing of it is processed before it is resumed."
