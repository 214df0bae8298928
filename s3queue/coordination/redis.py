"""Hints by Redis: publish and subscribe on one channel a queue; presence in keys that expire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from s3queue.clock import Clock, SystemClock
from s3queue.coordination.port import Hint, decode_card
from s3queue.coordination.transport import Card, Source

SPACING_S: Final = 0.02
_PATIENCE_S = 1.0
_LISTEN_S = 0.5
_PING_S = 5.0
_SILENCE_S = 15.0
_INDEX_TTL_S = 86_400


def shown_url(url: str) -> str:
    """Return the URL without user, password and options."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}/{parts.path.strip('/') or 0}"


class RedisTransport:
    """One Redis (or Valkey) server; ``scope`` tells queues apart that share it."""

    reaches_all = True
    shows = True
    spacing_s = SPACING_S

    def __init__(self, url: str, scope: str, clock: Clock | None = None) -> None:
        self.name = shown_url(url)
        self._clock = clock or SystemClock()
        self._channel = f"s3queue:{scope}"
        # One more try, at once: a connection that lay idle may have been closed by whoever is in between.
        self._sending = _client(url, retries=1)
        self._listening = _client(url, retries=0)

    def send(self, hints: Sequence[Hint], cards: Sequence[Card]) -> None:
        pipe = self._sending.pipeline(transaction=False)
        if not hints and not cards:
            pipe.ping()
        for hint in hints:
            pipe.publish(self._channel, hint.encode())
        for card in cards:
            if card.ttl_s > 0:
                pipe.set(self._card(card.worker), card.body, px=int(card.ttl_s * 1000))
                pipe.sadd(self._index, card.worker)
                pipe.expire(self._index, _INDEX_TTL_S)
            else:
                pipe.delete(self._card(card.worker))
                pipe.srem(self._index, card.worker)
        pipe.execute()

    @property
    def _index(self) -> str:
        return f"{self._channel}:workers"

    def _card(self, worker: str) -> str:
        return f"{self._channel}:worker:{worker}"

    def presence(self) -> dict[str, dict[str, Any]]:
        names = sorted(self._sending.smembers(self._index))
        workers = [_bytes(name).decode(errors="replace") for name in names]
        bodies = self._sending.mget([self._card(worker) for worker in workers]) if workers else []
        gone = [name for name, body in zip(names, bodies, strict=True) if body is None]
        if gone:
            self._sending.srem(self._index, *gone)
        cards = {worker: decode_card(_bytes(body)) for worker, body in zip(workers, bodies, strict=True) if body}
        return {worker: card for worker, card in cards.items() if card is not None}

    def subscribe(self) -> Source:
        return _Subscription(self._listening, self._channel, self._clock)

    def close(self) -> None:
        self._sending.close()


def _bytes(answer: bytes | str) -> bytes:
    """Return the answer as bytes: an option of the URL may have asked for text."""
    return answer if isinstance(answer, bytes) else answer.encode()


def _client(url: str, *, retries: int) -> redis.Redis:
    """Return a client that has not connected; ValueError or TypeError for options that Redis does not know."""
    client = redis.Redis.from_url(
        url,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), retries),
        protocol=2,
    )
    client.connection_pool.make_connection()  # it does not connect, but finds out whether it knows the URL's options
    return client


class _Subscription:
    """A subscription that notices when the server is gone without a word: pings go unanswered."""

    def __init__(self, client: redis.Redis, channel: str, clock: Clock) -> None:
        self._clock = clock
        self._pubsub = client.pubsub()  # type: ignore[no-untyped-call] # redis-py leaves it untyped
        self._pubsub.subscribe(channel)
        self._stands = False
        self._heard_at = self._pinged_at = clock.monotonic()

    def receive(self) -> Iterator[bytes]:
        message = self._pubsub.get_message(timeout=_LISTEN_S if self._stands else _PATIENCE_S)
        now = self._clock.monotonic()
        if message is not None:
            self._heard_at, self._stands = now, True  # the answer to the subscription is the first
            if message["type"] == "message":
                yield _bytes(message["data"])
        elif not self._stands or now - self._heard_at > _SILENCE_S:
            raise redis.TimeoutError("Redis does not answer.")
        elif now - max(self._heard_at, self._pinged_at) > _PING_S:
            self._pinged_at = now
            self._pubsub.ping()

    def close(self) -> None:
        self._pubsub.close()
