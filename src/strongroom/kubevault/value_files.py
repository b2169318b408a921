"""Files of kvstore written: values always in quotes or as blocks, bytes as ``!!binary``."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from strongroom.kubevault.settings import RESERVED
from strongroom.kubevault.yaml_read import read_texts
from strongroom.kubevault.yaml_text import quoted, scalar

_LINES = str.maketrans("", "", "\n\t")
_WIDTH = 76  # characters of base64 in a line, as RFC 2045


def render(entries: Mapping[str, str | bytes], settings: Mapping[str, Any]) -> str:
    """A file that ``values.read_values`` reads as these entries and settings.

    Args:
        entries: key -> text or bytes.
        settings: ``type``, ``labels``, ``annotations``, ``immutable``; what is not text, a map or a boolean is written
            as text, for the reader to refuse.
    """
    lines = []
    if settings:
        lines.append(f"{RESERVED}:\n")
        lines += _settings(settings)
    for key in sorted(entries):
        lines.append(f"{_key(key)}: {_value(entries[key])}\n")
    return "".join(lines) or "{}\n"


def _settings(settings: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping):
            lines.append(f"  {_key(name)}:" + ("\n" if value else " {}\n"))
            lines += [f"    {_key(key)}: {quoted(_text(value[key]))}\n" for key in sorted(value)]
        else:
            lines.append(f"  {_key(name)}: {quoted(_text(value))}\n")
    return lines


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(key: str) -> str:
    # A key may not go on in a second line, and beyond 1024 characters needs a "?" in front.
    return scalar(key) if len(key) < 256 else quoted(key)


def _value(value: str | bytes) -> str:
    if isinstance(value, bytes):
        text = b64encode(value).decode()
        if len(text) <= _WIDTH:
            return f'!!binary "{text}"'
        return "!!binary |" + "".join(f"\n  {text[at : at + _WIDTH]}" for at in range(0, len(text), _WIDTH))
    return _block(value) or quoted(value)


def _block(text: str) -> str:
    """``text`` as a block scalar, or empty when it has one line or would not read back exactly."""
    if "\n" not in text.rstrip("\n") or not text.translate(_LINES).isprintable():
        return ""
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    sign = "-" if ends == 0 else "" if ends == 1 else "+"
    indent = "2" if body[0] in " \n\t" else ""
    lines = [f"  {line}" if line else "" for line in text.split("\n")[: -1 if ends else None]]
    made = f"|{indent}{sign}\n" + "\n".join(lines)
    try:
        back = read_texts(f"k: {made}\nl: x\n".encode())
    except ValueError:  # not YAML after all, or a lone surrogate
        return ""
    return made if back == [{"k": text, "l": "x"}] else ""
