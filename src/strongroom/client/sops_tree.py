"""What a file of SOPS's YAML and JSON stores holds: a tree of maps, lists and leaves, read and written.

A leaf keeps the text of its source, and the type that SOPS's own reader (the Go library yaml.v3, or Go's
encoding/json) would give it, because the MAC is made over values in that reader's types, and ``sops decrypt`` shows
them so: ``0x1F`` is ``31``.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from strongroom.client.sops_error import Undecryptable

MAX_DEPTH = 64  # of maps in maps; Kubernetes' own objects stay far below


class Leaf(NamedTuple):
    """One value. ``kind`` is str, int, float, bool, time, null or bytes; ``data`` its text (of bytes: themselves).

    A str need not be UTF-8: SOPS makes one of what YAML calls ``!!binary``.
    """

    kind: str
    data: bytes

    def __repr__(self) -> str:
        return f"Leaf({self.kind})"


Node = Leaf | list[Any] | dict[str, Any]  # inner nodes are Nodes

_TAG = "tag:yaml.org,2002:"
_KINDS = {name: name for name in ("str", "int", "float", "bool", "null")} | {"timestamp": "time", "merge": "str"}
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "bool"),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), "null"),
    **dict.fromkeys((f".{word}" for word in ("nan", "NaN", "NAN", "inf", "Inf", "INF")), "float"),
    **dict.fromkeys((f"{sign}.{word}" for sign in "+-" for word in ("inf", "Inf", "INF")), "float"),
}
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2}))"
    r"|(?: ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(\.[0-9]+)?))?"
)
_RAW = re.compile(
    "[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]"
)  # in double quotes YAML wants these escaped, JSON does not


def parse_yaml(data: bytes) -> dict[str, Node]:
    """One YAML document whose root is a map. Raises Undecryptable for anything else, for aliases and repeated keys
    (SOPS writes none), with a line where there is one. Source: YAML 1.1 as libyaml reads it."""
    import yaml

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        events = yaml.parse(data, Loader=loader)
        found = _document(events)
    except yaml.MarkedYAMLError as e:
        line = getattr(e.problem_mark, "line", -1) + 1
        raise Undecryptable(f"not valid YAML (line {line})" if line else "not valid YAML") from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise Undecryptable("not valid YAML") from None
    if not isinstance(found, dict):
        raise Undecryptable("the document is not a map")
    return found


def _document(events: Iterator[Any]) -> Node:
    """The root of the only document of a stream of events."""
    from yaml.events import DocumentStartEvent, StreamEndEvent

    next(events)
    if not isinstance(next(events), DocumentStartEvent):
        raise Undecryptable("the file is empty")
    found = _node(events, next(events), 0)
    next(events)
    if not isinstance(next(events), StreamEndEvent):
        raise Undecryptable("the file holds more than one YAML document", "keep one document in each file")
    return found


def _node(events: Iterator[Any], event: Any, depth: int) -> Node:
    from yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

    line = event.start_mark.line + 1
    if isinstance(event, ScalarEvent):
        return _leaf(event, line)
    if isinstance(event, AliasEvent):
        raise Undecryptable(f"an alias in line {line}: SOPS writes none")
    if depth >= MAX_DEPTH:
        raise Undecryptable(f"nested deeper than {MAX_DEPTH} in line {line}")
    if isinstance(event, MappingStartEvent):
        pairs: dict[str, Node] = {}
        while not isinstance(key := next(events), MappingEndEvent):
            if not isinstance(key, ScalarEvent):
                raise Undecryptable(f"a key below line {line} is not text")
            if key.value in pairs:
                raise Undecryptable(f"a key is repeated below line {line}")
            pairs[key.value] = _node(events, next(events), depth + 1)
        return pairs
    items: list[Node] = []
    while not isinstance(item := next(events), SequenceEndEvent):
        items.append(_node(events, item, depth + 1))
    return items


def _leaf(event: Any, line: int) -> Leaf:
    text: str = event.value
    tag = event.tag
    if tag is None:
        kind = plain_kind(text) if event.implicit[0] else "str"
    elif tag == _TAG + "binary":
        return Leaf("str", _base64(text, line))
    elif tag == "!":
        kind = "str"
    else:
        kind = _KINDS.get(tag.removeprefix(_TAG), "") if tag.startswith(_TAG) else ""
        found = plain_kind(text)
        if not kind or (kind != "str" and found != kind and (kind, found) != ("float", "int")):
            raise Undecryptable(f"a value in line {line} has a tag that does not fit")
    return Leaf(kind, text.encode())


def _base64(text: str, line: int) -> bytes:
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise Undecryptable(f"!!binary in line {line} is not base64") from None


def plain_kind(text: str) -> str:
    """The kind of a plain (unquoted) YAML scalar in yaml.v3's eyes. Source: resolve.go of that library."""
    if kind := _WORDS.get(text):
        return kind
    if not text or text[0] not in "+-.0123456789":
        return "str"
    if _time(text):
        return "time"
    digits = text if text[0] == "." else text.replace("_", "")
    if _INT.fullmatch(digits) and -(2**63) <= integer(digits) < 2**64:
        return "int"
    if _FLOAT.fullmatch(digits) and abs(float(digits)) != float("inf"):
        return "float"
    return "str"


def integer(text: str) -> int:
    """``-0x1F``, ``0b1``, ``0o17``, ``017``, ``1_000`` as Go's ParseInt with base 0 reads them."""
    digits = text.replace("_", "").lower()
    sign, digits = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
    if digits != "0" and digits.isdigit() and digits[0] == "0":
        digits = "0o" + digits[1:]
    return int(sign + digits, 0)


def floating(text: str) -> str:
    """The shortest decimal that is the same double, without an exponent (Go's format ``'f', -1``): 1e3 is ``1000``."""
    value = float(re.sub(r"\.(inf|nan)", r"\1", text.replace("_", "").lower()))
    if value != value or abs(value) == float("inf"):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    decimal = format(Decimal(repr(value)), "f")
    return decimal.rstrip("0").removesuffix(".") if "." in decimal else decimal


def _time(text: str) -> re.Match[str] | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, *clock = found.groups()
    try:
        date(int(year) or 4, int(month), int(day))
    except ValueError:
        return None
    hour, minute, second = (int(a or b or 0) for a, b in zip(clock[:3], clock[5:8], strict=True))
    return found if hour < 24 and minute < 60 and second < 60 else None


def timestamp(text: str) -> str:
    """A timestamp as Go writes it (RFC 3339, zeros at the end of the fraction dropped)."""
    found = _time(text)
    if found is None:
        return text
    year, month, day, h1, m1, s1, f1, zone, h2, m2, s2, f2 = found.groups()
    hour, minute, second = (int(a or b or 0) for a, b in ((h1, h2), (m1, m2), (s1, s2)))
    fraction = (f1 or f2 or "").rstrip("0").removesuffix(".")
    zone = "Z" if zone in (None, "+00:00", "-00:00") else zone
    return f"{year}-{int(month):02}-{int(day):02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"


def parse_json(data: bytes) -> dict[str, Node] | None:
    """One JSON object; None when the bytes are not one (YAML may look like it). Raises Undecryptable for repeated
    keys. Numbers beyond 64 bits count as floats, as in SOPS."""

    def number(text: str) -> Leaf:
        return Leaf("int" if -(2**63) <= int(text) < 2**63 else "float", text.encode())

    def fraction(text: str) -> Leaf:
        return Leaf("float", text.encode())

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Node]:
        made = {_whole(key): _json_node(value) for key, value in found}
        if len(made) != len(found):
            raise Undecryptable("a key is repeated")
        return made

    try:
        found = json.loads(data, parse_int=number, parse_float=fraction, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _json_node(value: Any) -> Node:
    match value:
        case Leaf() | dict():
            return value
        case str():
            return Leaf("str", _whole(value).encode())
        case bool():
            return Leaf("bool", b"true" if value else b"false")
        case None:
            return Leaf("null", b"null")
        case list():
            return [_json_node(item) for item in value]
        case _:  # NaN, Infinity
            raise Undecryptable("not valid JSON")


def _whole(text: str) -> str:
    """``text`` with U+FFFD for half a surrogate pair, which JSON's escapes allow; Go reads it so."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def emit(tree: dict[str, Node]) -> bytes:
    """``tree`` as a YAML document: one line for each key, text always in double quotes, numbers and booleans plain,
    what is not UTF-8 as ``!!binary``. Read as text, each value is its ``data``."""
    lines = [f"{_key(key)}: {_flow(node, 0)}\n" for key, node in tree.items()]
    return ("".join(lines) or "{}\n").encode()


def _key(key: str) -> str:
    text = quoted(key)
    return text if len(text) < 1000 else f"? {text}\n"  # libyaml looks no further than 1024 for a colon


def _flow(node: Node, depth: int) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(inner, depth + 1)}" for key, inner in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(_flow(inner, depth + 1) for inner in node) + "]"
    if node.kind in ("int", "float", "bool", "null"):
        return node.data.decode()
    if node.kind != "bytes":
        try:
            return quoted(node.data.decode())
        except UnicodeDecodeError:
            pass
    return f'!!binary "{base64.b64encode(node.data).decode()}"'


def quoted(text: str) -> str:
    """``text`` as a double-quoted scalar that YAML 1.1, YAML 1.2 and mostly JSON read alike."""
    return _RAW.sub(lambda found: f"\\u{ord(found[0]):04X}", json.dumps(text, ensure_ascii=False))
