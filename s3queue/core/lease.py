"""A lock as it lies in the bucket, and what may become of it: pure functions from what is there to what is to be written.

A lock is *held* (it has a holder and an end), *free* (given back, broken, or past its end by the margin for clocks), or
*doomed* (a sweep is about to delete it). Each holder has a **token** above all earlier ones, also those of objects that
were deleted since: tokens are never below store time in milliseconds. A **nonce** names each attempt to take a lock, so
that an attempt whose answer was lost is known again, and no two bodies of a lock are the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from s3queue.clock import to_datetime
from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.document import Wire, dump, is_a, read

MARGIN_MS = RESCUE_MARGIN_MS
"""How long after its end a lock is left to its holder: as much as clocks may differ."""
TRUST = 0.9
"""The part of its time for which a holder relies on a lock, from before the request that took or renewed it."""
KEPT_MS = 86_400_000
"""How long the object of a lock that nobody holds is kept: its token must be past by every clock when it goes."""
DELETE_WITHIN_S = 5.0
"""How long after dooming a lock the request that deletes it may be sent: once, and never again."""
DOOMED_MS = 16 * 60_000
"""When that request can land no more: S3 refuses a signature older than 15 minutes."""


@dataclass(frozen=True, slots=True)
class LockState:
    """What the object of a lock says; times are store time. ``holder`` is '' for one that was given back or broken."""

    name: str
    token: int
    nonce: str
    holder: str
    acquired_at_ms: int
    expires_at_ms: int
    doomed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Bid:
    """An attempt to take a lock."""

    name: str
    holder: str
    nonce: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request was not granted; who holds the lock (''), with which token (0), until when, as far as anybody does."""

    why: str
    holder: str = ""
    token: int = 0
    until_ms: int = 0
    doomed: bool = False


def acquire(found: LockState | None, bid: Bid, now: int) -> LockState | Refused:
    """Return the lock in the hands of the bidder; refused while somebody may rely on it, or it is being deleted."""
    if found is not None:
        free_at_ms = found.doomed_at_ms + DOOMED_MS
        if found.doomed_at_ms and free_at_ms > now:
            return Refused("it was not used for a day and is being deleted", until_ms=free_at_ms, doomed=True)
        if not found.doomed_at_ms and found.holder and found.expires_at_ms + MARGIN_MS > now:
            why = f"{_holder(found)} until {to_datetime(found.expires_at_ms)}"
            return Refused(why, found.holder, found.token, found.expires_at_ms)
    return LockState(bid.name, _next_token(found, now), bid.nonce, bid.holder, now, now + bid.ttl_ms)


def why_lost(found: LockState | None, nonce: str) -> str:
    """Return why who took the lock with this nonce holds it no more; '' if nobody else has touched it."""
    if found is None:
        return "its object is gone"
    if found.doomed_at_ms:
        return "it ran out a day ago and is being deleted"
    if found.nonce == nonce:
        return "" if found.holder else "it was released"
    return _holder(found) if found.holder else f"it was broken, or others have had it since (token {found.token})"


def renew(found: LockState | None, nonce: str, ttl_ms: int, now: int) -> LockState | Refused:
    """Return the lock with a later end. One that ran out may be renewed as long as nobody else has had it."""
    lost = why_lost(found, nonce)
    if found is None or lost:
        return Refused(lost)
    return replace(found, expires_at_ms=max(found.expires_at_ms + 1, now + ttl_ms))


def release(found: LockState | None, nonce: str, now: int) -> LockState | Refused:
    """Return the lock free; as it is if it was released before."""
    if found is not None and found.nonce == nonce and not found.holder and not found.doomed_at_ms:
        return found
    lost = why_lost(found, nonce)
    if found is None or lost:
        return Refused(lost)
    return replace(found, holder="", expires_at_ms=now)


def take_away(found: LockState | None, nonce: str, now: int) -> LockState | None:
    """Return the lock free, under a token above the holder's; None if nobody has it."""
    if found is None or not found.holder or found.doomed_at_ms:
        return None
    return replace(found, holder="", token=_next_token(found, now), nonce=nonce, expires_at_ms=now)


def doom(found: LockState | None, now: int) -> LockState | None:
    """Return the lock doomed, so that nobody takes it while it is being deleted; None if it is too early for that."""
    if found is None or max(found.expires_at_ms, found.token) + KEPT_MS > now or found.doomed_at_ms + DOOMED_MS > now:
        return None
    return replace(found, doomed_at_ms=now)


def _next_token(found: LockState | None, now: int) -> int:
    return max(found.token + 1 if found else 1, now)


def _holder(found: LockState) -> str:
    return f"{found.holder!r} holds it with token {found.token}"


def encode_lock(state: LockState) -> bytes:
    """Return a lock's bytes."""
    return dump("lock", asdict(state))


def decode_lock(body: bytes, key: str) -> LockState:
    """Return the lock in ``body``; CorruptObject or NewerFormat if it is none, or another's."""

    def build(wire: Wire) -> LockState:
        name, nonce, holder = (is_a(wire[field], str) for field in ("name", "nonce", "holder"))
        times = (is_a(wire[field], int) for field in ("acquired_at_ms", "expires_at_ms", "doomed_at_ms"))
        if not key.endswith(f"/{name}.json"):
            raise ValueError(f"it is the lock {name!r}, not what its key says")
        return LockState(name, is_a(wire["token"], int), nonce, holder, *times)

    return read("lock", body, key, build)
