"""What all commands share: options that environment and file can set too, how a queue is opened, how errors end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Final

import click

from s3queue import config, logs
from s3queue.clock import SystemClock
from s3queue.core.keys import check_prefix
from s3queue.errors import (
    InvalidInput,
    InvalidSetting,
    NotFound,
    S3QueueError,
    StoreRefused,
    StoreUnavailable,
    UnsafeStore,
)
from s3queue.ids import SystemIds
from s3queue.options import access, locate
from s3queue.queue import Queue
from s3queue.store.metered import Metered
from s3queue.store.opening import raw_store, split_queue
from s3queue.store.port import Store
from s3queue.store.retrying import Retrying
from s3queue.text import clean

FAILED, BAD_INPUT, NOT_CONNECTED, HELD, PARTLY, REFUSED = 1, 2, 3, 4, 5, 6

TABLE: Final = "table"
JSON: Final = "json"

log = logging.getLogger("s3queue")

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


class Failed(click.ClickException):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, code: int, *, style: str = logs.TEXT) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc] # click reads it from the instance
        self.style = style

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it on stderr, in the format of the log."""
        if self.style == logs.JSON:
            log.error("%s", self.message)
        else:
            click.echo(f"Error: {clean(self.message)}", file=file, err=True)


def exit_code(error: S3QueueError) -> int:
    """Return the exit code that an error stands for."""
    match error:
        case UnsafeStore():
            return REFUSED
        case StoreRefused() | StoreUnavailable():
            return NOT_CONNECTED
        case InvalidInput():
            return BAD_INPUT
        case _:
            return FAILED


class Setting(click.Option):
    """An option that can be set in the environment (``S3QUEUE_NAME``) and in the settings file (``name``) as well."""

    def __init__(self, declarations: list[str], **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self.envvar = f"S3QUEUE_{(self.name or '').upper()}"

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value converted; refuse what TOML wrote as another type, where Python would bend it in silence."""
        bent = isinstance(value, bool) and not self.is_flag
        if bent or (isinstance(value, float) and self.type is click.INT and not value.is_integer()):
            raise click.BadParameter(f"{value!r} is not a valid {self.type.name}.", ctx, self)
        return super().type_cast_value(ctx, value)


def setting(*declarations: str, **attributes: Any) -> Decorator:
    """Decorate a command with a :class:`Setting`; arguments as for ``click.option``."""
    return click.option(*declarations, cls=Setting, **attributes)


with_coordination = setting(
    "--coordination",
    help="Wakes idle workers: s3 (polling alone), redis, redis://host:port/0, sqs, sqs://name.  [default: s3]",
)


def settings_of(command: click.Command) -> set[str]:
    """Return the names of the settings that a command has, or all the commands of a group."""
    if isinstance(command, click.Group):
        return set[str]().union(*map(settings_of, command.commands.values()))
    return {each.name or "" for each in command.params if isinstance(each, Setting)}


def _load_file(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Take the file's settings as this command's defaults."""
    group = ctx.find_root().command
    commands = group.commands if isinstance(group, click.Group) else {}
    known = {name: settings_of(command) for name, command in commands.items()}
    top = ctx  # a command of a group goes by the group's table
    while top.parent is not None and top.parent.parent is not None:
        top = top.parent
    try:
        ctx.default_map = config.load(path, top.command.name or "", known)
    except InvalidSetting as error:
        raise Failed(str(error), BAD_INPUT) from error


@dataclass(frozen=True, slots=True)
class Place:
    """What the options say that nearly all commands have, those of the admin tools too: where the store is, and manners."""

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

    def fail(self, message: str, code: int) -> Failed:
        """Return the exception that ends the command with this line and exit code."""
        return Failed(message, code, style=self.log_format)


@dataclass(frozen=True, slots=True)
class Common(Place):
    """What the options say that all commands of a queue share."""

    queue: str | None

    def open(self, *, make: bool = False, max_connections: int = 32, **settings: Any) -> Queue:
        """Return the queue that the options name, having reached its store; ``settings`` as for :class:`Queue`.

        ``make``: make it if it is new; otherwise raise InvalidInput, as its name was probably mistyped.
        Raise StoreUnavailable if the store does not answer within the connect timeout.
        """
        name, url = self._name()
        raw = self._raw(url, max_connections)
        queue = Queue(
            name,
            self.bucket,
            url=url,
            prefix=self.prefix,
            region=self.region,
            profile=self.profile,
            store=raw,
            **settings,
        )
        logs.follow(queue)
        try:
            self._impatient(Metered(raw, queue.meter, queue.root)).get(f"{queue.root}queue.json")
        except NotFound:
            if not make:
                raise InvalidInput(
                    f"There is no queue {name!r} at {raw.location}.",
                    remedy="Correct --queue, --prefix, --bucket or --url; the first enqueue makes a queue.",
                ) from None
            log.info("making the queue %r at %s", name, raw.location)
        return queue

    def store(self) -> tuple[Store, str]:
        """Return the store that the options name, and the prefix for keys in it, having reached it; no queue is needed."""
        raw = self._raw(self.url, 32)
        prefix = check_prefix(locate(self.bucket, self.url, self.prefix).prefix)
        self._impatient(raw).list(prefix, limit=1)
        return Retrying(raw, clock=SystemClock(), ids=SystemIds()), prefix

    def _raw(self, url: str | None, max_connections: int) -> Store:
        check_endpoint(self.endpoint_url, self.bucket, url)
        reach = access(self.endpoint_url, self.region, self.profile, max_connections)
        return raw_store(locate(self.bucket, url, self.prefix), reach, SystemClock(), SystemIds())

    def _impatient(self, store: Store) -> Store:
        """Return the store with fewer retries: a person waits for the answer."""
        return Retrying(store, clock=SystemClock(), ids=SystemIds(), deadline_s=self.connect_timeout)

    def _name(self) -> tuple[str, str | None]:
        """Return the queue's name and the URL of what it lies in."""
        if self.queue is not None:
            return self.queue, self.url
        if self.url is not None:
            base, name = split_queue(self.url)
            return name, base
        raise InvalidSetting("No queue is named.", remedy="Give --queue NAME, or a --url that ends with its name.")


def check_endpoint(endpoint_url: str | None, bucket: str | None, url: str | None) -> None:
    """Raise InvalidSetting for an endpoint that nothing would be asked of."""
    if endpoint_url and bucket is None and not (url or "").startswith("s3:"):
        raise InvalidSetting("An endpoint is given without a bucket.", remedy="Give --bucket too, or a --url s3://….")


BUCKET = setting("--bucket", help="S3 bucket; without --bucket and --url, the folder .s3queue is used.")
REACHING = (
    setting("--endpoint-url", help="S3 server, if it is not AWS's."),
    setting("--region", help="Region of the bucket."),
    setting("--profile", help="Profile of AWS's configuration files."),
    setting(
        "--connect-timeout",
        type=click.FloatRange(0, 3600),
        default=10.0,
        show_default=True,
        help="Seconds to try to reach the store at the start; a try that is under way may take up to 25.",
    ),
)
LOG_FORMAT = setting(
    "--log-format", type=click.Choice(logs.FORMATS), default=logs.TEXT, show_default=True, help="Log on stderr."
)


def config_file(load: Callable[[click.Context, click.Parameter, Path | None], None], what: str) -> Decorator:
    """Return the option that names the settings file, which ``load`` (a callback) reads before other options are looked at."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="S3QUEUE_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=load,
        help=f"{what}.  [default: s3queue.toml, if there is one]",
    )


_PLACE = (
    BUCKET,
    setting("--queue", "-q", help="Name of the queue."),
    setting(
        "--url", help="s3://bucket/prefix, file:///folder or memory://name; without --queue its end names the queue."
    ),
    setting("--prefix", help="Folders before the queue's own in the bucket.  [default: s3queue/]"),
    *REACHING,
)
_MANNERS = (
    config_file(_load_file, "Settings file (TOML)"),
    setting("--verbose", "-v", is_flag=True, help="Log every event of the queue, and tracebacks of errors."),
    LOG_FORMAT,
    setting("--output", type=click.Choice([TABLE, JSON]), default=TABLE, show_default=True, help="Data on stdout."),
)


def with_manners(function: Command) -> Command:
    """Decorate a command with the options for log and output, and turn errors of s3queue into exit codes.

    ``function`` is called with ``verbose``, ``log_format`` and ``output`` beside its own options.
    """
    return decorate(ending(function), _MANNERS)


def ending(function: Command) -> Command:
    """Return the command with its log configured (``verbose``, ``log_format``), its errors turned into exit codes."""

    @functools.wraps(function)
    def run(**options: Any) -> None:
        style = options["log_format"]
        logs.configure(verbose=options["verbose"], style=style)
        try:
            function(**options)
        except Failed as failed:
            failed.style = style
            raise
        except S3QueueError as error:
            if options["verbose"]:
                log.debug("traceback", exc_info=True)
            raise Failed(told(error), exit_code(error), style=style) from error

    return run


def with_queue(function: Callable[..., None]) -> Command:
    """Decorate a command with the options that say where its queue is; it is called with a :class:`Common` first."""
    return decorate(with_manners(gathering(Common, function)), _PLACE)


def gathering(kind: type[Place], function: Command) -> Command:
    """Return the command with those of its options that ``kind`` has fields for handed over as one of these, first."""
    names = [each.name for each in fields(kind)]

    @functools.wraps(function)
    def run(**options: Any) -> None:
        common = kind(**{name: options.pop(name) for name in names if name in options})
        function(common, **options)

    return run


def decorate(function: Command, decorators: tuple[Decorator, ...]) -> Command:
    """Return the command with these options, in this order."""
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def told(error: S3QueueError) -> str:
    """Return the error in one line, with the notes that it gathered on its way."""
    return " ".join([str(error), *getattr(error, "__notes__", ())])


def headers(_ctx: click.Context, _parameter: click.Parameter, pairs: tuple[str, ...]) -> Mapping[str, str]:
    """Return ``K=V`` options as a mapping (a callback)."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or name in found:
            raise click.BadParameter(f"{pair!r} is not a new NAME=VALUE.")
        found[name] = value
    return found
