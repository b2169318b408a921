"""Objects as YAML that readers of YAML 1.1 and 1.2 understand alike.

Text stands without quotes only when no version of YAML could read it as something else (``yes``, ``1_000`` and
``0x1F`` get quotes); otherwise it is written as a JSON string, in one line. Maps are in the order of their keys.
"""

import json
import re
from functools import lru_cache
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][-A-Za-z0-9_./:]*[-A-Za-z0-9_./]|[A-Za-z]")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
# What JSON allows inside a string and YAML does not print: C1 controls, line separators, byte order mark and the like.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_SHORT = 80  # longer text is a value, not a name that comes again


@lru_cache(maxsize=1 << 16)
def scalar(text: str) -> str:
    """``text`` as a YAML scalar."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """``text`` in double quotes, with every character written out that YAML does not print."""
    made = json.dumps(text, ensure_ascii=False)
    return made if made.isascii() and "\x7f" not in made else _ODD.sub(lambda odd: f"\\u{ord(odd[0]):04x}", made)


def document(value: dict[str, Any]) -> str:
    """One object as a document, without ``---``, with a newline at the end."""
    lines: list[str] = []
    _map(value, "", lines)
    return "".join(lines)


def _map(value: dict[str, Any], indent: str, lines: list[str]) -> None:
    for key in sorted(value):
        inner = value[key]
        kind = type(inner)
        head = f"{indent}{scalar(key)}:"
        if kind is str:
            lines.append(f"{head} {scalar(inner) if len(inner) < _SHORT else quoted(inner)}\n")
        elif kind is dict:
            lines.append(f"{head}\n" if inner else f"{head} {{}}\n")
            _map(inner, f"{indent}  ", lines)
        elif kind is list:
            lines.append(f"{head}\n" if inner else f"{head} []\n")
            _list(inner, indent, lines)
        else:
            lines.append(f"{head} {json.dumps(inner)}\n")


def _list(items: list[Any], indent: str, lines: list[str]) -> None:
    if items and isinstance(items[0], str):
        start = f"{indent}- "
        lines.append(start + f"\n{start}".join(map(scalar, items)) + "\n")
        return
    for item in items:
        made: list[str] = []
        _map(item, f"{indent}  ", made)
        lines.append(f"{indent}- {''.join(made)[len(indent) + 2 :]}")
