"""The settings file of the command line, ``s3queue.toml``: read, and checked down to the last key.

bucket = "prod"                 # keys are the options' names, with underscores
endpoint_url = "http://…"

[worker]                        # for one command alone; wins over the same key above
concurrency = 16

[admin]                         # for s3queue-admin alone
output = "json"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

from s3queue.errors import InvalidSetting

DEFAULT_FILE: Final = "s3queue.toml"
ADMIN: Final = "admin"
"""The table of the admin tools, which they check themselves."""

Known = Mapping[str, AbstractSet[str]]
"""The settings that each command has."""


def load(path: Path | None, command: str, known: Known) -> dict[str, Any]:
    """Return the settings that the file has for ``command``, by name.

    ``path`` None: ``s3queue.toml`` in the current folder, if there is one. Raise InvalidSetting, with the file's name,
    for a file that cannot be read, is not TOML, or has a key that is no setting.
    """
    if path is None:
        path = Path(DEFAULT_FILE)
        if not path.exists():
            return {}
    content = _read(path)
    _check(content, path, known)
    mine = content.get(command, {})
    both = {name: value for name, value in content.items() if not isinstance(value, dict)} | mine
    return {name: value for name, value in both.items() if name in known[command]}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSetting(
            f"The settings file {str(path)!r} cannot be read: {error.strerror}.",
            remedy="Correct --config, or the file.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"The settings file {str(path)!r} is not TOML: {error}.",
            remedy='Write lines like: bucket = "prod"',
        ) from error


def _check(content: Mapping[str, Any], path: Path, known: Known) -> None:
    everywhere = frozenset(known).union(*known.values())
    for name, value in content.items():
        if name == ADMIN and name not in known and isinstance(value, dict):
            continue
        if name in known and isinstance(value, dict):
            for inner, each in value.items():
                _check_setting(f"{name}.{inner}", inner, each, path, known[name])
        elif name in known:
            raise InvalidSetting(f"The settings file {str(path)!r} sets {name!r}.", remedy=f"Write a table: [{name}].")
        else:
            _check_setting(name, name, value, path, everywhere)


def _check_setting(full: str, name: str, value: Any, path: Path, names: AbstractSet[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise InvalidSetting(
            f"The settings file {str(path)!r} sets {full!r}, which is no setting.",
            remedy=f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(sorted(names))}.",
        )
    if not isinstance(value, str | int | float | bool):
        raise InvalidSetting(
            f"The settings file {str(path)!r} sets {full!r} to a {type(value).__name__}.",
            remedy="Use a string, a number, true or false.",
        )
