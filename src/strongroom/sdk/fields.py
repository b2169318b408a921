"""Field types with Vault's lenient input rules, for the ``args`` of a Route.

Clients send everything as strings (cert-manager, consul-template) or as what their language has; Vault coerces
(wire facts B.3, B.8). ``convert`` applies these rules; a wrong value is a BadRequest that never quotes the value.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from strongroom.errors import BadRequest

T = TypeVar("T")
UNSET = msgspec.UNSET
UnsetType = msgspec.UnsetType

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})  # Go's strconv.ParseBool
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
MAX_SECONDS = 2**53  # beyond this a JSON number is no longer exact; Vault's own limit is Go's int64 nanoseconds


class Duration(int):
    """Whole seconds. Takes a number of seconds, "10", "1h30m" or "5d"; "" is 0; negative is refused."""


class SignedDuration(int):
    """As Duration, but may be negative ("-1" and "-1s" mean "none" in a few places)."""


class Flag(int):
    """0 or 1. Takes true, "true", "1", "t", 1 and their opposites (Go's ParseBool); "" is false."""

    def __bool__(self) -> bool:
        return self != 0


class Text(str):
    """Text. Takes numbers and booleans too, as Vault's string fields do."""

    __slots__ = ()


class StrList(tuple[str, ...]):
    """A list of names. Takes a JSON list or comma-separated text; blanks around an item go, empty items too."""

    __slots__ = ()


class StrMap(dict[str, str]):
    """Text to text. Takes a JSON object, a JSON object as text, or a list of "k=v"."""


class AnyMap(dict[str, Any]):
    """A JSON object, or one as text."""


def parse_duration(value: object, *, name: str = "value", negative: bool = False) -> int:
    """Seconds from Vault's duration forms.

    Args:
        value: int or float seconds, or text: "90", "1h30m", "5d", "".
        name: how an error calls the field.
        negative: whether a leading "-" is allowed.

    Returns:
        whole seconds, fractions cut off (Go's ``ParseDurationSecond`` truncates likewise).

    Raises:
        BadRequest: not a duration, negative, or beyond ``MAX_SECONDS``.
    """
    seconds: float
    if isinstance(value, bool) or value is None:
        raise BadRequest(f"{name} is not a duration")
    if isinstance(value, int | float):
        seconds = value
    elif isinstance(value, str):
        seconds = _duration_text(value.strip(), name)
    else:
        raise BadRequest(f"{name} is not a duration")
    if seconds != seconds or abs(seconds) > MAX_SECONDS:
        raise BadRequest(f"{name} is out of range")
    if seconds < 0 and not negative:
        raise BadRequest(f"{name} must not be negative")
    return int(seconds)


def _duration_text(text: str, name: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    body = text.lstrip("+-") if text[:1] in "+-" else text
    if not body:
        return 0.0
    if body.isascii() and body.isdigit() and len(body) <= 18:
        return sign * int(body)
    at, total = 0, 0.0
    for part in _PART.finditer(body):
        if part.start() != at:
            raise BadRequest(f"{name} is not a duration")
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at != len(body):
        raise BadRequest(f"{name} is not a duration")
    return sign * total


def go_duration(seconds: int) -> str:
    """Seconds as Go prints a duration: 0 -> "0s", 90 -> "1m30s", 12325 -> "3h25m25s" (KV v2 answers use it)."""
    if seconds == 0:
        return "0s"
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    return sign + (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{secs}s"


def parse_bool(value: object, *, name: str = "value") -> bool:
    """Go's ParseBool on text; JSON booleans and 0/1 as they are. Raises BadRequest."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        if value in _TRUE:
            return True
        if value in _FALSE or not value:
            return False
    raise BadRequest(f"{name} is not a boolean")


def parse_list(value: object, *, name: str = "value") -> StrList:
    """A StrList from a JSON list of scalars or comma-separated text. Raises BadRequest."""
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",")]
        return StrList(item for item in items if item)
    if isinstance(value, list | tuple):
        return StrList(str(_text(item, name)) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return StrList((str(value),))
    raise BadRequest(f"{name} is not a list")


def parse_map(value: object, *, name: str = "value") -> StrMap:
    """A StrMap from an object, an object as JSON text, or "k=v" items. Raises BadRequest."""
    if isinstance(value, str):
        if value.lstrip().startswith("{"):
            value = _json(value, name)
        else:
            value = [value] if value else []
    if isinstance(value, Mapping):
        return StrMap({str(k): str(_text(v, name)) for k, v in value.items()})
    if isinstance(value, list):
        out = StrMap()
        for item in value:
            if not isinstance(item, str) or "=" not in item:
                raise BadRequest(f"{name} is not a map of text")
            key, _, text = item.partition("=")
            out[key.strip()] = text.strip()
        return out
    raise BadRequest(f"{name} is not a map of text")


def _any_map(value: object, name: str) -> AnyMap:
    if isinstance(value, str):
        value = _json(value, name) if value else {}
    if isinstance(value, Mapping):
        return AnyMap(value)
    raise BadRequest(f"{name} is not an object")


def _json(text: str, name: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"{name} is not valid JSON") from error


def _text(value: object, name: str) -> Text:
    if isinstance(value, bool):
        return Text("1" if value else "0")  # mapstructure's weak decode
    if isinstance(value, str | int | float):
        return Text(value)
    raise BadRequest(f"{name} is not text")


def _hook(kind: type, value: Any) -> Any:
    try:
        return _coerce(kind, value)
    except BadRequest as error:
        raise ValueError(str(error)) from error  # msgspec adds the field's path to a ValueError


def _coerce(kind: type, value: Any) -> Any:
    if kind is Duration:
        return Duration(parse_duration(value))
    if kind is SignedDuration:
        return SignedDuration(parse_duration(value, negative=True))
    if kind is Flag:
        return Flag(parse_bool(value))
    if kind is StrList:
        return parse_list(value)
    if kind is StrMap:
        return parse_map(value)
    if kind is AnyMap:
        return _any_map(value, "value")
    if kind is Text:
        return _text(value, "value")
    raise NotImplementedError(kind)


def convert(data: Mapping[str, Any], into: type[T]) -> T:
    """``data`` as the struct ``into``; JSON nulls count as absent, unknown fields are ignored.

    Raises:
        BadRequest: a field is missing or of the wrong type. The message names the field, never its value.
    """
    present = {key: value for key, value in data.items() if value is not None}
    try:
        return msgspec.convert(present, into, strict=False, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise BadRequest(_explain(str(error))) from error


def _explain(text: str) -> str:
    where = re.search(r"at `\$\.?([^`]*)`", text)
    if missing := re.search(r"missing required field `(\w+)`", text):
        return f"missing {missing[1]}"
    field = where[1] if where and where[1] else ""
    reason = text.split(" - at ", maxsplit=1)[0].replace("`", "").removeprefix("value ")
    return f"error converting input for field {field!r}: {reason}" if field else f"error converting input: {reason}"
