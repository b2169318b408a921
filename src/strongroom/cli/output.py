"""What is printed: tables, JSON, YAML and single fields, as text. Nothing in this file writes anything.

The layout (columns four spaces apart, a line of dashes below the headings, ``n/a`` for nothing) is what scripts made
for Vault's command line parse. Values in tables look as Go prints them: ``<nil>``, ``[a b]``, ``map[k:v]``.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from strongroom.errors import BadRequest

FORMATS = ("table", "json", "yaml", "raw")
_ENVELOPE = (
    "request_id",
    "lease_id",
    "lease_duration",
    "renewable",
    "data",
    "warnings",
    "auth",
    "wrap_info",
    "mount_type",
)
_ONLY_WHEN_SET = frozenset({"auth", "wrap_info", "mount_type"})
_AUTH = (
    "client_token",
    "accessor",
    "policies",
    "token_policies",
    "identity_policies",
    "metadata",
    "orphan",
    "entity_id",
    "lease_duration",
    "renewable",
    "mfa_requirement",
)
_WRAP = ("token", "accessor", "ttl", "creation_time", "creation_path", "wrapped_accessor")
_TIME_NAMES = ("ttl", "period", "duration")


def parse_format(text: str, where: str) -> str:
    """The output format that ``text`` names. Raises ``BadRequest`` saying ``where`` it came from."""
    name = {"yml": "yaml", "": "table"}.get(text.lower(), text.lower())
    if name not in FORMATS:
        raise BadRequest(f"{where} must be table, json or yaml")
    return name


# -- values --------------------------------------------------------------------------------------------------------


def go_value(value: object) -> str:
    """``value`` as Go's ``%v`` prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(go_value, value)) + "]"
    return str(value)


def quoted_list(items: object) -> str:
    """A list of names as Go's ``%q`` prints it: ``["a" "b"]``."""
    names = items if isinstance(items, list | tuple) else []
    return "[" + " ".join(json.dumps(str(name), ensure_ascii=False) for name in names) + "]"


def human_duration(seconds: object) -> str:
    """Whole seconds as ``768h``, ``1h30m``, ``45s`` or ``0s``; anything that is not a whole number stays as it is."""
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return go_value(seconds)
    if seconds == 0:
        return "0s"
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, left = divmod(left, 3600)
    minutes, rest = divmod(left, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    return sign + text


def go_time(text: str) -> str:
    """An RFC 3339 time in UTC as Go prints a time: ``2026-11-22 00:17:28.5 +0000 UTC``."""
    return text.replace("T", " ", 1).removesuffix("Z") + " +0000 UTC" if text.endswith("Z") else text


def _is_duration(name: str) -> bool:
    return name in ("lease_max", "ttl_max") or any(name == word or name.endswith(f"_{word}") for word in _TIME_NAMES)


def visible(text: str) -> str:
    """``text`` with control characters written out, so that a stored value cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# -- tables --------------------------------------------------------------------------------------------------------


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Rows as aligned columns; empty cells show ``n/a``, the last column is not padded."""
    cells = [[cell.strip() or "n/a" for cell in row] for row in rows]
    widths: list[int] = []
    for row in cells:
        for at, cell in enumerate(row):
            if at == len(widths):
                widths.append(0)
            widths[at] = max(widths[at], len(cell))
    lines = [
        "    ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in cells
        if row
    ]
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with headings and dashes below them."""
    return columns([heads, ["-" * len(head) for head in heads], *rows])


def data_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, human_duration(data[key]) if _is_duration(key) else go_value(data[key])) for key in sorted(data)]


def data_table(data: Mapping[str, Any]) -> str:
    """``data`` as a table of keys and values, in order of the keys."""
    return table(("Key", "Value"), data_rows(data))


def title(text: str, width: int) -> str:
    """``== text ==`` about ``width`` wide, with at least two signs on each side."""
    signs = width - len(text) - 2
    side = "=" * ((4 if signs <= 0 else signs + signs % 2) // 2)
    return f"{side} {text} {side}"


def data_title(text: str, data: Mapping[str, Any]) -> str:
    """The title over ``data_table(data)``: as wide as the longest key and the word Value."""
    return title(text, max(map(len, data), default=0) + 9)


def path_block(text: str, path: str) -> str:
    """A path under its own title, and an empty line."""
    return f"{title(text, len(path))}\n{path}\n"


# -- answers -------------------------------------------------------------------------------------------------------


def envelope(body: Mapping[str, Any]) -> dict[str, Any]:
    """The enveloped form of an answer: a bare answer becomes the ``data`` of an otherwise empty envelope."""
    if "request_id" not in body and "auth" not in body and "data" not in body:
        return {
            **dict.fromkeys(_ENVELOPE[:2], ""),
            "lease_duration": 0,
            "renewable": False,
            "data": by_name(body),
            "warnings": None,
        }
    shown = {key: body.get(key) for key in _ENVELOPE if body.get(key) is not None or key not in _ONLY_WHEN_SET}
    for key, first in (("auth", _AUTH), ("wrap_info", _WRAP)):
        part = shown.pop(key, None)
        if isinstance(part, dict):
            missing = {"identity_policies": None} if key == "auth" else {"wrapped_accessor": ""}
            shown[key] = {name: {**missing, **part}.get(name) for name in dict.fromkeys((*first, *part))}
    if not isinstance(shown["data"], dict | None):
        shown["data"] = {"data": shown["data"]}
    shown["data"] = by_name(shown["data"])
    return shown


def by_name(value: Any) -> Any:
    """``value`` with the keys of every object in order of their names."""
    if isinstance(value, Mapping):
        return {key: by_name(value[key]) for key in sorted(value)}
    return [by_name(item) for item in value] if isinstance(value, list) else value


def auth_rows(auth: Mapping[str, Any]) -> list[tuple[str, str]]:
    ttl = auth.get("lease_duration") or 0
    metadata = auth.get("metadata") or {}
    return [
        ("token", str(auth.get("client_token") or "")),
        ("token_accessor", str(auth.get("accessor") or "")),
        ("token_duration", human_duration(ttl) if ttl else "∞"),
        ("token_renewable", go_value(bool(auth.get("renewable")))),
        ("token_policies", quoted_list(auth.get("token_policies"))),
        ("identity_policies", quoted_list(auth.get("identity_policies"))),
        ("policies", quoted_list(auth.get("policies"))),
        *((f"token_meta_{key}", go_value(metadata[key])) for key in sorted(metadata)),
    ]


def wrap_rows(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("wrapping_token:", str(info.get("token") or "")),
        ("wrapping_accessor:", str(info.get("accessor") or "")),
        ("wrapping_token_ttl:", human_duration(info.get("ttl") or 0)),
        ("wrapping_token_creation_time:", go_time(str(info.get("creation_time") or ""))),
        ("wrapping_token_creation_path:", str(info.get("creation_path") or "")),
    ]
    if info.get("wrapped_accessor"):
        rows.append(("wrapped_accessor:", str(info["wrapped_accessor"])))
    return rows


def secret_table(body: Mapping[str, Any]) -> str:
    """An enveloped answer as a table: lease, token or wrapping information first, then the data."""
    rows: list[tuple[str, str]] = []
    duration = body.get("lease_duration") or 0
    if body.get("lease_id"):
        rows += [
            ("lease_id", str(body["lease_id"])),
            ("lease_duration", human_duration(duration)),
            ("lease_renewable", go_value(bool(body.get("renewable")))),
        ]
    elif duration:
        rows.append(("refresh_interval", human_duration(duration)))
    if auth := body.get("auth"):
        rows += auth_rows(auth)
    if info := body.get("wrap_info"):
        rows += wrap_rows(info)
    rows += data_rows(body.get("data") or {})
    return table(("Key", "Value"), rows) if rows else ""


def list_table(keys: Iterable[object], head: str = "Keys") -> str:
    return table((head,), [(str(key),) for key in keys])


def field_of(body: Mapping[str, Any], name: str) -> Any:
    """One named value of an enveloped answer, or None: token and wrapping fields first, then the data's own."""
    if auth := body.get("auth"):
        if name in ("token_policies", "identity_policies", "policies"):
            return auth.get(name) or []
        if name == "token_duration":
            return auth.get("lease_duration") or 0
        found = dict(auth_rows(auth)).get(name)
        if found is not None:
            return found
    if info := body.get("wrap_info"):
        found = {key.rstrip(":"): value for key, value in wrap_rows(info)}.get(name)
        if found is not None:
            return info.get("ttl") if name == "wrapping_token_ttl" else found
    if name == "refresh_interval" and not body.get("lease_id"):
        return body.get("lease_duration")
    if name in ("lease_id", "lease_duration") and body.get("lease_id"):
        return body[name]
    return (body.get("data") or {}).get(name)


# -- JSON and YAML -------------------------------------------------------------------------------------------------


_FOR_WEB_PAGES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def to_json(value: object) -> str:
    """As Go writes it: what would mean something in a web page is escaped. It can stand in strings only."""
    return json.dumps(value, indent=2, ensure_ascii=False).translate(_FOR_WEB_PAGES)


def to_yaml(value: object) -> str:
    """As Vault writes it: text of several lines as a block, quotes double, and about ``y`` and ``n`` as well."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def choose_scalar_style(self) -> Any:
            style = super().choose_scalar_style()
            return '"' if style == "'" or getattr(self.event, "value", "") in ("y", "n", "Y", "N") else style

        def text(self, data: str) -> Any:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, Dumper.text)
    text: str = yaml.dump(
        value, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=True, width=sys.maxsize
    )
    return text.removesuffix("...\n").rstrip("\n")


def render(value: object, form: str) -> str:
    """``value`` as JSON or YAML."""
    return to_yaml(value) if form == "yaml" else to_json(value)
