"""Where a browser may be sent with an authorization code: exactly where the role says.

Two readers of one address must not disagree (threats GHSA-9pjf, GHSA-2cjw), so an address with a user, a fragment, a
backslash or a control character is none.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

from strongroom.errors import BadRequest

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX = 2048  # characters


def check_redirects(uris: Iterable[str]) -> None:
    """Raises BadRequest unless each is an address that ``allowed`` could ever accept."""
    for uri in uris:
        if _parts(uri) is None:
            raise BadRequest("allowed_redirect_uris holds something that is no plain address")


def allowed(uri: str, uris: Iterable[str]) -> bool:
    """Whether ``uri`` is one of ``uris``: letter by letter, but on a loopback host any port will do (RFC 8252 7.3)."""
    wanted = _parts(uri)
    if wanted is None:
        return False
    for one in uris:
        if one == uri:
            return True
        if wanted[1] in _LOOPBACK and wanted == _parts(one):
            return True
    return False


def without_namespace(uri: str) -> tuple[str, str]:
    """``uri`` without its query field ``namespace``, and that field's value ("" if there is none)."""
    head, mark, query = uri.partition("?")
    if not mark:
        return uri, ""
    pairs = parse_qsl(query, keep_blank_values=True)
    found = [value for name, value in pairs if name == "namespace"]
    if not found:
        return uri, ""
    rest = urlencode([pair for pair in pairs if pair[0] != "namespace"])
    return (f"{head}?{rest}" if rest else head), found[0]


def _parts(uri: str) -> tuple[str, str, str, str] | None:
    """(scheme, host, path, query) of a plain address, without the port."""
    if len(uri) > _MAX or not uri.isascii() or any(c <= " " or c in '\\<>"^`{|}\x7f' for c in uri):
        return None
    try:
        split = urlsplit(uri)
        _ = split.port
    except ValueError:
        return None
    if not split.scheme or not split.hostname or "@" in split.netloc or "#" in uri:
        return None
    return split.scheme, split.hostname, split.path, split.query
