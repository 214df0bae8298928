"""What is worked on in the demo: payloads of four queues, and a handler that fails as handlers do."""

from __future__ import annotations

from typing import Any, Final

from s3queue import Context, NonRetriable
from s3queue.clock import SystemClock
from s3queue.ids import SeededIds

QUEUES: Final = ("billing", "emails", "reports", "thumbnails")
_CLOCK: Final = SystemClock()
_PEOPLE: Final = ("ada", "grace", "alan", "edsger", "barbara", "donald", "margaret", "linus", "radia", "niklaus")
_HOSTS: Final = ("example.com", "example.org", "mail.example.net")


class Payloads:
    """Makes payloads; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = SeededIds(seed)
        self._made = 0

    def _one_of(self, some: tuple[str, ...]) -> str:
        return some[int(self._chance.random() * len(some))]

    def _trouble(self, *rates: tuple[str, float]) -> str:
        roll = self._chance.random()
        for name, rate in rates:
            if roll < rate:
                return name
            roll -= rate
        return ""

    def email(self) -> dict[str, Any]:
        """Return an e-mail to be sent: one in fifty has no mailbox, one in fifteen meets a slow server."""
        self._made += 1
        trouble = self._trouble(("bounces", 0.02), ("slow", 0.05), ("refuses", 0.015))
        host = {"bounces": "gone.example.com", "slow": "slow.example.org", "refuses": "strict.example.net"}.get(trouble)
        return {
            "to": f"{self._one_of(_PEOPLE)}.{self._made}@{host or self._one_of(_HOSTS)}",
            "template": self._one_of(("welcome", "receipt", "digest", "reset")),
            "user": {"id": 1000 + self._made, "locale": self._one_of(("en", "de", "fr", "ja"))},
            "token": f"t0k3n-{self._made}",
        }

    def invoice(self) -> dict[str, Any]:
        """Return an invoice to be charged: some have no currency, which is a bug, some meet a gateway that is down."""
        self._made += 1
        trouble = self._trouble(("bug", 0.03), ("gateway", 0.08))
        made: dict[str, Any] = {
            "invoice": f"INV-{20_000 + self._made}",
            "customer": self._one_of(_PEOPLE),
            "lines": [{"sku": f"A{number}", "cents": 250 * number} for number in range(1, 4)],
            "via": "backup" if trouble == "gateway" else "main",
        }
        return made if trouble == "bug" else made | {"currency": self._one_of(("EUR", "USD", "JPY"))}

    def picture(self) -> dict[str, Any]:
        """Return a picture to be made small."""
        self._made += 1
        side = 40_000 if self._trouble(("huge", 0.02)) else 800 + int(self._chance.random() * 3000)
        return {
            "key": f"uploads/{self._made:06d}.jpg",
            "width": side,
            "height": side * 3 // 4,
            "sizes": [64, 256, 1024],
        }

    def report(self) -> dict[str, Any]:
        """Return a report that nobody makes."""
        self._made += 1
        return {"report": self._one_of(("daily", "weekly", "churn")), "day": self._made}


def handler(payload: dict[str, Any], ctx: Context) -> None:
    """Do one of the demo's works: which, its payload says."""
    if "to" in payload:
        _send(payload["to"], ctx.attempt)
    elif "invoice" in payload:
        _charge(payload)
    elif "width" in payload:
        _shrink(payload["width"])


def _send(to: str, attempt: int) -> None:
    host = to.partition("@")[2]
    if host == "gone.example.com":
        raise NonRetriable(f"no mailbox {to}")
    if host == "slow.example.org" and attempt < 3:
        _CLOCK.sleep(0.4)
        raise TimeoutError(f"{host}: no answer from port 25 in 0.4 s")
    if host == "strict.example.net":
        raise ConnectionRefusedError(f"{host}: 550 sender not allowed")
    _CLOCK.sleep(0.02)


def _charge(invoice: dict[str, Any]) -> None:
    total = sum(line["cents"] for line in invoice["lines"])
    _CLOCK.sleep(0.3)
    if invoice["via"] == "backup":
        raise ConnectionError(f"gateway 2 is down: cannot charge {total} cents")
    _ = (total, invoice["currency"])


def _shrink(width: int) -> None:
    if width > 20_000:
        raise MemoryError(f"a picture {width} pixels wide does not fit")
    _CLOCK.sleep(0.08)
