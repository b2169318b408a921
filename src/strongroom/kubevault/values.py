"""A file of kvstore: YAML text -> keys and values, and what its ``_kubevault`` key says about the Secret.

Values are kept as their source text (``0x1F``, ``1_000``, ``yes``, ``null``), as YAML 1.1's parser in C sees it. Only
``!!binary`` and, where asked for, keys ending in ``.b64`` become bytes.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from strongroom.kubevault.found import Problem, locked_by
from strongroom.kubevault.names import BadName, check_key
from strongroom.kubevault.settings import RESERVED, Settings, read_settings

_BINARY = "tag:yaml.org,2002:binary"
_MAX_DEPTH = 64


class Values(NamedTuple):
    """What a file says. ``entries``: key -> text, or bytes for a binary value, in order of the keys."""

    entries: dict[str, str | bytes]
    settings: Settings
    warnings: list[Problem]


class BadFile(ValueError):
    """A file that cannot become a Secret; ``problems`` says all that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def read_values(data: bytes, where: str, *, b64: bool = False) -> Values:
    """The values of one file.

    Args:
        data: UTF-8 YAML, one document: a map of scalars to scalars.
        where: the file, for messages.
        b64: keys that end in ``.b64`` hold base64 and lose the ending.

    Raises:
        BadFile: with every problem found and its line.
    """
    if locked := locked_by(data):
        raise BadFile([Problem(where, 0, f"is still encrypted by {locked}: unlock the work tree first", "locked")])
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFile([Problem(where, line, "is not UTF-8", "not-utf-8")]) from None
    return _Reader(where, b64).read(data)


def _reason(error: yaml.YAMLError) -> tuple[int, str]:
    """Line and words of a parser's error, without the text it stumbled over: that may be a secret."""
    mark = getattr(error, "problem_mark", None)
    words = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "not understood")
    if "'" in words:  # found undefined alias 'x': the name is no secret, but what follows a tab may be
        words = words.split("'", 1)[0].rstrip()
    return (mark.line + 1 if mark else 0), words


class _Reader:
    def __init__(self, where: str, b64: bool) -> None:
        self.where, self.b64 = where, b64
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.entries: dict[str, str | bytes] = {}
        self.lines: dict[str, int] = {}
        self.anchors: dict[str, Any] = {}
        self.settings: Any = None
        self.settings_line = 0

    def read(self, data: bytes) -> Values:
        parser = yaml.CBaseLoader(data)
        try:
            self._document(parser.get_event)
        except yaml.YAMLError as error:
            line, words = _reason(error)
            last = data.count(b"\n") + (not data.endswith(b"\n"))  # the parser counts one more at the end
            self._wrong(min(line, last), f"is not YAML: {words}", "yaml")
        except RecursionError:
            self._wrong(self.settings_line, "is nested too deeply", "nested")
        finally:
            parser.dispose()
        settings = self._settings()
        if self.b64 or settings.b64:
            self._decode_b64()
        if self.problems:
            raise BadFile(self.problems)
        return Values(dict(sorted(self.entries.items())), settings, self.warnings)

    def _settings(self) -> Settings:
        if self.settings is None:
            return Settings()
        settings, wrong = read_settings(self.settings)
        for text in wrong:
            self._wrong(self.settings_line, text, "settings")
        return settings

    def _wrong(self, line: int, text: str, code: str) -> None:
        self.problems.append(Problem(self.where, line, text, code))

    def _document(self, take: Callable[[], Any]) -> None:
        take()  # the stream's start
        if isinstance(take(), yaml.StreamEndEvent):
            return
        event = take()
        if isinstance(event, yaml.MappingStartEvent):
            while not isinstance(event := take(), yaml.MappingEndEvent):
                self._pair(event, take)
        elif not _nothing(event):
            self._wrong(_line(event), "must be a map of keys to values", "no-map")
            _skip(event, take)
        take()  # the document's end
        event = take()
        if not isinstance(event, yaml.StreamEndEvent):
            self._wrong(_line(event), "holds more than one document", "documents")

    def _pair(self, event: Any, take: Callable[[], Any]) -> None:
        line = _line(event)
        key = self._scalar(event)
        if key is None:
            self._wrong(line, "a key must be plain text, not a list or a map", "nested")
            _skip(event, take)
            event = take()
            _skip(event, take)
            return
        event = take()
        if key == RESERVED:
            self.settings_line = line
            self.settings = self._tree(event, take, 0)
            return
        value = self._scalar(event)
        if value is None:
            what = "a list" if isinstance(event, yaml.SequenceStartEvent) else "a map"
            shown = key if len(key) <= 40 and key.isprintable() else "a key"
            self._wrong(line, f"{shown} holds {what}: values are plain text", "nested")
            _skip(event, take)
            return
        if isinstance(key, bytes):
            self._wrong(line, "a key cannot be binary", "key")
            return
        self._keep(key, value, line)

    def _keep(self, key: str, value: str | bytes, line: int) -> None:
        try:
            check_key(key)
        except BadName as error:
            self._wrong(line, str(error), "key")
        if key in self.lines:
            self.warnings.append(
                Problem(self.where, line, f"{key} is given again; line {self.lines[key]} has no effect", "duplicate")
            )
        self.lines[key] = line
        self.entries[key] = value

    def _scalar(self, event: Any) -> Any:
        """The value of an event: text, bytes, or None for what is no scalar."""
        if isinstance(event, yaml.ScalarEvent):
            value: str | bytes = event.value
            if event.tag == _BINARY:
                value = self._binary(event.value, _line(event))
            if event.anchor:
                self.anchors[event.anchor] = value
            return value
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self._wrong(_line(event), f"*{event.anchor} is not defined above", "yaml")
                return ""
            return self.anchors[event.anchor]
        if event.anchor:
            self.anchors[event.anchor] = None
        return None

    def _binary(self, text: str, line: int) -> bytes:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            self._wrong(line, "the binary value is not base64", "base64")
            return b""

    def _tree(self, event: Any, take: Callable[[], Any], depth: int) -> Any:
        """A value of any shape, for the reserved key."""
        if depth > _MAX_DEPTH:
            raise RecursionError
        if isinstance(event, yaml.MappingStartEvent):
            made = {}
            while not isinstance(event := take(), yaml.MappingEndEvent):
                key = self._tree(event, take, depth + 1)
                made[key if isinstance(key, str) else repr(type(key))] = self._tree(take(), take, depth + 1)
            return made
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self._items(take, depth))
        return self._scalar(event)

    def _items(self, take: Callable[[], Any], depth: int) -> Iterator[Any]:
        while not isinstance(event := take(), yaml.SequenceEndEvent):
            yield self._tree(event, take, depth + 1)

    def _decode_b64(self) -> None:
        for key in [key for key in self.entries if key.endswith(".b64")]:
            name, value = key.removesuffix(".b64"), self.entries.pop(key)
            line = self.lines[key]
            if not name or name in self.entries:
                self._wrong(line, f"{key} has no name of its own without .b64", "base64")
            self.entries[name] = value if isinstance(value, bytes) else self._binary(value, line)


def _line(event: Any) -> int:
    """The line on which ``event`` begins, from 1."""
    return int(event.start_mark.line) + 1


def _nothing(event: Any) -> bool:
    """The empty document that ``---`` alone makes."""
    return isinstance(event, yaml.ScalarEvent) and event.value == "" and event.implicit[0] and not event.anchor


def _skip(event: Any, take: Callable[[], Any]) -> None:
    """Read on to the end of what ``event`` begins."""
    depth = 0
    while True:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth == 0:
            return
        event = take()
