"""What stands before the dashboard's server: it answers only under its own names and only to its own pages.

Streamlit compares names at its websocket alone, accepts pages of any port of
this machine there, and asks the network for its outer address to do so. Here
every request is looked at before Streamlit sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

READS = ("GET", "HEAD", "OPTIONS")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Whatever a page holds, the browser fetches nothing from elsewhere for it and shows it in no one else's frame.
Streamlit's scripts are inline and its charts compile expressions."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """ASGI middleware: refuses foreign Host and Origin headers, and adds headers that keep a page to itself."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(Headers(scope=scope), reads=scope.get("method") in READS)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008, reason=refusal)(scope, receive, send)
        else:
            status = 421 if "Host" in refusal else 403
            await PlainTextResponse(f"{refusal}\n", status_code=status)(scope, receive, send)

    def refusal(self, headers: Headers, *, reads: bool) -> str | None:
        """Why this request is not answered; None where it is."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or name_of(host) not in self.hosts:
            return "The Host of this request is not one that the dashboard was started for."
        origin = headers.get("origin")
        if reads or origin is None or urlsplit(origin).netloc == host:
            return None
        return "The Origin of this request is not the dashboard."


def name_of(host: str) -> str | None:
    """The name in a Host header, without its port; None for anything that is no such header."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or parts.hostname is None:
        return None
    return parts.hostname.rstrip(".")


def _with_headers(send: Send) -> Send:
    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sends
