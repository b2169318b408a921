"""The pages that a person sees at the end of a browser login. Static text, no script, nothing that a provider wrote."""

import html
import time

from strongroom.sdk.request import Response

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Strongroom</title></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def _page(title: str, body: str, status: int = 200) -> Response:
    text = _PAGE.format(title=html.escape(title), body=body)
    return Response(raw=text.encode(), content_type="text/html; charset=utf-8", headers=_HEADERS, status=status)


def ask(*, state: str, confirmation: str, role: str, remote: str, started: float) -> Response:
    """Ask whether the person started this login: only their click goes on (threat CVE-2026-33757).

    Args:
        state, confirmation: sent back by the form; the second is known to this page alone.
        role, remote, started: what the person may recognise their own login by.
    """
    when = time.strftime("%H:%M:%S UTC", time.gmtime(started))
    body = (
        f"<p>Somebody at {html.escape(remote) or 'an unknown address'} started a login with the role "
        f"{html.escape(role)} at {when} and waits for a token in your name.</p>"
        "<p><strong>Go on only if you started it yourself, in your own terminal, just now.</strong> "
        "If you came here by a link that somebody sent you, close this page.</p>"
        '<form method="post" action="callback">'
        f'<input type="hidden" name="state" value="{html.escape(state)}">'
        f'<input type="hidden" name="confirmation" value="{html.escape(confirmation)}">'
        '<button type="submit">I started this login</button></form>'
    )
    return _page("Confirm the login", body)


def done() -> Response:
    """The token goes to whoever started the login."""
    return _page("Logged in", "<p>You can close this page and go back to where you started.</p>")


def failed() -> Response:
    """Nothing about why: what the provider says is not repeated (threat CVE-2026-33758)."""
    return _page("The login failed", "<p>It was refused, or it took too long. Start again.</p>", 400)
