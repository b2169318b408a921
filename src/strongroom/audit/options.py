"""The options that every device has, whatever its sink: they shape its lines, and the sink only checks them."""

from collections.abc import Collection, Mapping

from strongroom.errors import BadRequest
from strongroom.sdk.fields import parse_bool

FORMATS = ("json", "secretum")
_OF_ALL = frozenset({"format", "prefix", "log_raw", "hmac_accessor", "elide_list_responses", "chain"})


def check_options(kind: str, options: Mapping[str, str], own: Collection[str]) -> None:
    """Raises BadRequest for an option that is neither one of ``own`` nor one of all devices, and for a bad value."""
    for name in options:
        if name not in _OF_ALL and name not in own:
            raise BadRequest(f"unknown option {name!r} for an audit device of type {kind}")
    if options.get("prefix"):
        raise BadRequest("prefix is not supported: every line is one JSON object")
    if (options.get("format") or "json") not in FORMATS:
        raise BadRequest("format must be json or secretum")
    for name in ("hmac_accessor", "elide_list_responses", "chain"):
        parse_bool(options.get(name, ""), name=name)
