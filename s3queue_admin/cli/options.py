"""What all commands share: where the bucket is, how it is opened, how errors end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click

from s3queue import config, logs
from s3queue.cli.keeping import moment
from s3queue.cli.options import (
    BAD_INPUT,
    BUCKET,
    FAILED,
    LOG_FORMAT,
    PARTLY,
    REACHING,
    REFUSED,
    Command,
    Decorator,
    Failed,
    Place,
    check_endpoint,
    config_file,
    decorate,
    ending,
    gathering,
    setting,
    settings_of,
    told,
)
from s3queue.core.keys import check_queue_name
from s3queue.errors import InvalidInput, NotFound, StoreRefused
from s3queue.options import DEFAULT_FOLDER
from s3queue.store.metered import Meter
from s3queue.store.port import Store
from s3queue.store.retrying import Retrying
from s3queue.text import counted
from s3queue_admin.bucket import Bucket
from s3queue_admin.cli.render import OUTPUTS, TABLE
from s3queue_admin.filters import Filter, FilterError, parse
from s3queue_admin.missing import SETTINGS
from s3queue_admin.snapshot import QueueSnapshot
from s3queue_admin.text import plain, redact_secrets, show_all


class FailedFilter(Failed):
    """A filter that cannot be read: three lines, the last of which points at the place."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it on stderr; in a log of JSON as one record."""
        if self.style == logs.JSON:
            super().show(file)
        else:
            click.echo("\n".join(plain(line) for line in f"Error: {self.message}".split("\n")), file=file, err=True)


def need(package: str, what: str) -> None:
    """Raise Failed if a package of the extra is not installed, which ``what`` needs."""
    try:
        import_module(package)
    except ImportError as error:
        text = f"{what} needs {package}, which is not installed: pip install 's3queue[admin]'."
        raise Failed(text, FAILED) from error


_UNHAD = ("StoreRefused", "StoreUnavailable", "Throttled")
_TOLD = 10
"""So many of them are told."""


@dataclass(frozen=True, slots=True)
class Common(Place):
    """What the options that all commands share say; ``at`` is None and ``show_secrets`` false where there is no such option."""

    at: datetime | None = None
    show_secrets: bool = False

    @contextmanager
    def open(self, queue: str | None = None, *, check: bool = True) -> Iterator[Bucket]:
        """Yield the bucket, having reached it and seen that there is such a queue.

        Raise StoreUnavailable if the store does not answer within the connect timeout, InvalidInput for a queue that is not
        there. ``check`` False: neither is looked at.
        """
        check_endpoint(self.endpoint_url, self.bucket, self.url)
        if self.bucket is None and self.url is None and not Path(DEFAULT_FOLDER).exists():
            raise InvalidInput(
                f"It is not said where the queues are, and there is no folder {DEFAULT_FOLDER} here.",
                remedy="Give --bucket or --url, or set S3QUEUE_BUCKET or S3QUEUE_URL.",
            )
        if queue is not None:
            check_queue_name(queue)
        with Bucket(
            self.bucket,
            url=self.url,
            prefix=self.prefix,
            endpoint_url=self.endpoint_url,
            region=self.region,
            profile=self.profile,
            redact=show_all if self.show_secrets else redact_secrets,
            at=self.at,
        ) as bucket:
            if check:
                self._check(bucket, queue)
            yield bucket

    def _check(self, bucket: Bucket, queue: str | None) -> None:
        root = bucket.prefix if queue is None else f"{bucket.prefix}{queue}/"
        bare: Store = bucket.bare(root, Meter())
        store = Retrying(bare, clock=bucket.clock, ids=bucket.ids, deadline_s=self.connect_timeout)
        if queue is None:
            store.list(root, limit=1)
            bucket.refuse_queue(store)
            return
        try:
            store.get(f"{root}{SETTINGS}")
        except NotFound:
            raise bucket.no_queue(queue) from None

    def fail_if_partly(self, failed: Mapping[str, str], queues: Iterable[QueueSnapshot]) -> None:
        """Raise Failed if the store refused queues, or parts of them: what stdout says is not all there is."""
        parts = [
            f"{each.queue}, {problem.part}: {problem.error}"
            for each in queues
            for problem in each.problems
            if problem.kind in _UNHAD
        ]
        texts = [f"{name}: {why}" for name, why in failed.items()] + parts
        if texts:
            some = [counted(len(failed), "queue")] * bool(failed) + [counted(len(parts), "part")] * bool(parts)
            more = [f"and {len(texts) - _TOLD:,} more"] if len(texts) > _TOLD else []
            text = f"{' and '.join(some)} could not be read: {'; '.join([*texts[:_TOLD], *more])}"
            raise self.fail(text, PARTLY)


def place(bucket: Bucket) -> str:
    """Return where the queues lie, for people."""
    return f"{bucket.location}/{bucket.prefix}"


def _load_file(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Take the file's settings as this command's defaults; the file is the engine's, with a table of our own."""
    if path is None and not Path(config.DEFAULT_FILE).exists():
        return
    from s3queue.cli.commands import cli as engine  # its settings, and what they import

    known = {name: settings_of(command) for name, command in engine.commands.items()}
    try:
        ctx.default_map = config.load(path, config.ADMIN, known | {config.ADMIN: settings_of(ctx.find_root().command)})
    except InvalidInput as error:
        raise Failed(str(error), BAD_INPUT) from error


# -- options ----------------------------------------------------------------------------------------------------------

_PLACE = (
    BUCKET,
    setting("--url", help="s3://bucket/prefix, file:///folder or memory://name: what the queues lie in."),
    setting("--prefix", help="Folders before the queues' own in the bucket.  [default: s3queue/]"),
    *REACHING,
)
_MANNERS = (
    config_file(_load_file, "Settings file (TOML), its table [admin]"),
    setting("--verbose", "-v", is_flag=True, help="Log every event, and tracebacks of errors."),
    LOG_FORMAT,
    setting("--output", "-o", type=click.Choice(OUTPUTS), default=TABLE, show_default=True, help="Data on stdout."),
)
_LOOKING = (
    click.option(
        "--at",
        callback=moment,
        help="As it was then, from versions: a time (UTC unless it has a zone), or how long ago: 90m.",
    ),
    click.option("--show-secrets", is_flag=True, help="Do not hide what looks like a secret in payloads and errors."),
)


def with_manners(function: Command) -> Command:
    """Decorate a command that needs no bucket with the options for log and output; it is called with all three by name."""
    return decorate(ending(_judged(function)), _MANNERS)


def with_bucket(function: Callable[..., None]) -> Command:
    """Decorate a command that looks with the options that say where the bucket is; it is called with a :class:`Common` first."""
    return _placed(function, _LOOKING)


def with_place(function: Callable[..., None]) -> Command:
    """Decorate a command that acts, or looks at now alone: as :func:`with_bucket`, without ``--at`` and ``--show-secrets``."""
    return _placed(function, ())


def _placed(function: Command, more: tuple[Decorator, ...]) -> Command:
    return decorate(ending(_judged(gathering(Common, function))), (*more, *_PLACE, *_MANNERS))


_NOT_TO_BE_HAD = ("read-only", "no-versions")


def _judged(function: Command) -> Command:
    """Return the command with the errors told that the engine's commands have not.

    An error in a filter takes three lines, so that its caret stands where it belongs. What cannot be had of a copy, or of a
    store without versions, is refused, though the store can be reached.
    """

    @functools.wraps(function)
    def run(**options: Any) -> None:
        try:
            function(**options)
        except FilterError as error:
            raise FailedFilter(str(error), BAD_INPUT) from error
        except StoreRefused as error:
            if error.reason not in _NOT_TO_BE_HAD:
                raise
            raise Failed(told(error), REFUSED) from error

    return run


def read_filter(words: Sequence[str]) -> Filter:
    """Return the filter that the words of a command line make."""
    return parse(" ".join(words))
