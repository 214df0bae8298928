"""What strangers wrote (payloads, errors, names) made harmless for terminals, Rich, CSV and HTML, and secrets hidden in it."""

from __future__ import annotations

import html as _html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from s3queue.core.message import AttemptError, Message
from s3queue.protocol.viewing import MessageView
from s3queue.text import clean, cut

HIDDEN: Final = "[redacted]"
"""What stands for a secret."""
TOO_DEEP: Final = "(nested too deeply)"
"""What stands for a value that Python cannot walk through; payloads that the engine takes are never so deep."""
_KEPT = re.compile(r"([\n\t])")
_FORMULA = re.compile(r"[\t\r]|\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")  # the last four are their full-width twins
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

Path = tuple[str | int, ...]
"""Where a value stands: ``("payload", "user", "password")``, ``("headers", "authorization")``, ``("error",)``."""
Redact = Callable[[Path, Any], Any]
"""Given where a value stands and the value, returns it, or what is shown in its place."""
_DEEP = (str, dict, list, tuple)


# -- one line, one cell, one element ----------------------------------------------------------------------------------


def plain(text: object, width: int | None = None) -> str:
    r"""Return one line for a terminal: what does not print is an escape (``\x1b``, ``\u202e``); cut at ``width`` columns."""
    words = text if isinstance(text, str) else str(text)
    if width is None:
        # What clean would do to each character, done at once to those that most texts have.
        return clean(words.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r"))
    width = max(width, 1)
    return cut(clean(words[: 4 * width + 1]), width)  # no more than is shown is looked at: a line may have a megabyte


def lines(text: str) -> str:
    """Return ``text`` as :func:`plain` does, but with its line breaks and tabs, as tracebacks and payloads have."""
    if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(part if part in ("\n", "\t") else clean(part) for part in _KEPT.split(text))


def markup(text: object, width: int | None = None) -> str:
    """Return :func:`plain` text for Rich's and Textual's markup, where square brackets stand for themselves.

    Rich also turns ``:smile:`` into a picture: print with ``emoji=False``.
    """
    from rich.markup import escape

    escaped = escape(plain(text, width))
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return escaped + "\\" * (trailing % 2)  # one alone would escape the tag that follows


def cell(text: object) -> str:
    """Return :func:`plain` text for CSV: an apostrophe before what a spreadsheet would take for a formula.

    See "CSV Injection", OWASP. A text that is a number stays one.
    """
    made = plain(text)
    raw = text if isinstance(text, str) else made
    if _FORMULA.match(raw) and not _NUMBER.fullmatch(raw):
        return "'" + made
    return made


def html(text: object, width: int | None = None) -> str:
    """Return :func:`plain` text for an element or a quoted attribute of HTML."""
    return _html.escape(plain(text, width), quote=True)


def harmless(value: Any) -> Any:
    """Return a JSON value with :func:`lines` made of each text in it, keys included: what its ``repr`` shows does no harm."""
    try:
        return _harmless(value)
    except RecursionError:
        return TOO_DEEP


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return lines(value)
    if isinstance(value, dict):
        return {
            lines(key) if isinstance(key, str) else key: _harmless(item) if isinstance(item, _DEEP) else item
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_harmless(item) if isinstance(item, _DEEP) else item for item in value]
    return value


def json_text(value: Any) -> str:
    """Return a JSON value as compact JSON, its characters as they are; what JSON cannot hold as its ``str``."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (ValueError, RecursionError):
        return TOO_DEEP


# -- secrets ----------------------------------------------------------------------------------------------------------

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|pwd|secret|tokens?$|authori[sz]ation|apikey|accesskey|privatekey|signingkey|encryptionkey"
    r"|credential|cookie|sessionid|connectionstring|^pin$|^cvv|cardnumber"
)
_TOKEN = re.compile(r"tokens?$")
_TELLTALES = (
    *("pass", "pwd", "secret", "token", "auth", "key", "credential", "cookie", "session", "signature"),
    *("bearer", "basic", "://", "akia", "asia", "eyj", "gh", "sk-"),
)
"""None of the patterns matches a text without one of these, which is found out ten times as fast."""
_VALUE = r"""(?:\\?"[^"]*"|\\?'[^']*'|(?:bearer|basic|digest|negotiate)\s{1,5}[^\s,;&"'\\]+|[^\s,;&"'\\]+)"""
_PAIR = re.compile(
    r"""(passw(?:or)?d|passphrase|pwd|secret|token|authori[sz]ation|api[_-]?key|access[_-]?key|private[_-]?key
    |signing[_-]?key|credentials?|cookie|session[_-]?id|signature)
    ([\w-]{0,20}\\?["']?\s{0,5}(?:=>|[=:])\s{0,5})"""
    + _VALUE,
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"\b(bearer|basic)\s{1,5}[\w+/=.~-]{8,}", re.IGNORECASE)
_URL = re.compile(r"(?<=://)[^\s/:@]{1,200}:[^\s/@]{1,200}@")
_KEYS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]*|\bgh[pousr]_\w{20,}|\bsk-[\w-]{20,}"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL)


def hide_in_text(text: str) -> str:
    """Return ``text`` without what looks like a secret: ``password=…``, ``Bearer …``, ``://user:password@``, keys, PEM, JWT.

    Takes time in proportion to the text, whatever it holds.
    """
    lowered = text.lower()
    for telltale in _TELLTALES:
        if telltale in lowered:
            return _hide(text)
    return text


def _hide(text: str) -> str:
    text = _PEM.sub(HIDDEN, text)
    text = _URL.sub(HIDDEN + "@", text)
    text = _PAIR.sub(lambda match: match[1] + match[2] + HIDDEN, text)
    text = _SCHEME.sub(lambda match: f"{match[1]} {HIDDEN}", text)
    return _KEYS.sub(HIDDEN, text)


def hides(key: str | int) -> bool:
    """Whether a value under this key is a secret by its name: ``password``, ``apiKey``, ``X-Auth-Token`` and the like."""
    return isinstance(key, str) and _hides(key[:200])


@lru_cache(4096)
def _hides(key: str) -> bool:
    return _SECRET_KEY.search(re.sub(r"[\W_]", "", key).lower()) is not None


def redact_secrets(path: Path, value: Any) -> Any:
    """Return the value, :data:`HIDDEN` if its key names a secret, or a text without those in it.

    A number under ``…tokens`` is a count, and stays.
    """
    key = path[-1] if path else ""
    if isinstance(key, str) and value is not None and not isinstance(value, bool) and _hides(key[:200]):
        is_count = isinstance(value, int | float) and _TOKEN.search(key.lower())
        return value if is_count else HIDDEN
    return hide_in_text(value) if isinstance(value, str) else value


def _redacted(key: Any, value: Any) -> Any:
    """Return a JSON value as :func:`redact_secrets` has it, with all that is in it, at a fifth of the cost of asking for each."""
    if isinstance(value, str):
        return HIDDEN if isinstance(key, str) and _hides(key[:200]) else hide_in_text(value)
    if isinstance(value, dict | list | tuple):
        if isinstance(key, str) and _hides(key[:200]):
            return HIDDEN
        if isinstance(value, dict):
            return {
                hide_in_text(name) if isinstance(name, str) else name: _redacted(name, item)
                for name, item in value.items()
            }
        return [_redacted(0, item) if isinstance(item, _DEEP) else item for item in value]
    return redact_secrets((key,), value)


def show_all(path: Path, value: Any) -> Any:  # noqa: ARG001 - the face of a hook
    """Return the value as it is: for operators who may see everything."""
    return value


@dataclass(frozen=True, slots=True)
class Redactor:
    """Asks a hook about everything that strangers wrote, from the outside in, before it is shown or exported.

    What the hook returns in place of a value stands, with all that is in it; a container that it returns as it is, is
    looked into. A hook that fails hides the value: it may be the one that must not be seen.
    """

    hook: Redact = redact_secrets

    def value(self, value: Any, *path: str | int) -> Any:
        """Return a JSON value as it may be shown; ``path`` is where it stands."""
        try:
            return self._value(path, value)
        except RecursionError:
            return TOO_DEEP

    def _value(self, path: Path, value: Any) -> Any:
        if self.hook is redact_secrets:
            return _redacted(path[-1] if path else "", value)
        try:
            shown = self.hook(path, value)
        except Exception:  # noqa: BLE001 - a stranger's value must neither break the hook's user nor come to light
            return HIDDEN
        if shown is not value:
            return shown
        if isinstance(value, dict):
            return {self._key(path, key): self._value((*path, key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value((*path, index), item) for index, item in enumerate(value)]
        return value

    def _key(self, path: Path, key: Any) -> Any:
        """Return a key without a secret in it, such as a URL with a password that something is counted by."""
        return self.text(key, *path) if isinstance(key, str) else key

    def text(self, text: str, *path: str | int) -> str:
        """Return a text (an error, a traceback, a reason) as it may be shown."""
        return str(self.value(text, *path))

    def error(self, error: AttemptError) -> AttemptError:
        """Return an attempt's error as it may be shown."""
        return replace(
            error,
            type=self.text(error.type, "error_type"),
            message=self.text(error.message, "error"),
            traceback=self.text(error.traceback, "traceback"),
        )

    def message(self, message: Message) -> Message:
        """Return a message as it may be shown."""
        headers = self.value(dict(message.headers), "headers")
        return replace(
            message,
            payload=self.value(message.payload, "payload"),
            headers=headers if isinstance(headers, dict) else {HIDDEN: headers},
            errors=tuple(self.error(error) for error in message.errors),
        )

    def view(self, view: MessageView) -> MessageView:
        """Return a message with what is known of it as it may be shown."""
        return replace(view, message=self.message(view.message), reason=self.text(view.reason, "reason"))
