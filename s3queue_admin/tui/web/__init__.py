"""The dashboard in a browser: a page on 127.0.0.1, behind which each visit has a dashboard of its own (textual-serve).

Needs the extra ``s3queue[web]``.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

HOST: Final = "127.0.0.1"
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
VISITS: Final = 8
"""Dashboards at a time, each of which is a process."""


class Page(Server):
    """Serves the dashboard that ``command`` starts, on this machine alone.

    A page of another site, open in the same browser, must not get at it: requests are refused whose Host is none of this
    machine's names, and connections that another origin asks for. All users of the machine can reach it, as any port.
    """

    def __init__(self, command: Sequence[str], port: int) -> None:
        super().__init__(
            "exec " + shlex.join(command), HOST, port, title="s3queue", templates_path=Path(__file__).parent.resolve()
        )
        self._visits = 0

    def initialize_logging(self) -> None:
        """Log as the command line does, not as the library would; and no line for each request."""
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)

    async def on_startup(self, app: web.Application) -> None:
        """Tell nothing: the command line does."""

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(refuse_strangers)
        return app

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start a dashboard for a visit, if there are not too many."""
        if self._visits >= VISITS:
            raise web.HTTPServiceUnavailable(text=f"{VISITS} dashboards are open already: close one.")
        self._visits += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._visits -= 1


@web.middleware
async def refuse_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 to what does not come from a page of this server, opened under a name of this machine."""
    origin = request.headers.get("Origin")
    if urlsplit(f"//{request.host}").hostname not in LOCAL:
        raise web.HTTPForbidden(text="This page is for this machine alone: open it as http://127.0.0.1.")
    if (origin is not None and urlsplit(origin).netloc != request.host) or (origin is None and request.path == "/ws"):
        raise web.HTTPForbidden(text="Pages of other sites may not use the dashboard.")
    return await handler(request)
