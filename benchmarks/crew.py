"""The workers and producers of a benchmark: processes at an S3 server, threads of this one in memory and in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import IO, Any, Protocol, cast

from benchmarks.part import Part, Report, make
from benchmarks.site import Site

_END_TIMEOUT_S = 5.0


class Member(Protocol):
    """A part at work, wherever it runs. ``pid`` is 0 in this process."""

    pid: int

    def ready(self, kind: str, queue: str, **options: Any) -> None:
        """Make it ready: connected, with everything imported."""
        ...

    def go(self) -> None:
        """Let it begin."""
        ...

    def stop(self) -> Report:
        """End it and return what it measured."""
        ...


class Here:
    """A part in threads of this process."""

    pid = 0

    def __init__(self, site: Site) -> None:
        self._site = site
        self._part: Part | None = None

    def ready(self, kind: str, queue: str, **options: Any) -> None:
        self._part = make(kind, self._site.far, queue, options)

    def go(self) -> None:
        if self._part is not None:
            self._part.go()

    def stop(self) -> Report:
        part, self._part = self._part, None
        if part is None:
            raise RuntimeError("This member of the crew was not made ready.")
        return part.stop()

    def close(self) -> None:
        """End what was left running."""
        if self._part is not None:
            self.stop()


class There:
    """A part in a process of its own; it can be made ready again after it was stopped."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.part"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._commands, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self.pid = self._process.pid

    def _ask(self, **command: Any) -> Report:
        self._commands.write(json.dumps(command) + "\n")
        self._commands.flush()
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"A process of the benchmark ended (status {self._process.wait(_END_TIMEOUT_S)}).")
        answer: Report = json.loads(line)
        return answer

    def ready(self, kind: str, queue: str, **options: Any) -> None:
        self._ask(do="ready", kind=kind, address=asdict(self._site.far), queue=queue, options=options)

    def go(self) -> None:
        self._ask(do="go")

    def stop(self) -> Report:
        return self._ask(do="stop")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._commands.close()
        self._answers.close()


@contextmanager
def crew(site: Site, count: int) -> Iterator[Sequence[Member]]:
    """Provide ``count`` members for the time of the block; no process outlives it."""
    with ExitStack() as stack:
        members: list[Here | There] = []
        for _ in range(count):
            member = There(site) if site.in_processes else Here(site)
            stack.callback(member.close)
            members.append(member)
        yield members
