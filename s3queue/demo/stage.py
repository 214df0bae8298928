"""Where the demo takes place: an S3 server of its own on 127.0.0.1, or a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3queue.clock import Clock, SystemClock
from s3queue.devserver import HOST, MiniStack
from s3queue.errors import InvalidSetting

BUCKET = "demo"
QUEUE = "hello"
_FOREIGN = ("AWS_", "S3QUEUE_")  # a user's own settings, which the demo must neither use nor need


@dataclass(frozen=True, slots=True)
class Stage:
    """``place``: the keywords that open the queue there, which are the worker's options as well."""

    title: str
    place: Mapping[str, str]

    @property
    def options(self) -> list[str]:
        """The place as options of the command line."""
        return [part for name, value in self.place.items() for part in (f"--{name.replace('_', '-')}", value)]


def _remove(folder: Path, clock: Clock) -> None:
    """Remove a folder, again if something was written into it meanwhile."""
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        clock.sleep(0.05)


@contextmanager
def scratch(keep: bool) -> Iterator[Path]:
    """Make a temporary folder for the time of the block, or for good."""
    folder = Path(tempfile.mkdtemp(prefix="s3queue-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            _remove(folder, SystemClock())


@contextmanager
def stage(store: str, folder: Path) -> Iterator[Stage]:
    """Set up ``store`` (``ministack`` or ``file``) in ``folder`` for the time of the block; InvalidSetting without MiniStack."""
    if store == "file":
        (folder / "bucket").mkdir()
        with _environment({}):
            yield Stage("a folder", {"url": (folder / "bucket").as_uri()})
        return
    try:
        made = MiniStack(data_dir=folder / "bucket", folder=folder)
    except InvalidSetting as error:
        error.add_note("Or do without a server: s3queue demo --store file.")
        raise
    with made as server:
        keys = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
        bypass = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST)))
        with _environment(keys | {"NO_PROXY": bypass, "no_proxy": bypass, "AWS_EC2_METADATA_DISABLED": "true"}):
            bucket = server.create_bucket(BUCKET)
            place = {"bucket": bucket, "endpoint_url": server.endpoint_url, "region": server.region}
            yield Stage(f"MiniStack, an S3 server at {server.endpoint_url}", place)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change this process's environment, which its workers inherit, and put it back."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_FOREIGN):
            del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
