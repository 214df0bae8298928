"""The admin command line in this process, in an empty folder, with nobody's settings around it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from s3queue import Queue
from tests.cli.conftest import _log_as_before, folder  # noqa: F401 - fixtures

Admin = Callable[..., Result]
EVIL = "\x1b[31mred [bold]x[/bold] <b>h</b> \u202egnp \x07"
FORMULA = "=cmd|' /C calc'!A0"

_numbers = count()


@pytest.fixture
def admin(folder: Path) -> Admin:  # noqa: ARG001, F811 - wanted for what it sets up
    """Run a command: ``admin("status", "--url", url, input=…)``."""
    from s3queue_admin.cli.commands import cli

    def invoke(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(cli, list(arguments), prog_name="s3queue-admin", **options)

    return invoke


@pytest.fixture
def url() -> str:
    """A bucket of this test's own."""
    return f"memory://admin-cli-{next(_numbers)}"


def fail(payload: Any) -> None:
    """Fail in one of two ways, one of them nasty."""
    if payload.get("evil"):
        raise RuntimeError(f"{EVIL} password=hunter2 for {payload['order']}")
    raise TimeoutError(f"timeout after {payload['order']} s")


def fill(url: str) -> dict[str, str]:
    """Make two queues, nasty ones; return ids: a ``dead`` letter, the ``evil`` one, one in ``hand``, one that ``waits``."""
    orders = Queue.from_url(f"{url}/orders", max_attempts=1)
    dead = orders.enqueue_many([{"order": 1}, {"order": 2}, {"order": 3, "evil": EVIL, "token": "hunter2"}])
    orders.process_once(fail)
    hand = orders.enqueue({"order": FORMULA})
    orders.receive(1)
    waits = orders.enqueue(
        {"user": {"password": "hunter2"}, FORMULA: EVIL}, group="eu", headers={"authorization": "hunter2"}
    )
    orders.schedule("nightly", cron="0 3 * * *", payload={"evil": EVIL, "secret": "hunter2"})
    orders.lock("rollout", ttl=60, renew=False).acquire()
    mails = Queue.from_url(f"{url}/mails")
    mails.enqueue_many([{"to": number} for number in range(3)], delay=3600)
    return {"dead": dead[0], "evil": dead[2], "hand": hand, "waits": waits}
