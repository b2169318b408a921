"""Logging in with a token that somebody else signed: one that is given, or one that a browser fetches.

The server gives an address to open in a browser. Then either the browser comes back to a listener here, on a loopback
address, and the code it brings is handed to the server, or the server has its own way and is asked for the token until
there is one.
"""

import secrets
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from strongroom.cli import terminal
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.client.messages import Answer, Refused

PATIENCE = 300.0  # seconds: so long does the server remember a login under way
PATH = "/oidc/callback"
_FIELDS = frozenset(
    {"role", "port", "listenaddress", "callbackhost", "callbackport", "callbackmethod", "callbackmode", "skip_browser"}
)
_DONE = b"<!doctype html><title>Strongroom</title><p>You can close this page and go back to the terminal.</p>"
_STILL = ("authorization_pending", "slow_down")


def with_token(session: Session, path: str, fields: dict[str, str]) -> Answer:
    """The login with a token that is given as ``jwt``."""
    token = fields.pop("jwt", "").strip()
    if not token:
        raise Misused("the token is missing", "give it as jwt=@FILE, or jwt=- to read it from standard input")
    session.use_token("")
    return session.call(calls.write(f"auth/{path}/login", {"jwt": token, **fields}))


def in_browser(session: Session, path: str, fields: dict[str, str]) -> Answer:
    """The login through a browser.

    Args:
        session: what asks the server.
        path: of the mount below auth/.
        fields: Vault's words: role, port, listenaddress, callbackhost, callbackport, callbackmethod, callbackmode
            (client, direct or device), skip_browser.

    Raises:
        Misused: a word is unknown or wrong.
        Failed: nobody came back in time, or the port is taken.
        Refused: the server refused.
    """
    if unknown := sorted(set(fields) - _FIELDS):
        raise Misused(f"login with oidc takes no {unknown[0]}", f"it takes {', '.join(sorted(_FIELDS))}")
    mode = fields.get("callbackmode", "client")
    if mode not in ("client", "direct", "device"):
        raise Misused("callbackmode must be client, direct or device")
    session.use_token("")
    nonce = secrets.token_urlsafe(24)
    listener = Listener(fields) if mode == "client" else None
    try:
        asked = {"role": fields.get("role", ""), "client_nonce": nonce}
        if mode != "device":
            here = f"{session.settings.address.rstrip('/')}/v1/auth/{path}{PATH}"
            asked["redirect_uri"] = here if listener is None else listener.redirect_uri
        begun = session.call(calls.write(f"auth/{path}/oidc/auth_url", asked), aside=True).data
        url = str(begun.get("auth_url") or "")
        if urlsplit(url).scheme not in ("http", "https"):
            raise Failed("the server gave no address to open", "is the role for oidc, with this redirect address?")
        _show(url, begun, browser=fields.get("skip_browser", "false").lower() not in ("1", "t", "true"))
        if begun.get("state"):
            return _poll(session, path, begun, nonce)
        if listener is None:
            raise Failed("the role is for another callbackmode", "leave callbackmode out")
        state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        query = listener.wait(state)
    finally:
        if listener is not None:
            listener.close()
    return session.call(calls.read(f"auth/{path}/oidc/callback", {**query, "client_nonce": nonce}))


def _show(url: str, begun: Any, *, browser: bool) -> None:
    terminal.note(f"Complete the login with your provider at this address:\n\n    {url}\n")
    if code := begun.get("user_code"):
        terminal.note(f"The code to enter there, if it asks: {code}\n")
    if browser:
        sys.stdout.flush()
        if not webbrowser.open(url):
            terminal.note("No browser could be started here: open the address yourself.")
    terminal.note("Waiting for the login to complete (interrupt to give up) ...")


def _poll(session: Session, path: str, begun: Any, nonce: str) -> Answer:
    """Ask until the person has agreed, as often as the server wants."""
    interval = _seconds(begun.get("poll_interval"))
    body = {"state": str(begun["state"]), "client_nonce": nonce}
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            return session.call(calls.write(f"auth/{path}/oidc/poll", body))
        except Refused as refused:
            word = next((word for word in _STILL if word in str(refused)), "")
            if not word:
                raise
            interval += 5 if word == "slow_down" else 0
        time.sleep(interval)
    raise Failed("nobody completed the login in time", "start again")


def _seconds(text: Any) -> float:
    try:
        return min(max(float(text), 0.1), 300.0)
    except (TypeError, ValueError):
        return 5.0


class Listener:
    """Waits on a loopback port for the browser to come back. Bound when it is made."""

    def __init__(self, fields: dict[str, str]) -> None:
        address, port = fields.get("listenaddress", "localhost"), _port(fields.get("port", "8250"), "port")
        caught: list[dict[str, str]] = []
        wanted = self._wanted = [""]

        class Door(BaseHTTPRequestHandler):
            """Takes the one redirect that belongs to this login; others get 404 and change nothing."""

            timeout = 10

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                mine = parts.path == PATH and secrets.compare_digest(
                    query.get("state", "").encode(), wanted[0].encode()
                )
                self.send_response(200 if mine else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.end_headers()
                self.wfile.write(_DONE if mine else b"")
                if mine:
                    caught.append({name: query[name] for name in ("state", "code", "error") if name in query})

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
                """The address holds the code: it is not printed."""

        self._caught = caught
        try:
            self._server = HTTPServer((address, port), Door)
        except OSError as error:
            raise Failed(
                f"cannot listen on {address}:{port}: {error.strerror}",
                "give another port=N, or skip it with callbackmode",
            ) from None
        self._server.timeout = 0.5
        method, host = fields.get("callbackmethod", "http"), fields.get("callbackhost", "localhost")
        if method not in ("http", "https"):
            raise Misused("callbackmethod must be http or https")
        shown = _port(fields["callbackport"], "callbackport") if "callbackport" in fields else self.port
        self.redirect_uri = f"{method}://{host}:{shown}{PATH}"

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self._server.server_address[1])

    def wait(self, state: str) -> dict[str, str]:
        """What the browser brought for ``state``: state, and code or error. Raises Failed after ``PATIENCE``."""
        self._wanted[0] = state
        ends = time.monotonic() + PATIENCE
        while not self._caught:
            if time.monotonic() > ends or not state:
                raise Failed("nobody completed the login in time", "start again")
            self._server.handle_request()
        return self._caught[0]

    def close(self) -> None:
        """Give the port back."""
        self._server.server_close()


def _port(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise Misused(f"{name} must be a port number")
    return int(text)
