"""What all commands share: where the bucket is, how it is opened, how errors end."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
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
    FAILED,
    REFUSED,
    Command,
    Failed,
    check_endpoint,
    decorate,
    ending,
    setting,
    settings_of,
)
from s3queue.core.keys import check_queue_name
from s3queue.errors import InvalidInput, NotFound, S3QueueError, StoreRefused
from s3queue.options import DEFAULT_FOLDER
from s3queue.queue import Queue
from s3queue.store.metered import Meter
from s3queue.store.port import Store
from s3queue.store.retrying import Retrying
from s3queue_admin.bucket import Bucket
from s3queue_admin.cli.render import OUTPUTS, TABLE
from s3queue_admin.filters import Filter, FilterError, parse
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
        told = f"{what} needs {package}, which is not installed: pip install 's3queue[admin]'."
        raise Failed(told, FAILED) from error


@dataclass(frozen=True, slots=True)
class Common:
    """What the options that all commands share say; ``at`` is None and ``show_secrets`` false where there is no such option."""

    bucket: str | None
    url: str | None
    prefix: str | None
    endpoint_url: str | None
    region: str | None
    profile: str | None
    connect_timeout: float
    verbose: bool
    log_format: str
    output: str
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
            if self.url is not None and _is_queue(store, root):
                raise InvalidInput(f"{self.url} is a queue itself.", remedy=_ABOVE)
            return
        try:
            store.get(f"{root}queue.json")
        except NotFound:
            if self.url is not None and _is_queue(store, bucket.prefix):
                raise InvalidInput(f"{self.url} is a queue itself.", remedy=_ABOVE) from None
            raise _unknown(bucket, queue) from None

    def writable(self, bucket: Bucket, name: str) -> Queue:
        """Return the queue, opened to be changed; Failed if the bucket is a copy, InvalidInput if there is no such queue."""
        try:
            return bucket.queue(name, write=True)
        except NotFound:
            raise _unknown(bucket, name) from None
        except StoreRefused as error:
            if error.reason != "read-only":
                raise
            raise self.fail(str(error), REFUSED) from error

    def fail(self, message: str, code: int) -> Failed:
        """Return the exception that ends the command with this line and exit code."""
        return Failed(message, code, style=self.log_format)


_ABOVE = "Leave its name off --url (S3QUEUE_URL), and give it as the QUEUE of the command."


def _is_queue(store: Store, root: str) -> bool:
    try:
        return store.get(f"{root}queue.json") is not None
    except (NotFound, StoreRefused):  # a role for one queue may not look there
        return False


def place(bucket: Bucket) -> str:
    """Return where the queues lie, for people."""
    return f"{bucket.location}/{bucket.prefix}"


def _unknown(bucket: Bucket, name: str) -> InvalidInput:
    return InvalidInput(f"There is no queue {name!r} in {place(bucket)}.", remedy=_nearest(bucket, name))


def _nearest(bucket: Bucket, name: str) -> str:
    try:
        names = bucket.queue_names()
    except S3QueueError:
        names = []
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    if names:
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return f"There are {some}: correct the name, --bucket, --prefix or --url."
    return "There are no queues at all: correct --bucket, --prefix or --url, which ends before the queue's name."


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
    setting("--bucket", help="S3 bucket; without --bucket and --url, the folder .s3queue is used."),
    setting("--url", help="s3://bucket/prefix, file:///folder or memory://name: what the queues lie in."),
    setting("--prefix", help="Folders before the queues' own in the bucket.  [default: s3queue/]"),
    setting("--endpoint-url", help="S3 server, if it is not AWS's."),
    setting("--region", help="Region of the bucket."),
    setting("--profile", help="Profile of AWS's configuration files."),
    setting(
        "--connect-timeout",
        type=click.FloatRange(0, 3600),
        default=10.0,
        show_default=True,
        help="Seconds to try to reach the store at the start.",
    ),
)
_MANNERS = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="S3QUEUE_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_load_file,
        help="Settings file (TOML), its table [admin].  [default: s3queue.toml, if there is one]",
    ),
    setting("--verbose", "-v", is_flag=True, help="Log every event, and tracebacks of errors."),
    setting(
        "--log-format", type=click.Choice(logs.FORMATS), default=logs.TEXT, show_default=True, help="Log on stderr."
    ),
    setting("--output", "-o", type=click.Choice(OUTPUTS), default=TABLE, show_default=True, help="Data on stdout."),
)
_LOOKING = (
    click.option(
        "--at", callback=moment, help="As it was then, if versions are kept: a time (UTC), or how long ago: 90m, 2d."
    ),
    click.option("--show-secrets", is_flag=True, help="Do not hide what looks like a secret in payloads and errors."),
)
_SHARED = ("bucket", "url", "prefix", "endpoint_url", "region", "profile", "connect_timeout")
_MANNERLY = ("verbose", "log_format", "output")


def with_manners(function: Command) -> Command:
    """Decorate a command that needs no bucket with the options for log and output; it is called with all three by name."""
    return decorate(ending(_filters_told(function)), _MANNERS)


def with_bucket(function: Callable[..., None]) -> Command:
    """Decorate a command that looks with the options that say where the bucket is; it is called with a :class:`Common` first."""
    return _placed(function, _LOOKING, ("at", "show_secrets"))


def with_place(function: Callable[..., None]) -> Command:
    """Decorate a command that acts, or looks at now alone: as :func:`with_bucket`, without ``--at`` and ``--show-secrets``."""
    return _placed(function, (), ())


def _placed(
    function: Callable[..., None], more: tuple[Callable[[Command], Command], ...], names: Sequence[str]
) -> Command:
    taken = (*_SHARED, *_MANNERLY, *names)

    @functools.wraps(function)
    def run(**options: Any) -> None:
        common = Common(**{name: options.pop(name) for name in taken})
        function(common, **options)

    return decorate(ending(_filters_told(run)), (*more, *_PLACE, *_MANNERS))


def _filters_told(function: Command) -> Command:
    """Return the command with an error in a filter told over three lines, so that its caret stands where it belongs."""

    @functools.wraps(function)
    def run(**options: Any) -> None:
        try:
            function(**options)
        except FilterError as error:
            raise FailedFilter(str(error), BAD_INPUT) from error

    return run


def read_filter(words: Sequence[str]) -> Filter:
    """Return the filter that the words of a command line make."""
    return parse(" ".join(words))
