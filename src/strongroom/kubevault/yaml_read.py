"""YAML files of others read as text: every scalar is what somebody wrote, whatever version of YAML they had in mind.

libyaml's own composer calls itself for each level, so that a file of a hundred thousand brackets ends the process; here
the events are put together, with a limit.
"""

from collections.abc import Callable
from typing import Any

import yaml

MAX_DEPTH = 100


class BadYaml(ValueError):
    """The text is not YAML, is nested too deeply, or refers to a list or map elsewhere. ``line``: from 1, 0 unknown."""

    def __init__(self, line: int = 0) -> None:
        super().__init__("is not YAML, or not of a kind that is read here")
        self.line = line


def read_texts(data: bytes) -> list[Any]:
    """The documents of ``data``: maps, lists and text. An alias stands for text only. Raises ``BadYaml``."""
    try:
        parser = yaml.CBaseLoader(data)
    except (yaml.YAMLError, ValueError) as error:
        raise BadYaml from error
    try:
        return _documents(parser.get_event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadYaml(mark.line + 1 if mark else 0) from None
    except UnicodeError:
        raise BadYaml from None
    finally:
        parser.dispose()


def check_depth(data: bytes) -> None:
    """Raises ``BadYaml`` unless a loader of PyYAML can put ``data`` together without the risk above."""
    parser: Any = yaml.CBaseLoader(data)
    depth = 0
    try:
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise BadYaml(event.start_mark.line + 1)
    except (yaml.YAMLError, UnicodeError):
        raise BadYaml from None
    finally:
        parser.dispose()


def _documents(take: Callable[[], Any]) -> list[Any]:
    found = []
    while not isinstance(event := take(), yaml.StreamEndEvent):
        if isinstance(event, yaml.DocumentStartEvent):
            anchors: dict[str, str] = {}
            found.append(_value(take(), take, anchors, 0))
    return found


def _value(event: Any, take: Callable[[], Any], anchors: dict[str, str], depth: int) -> Any:
    if isinstance(event, yaml.ScalarEvent):
        if event.anchor:
            anchors[event.anchor] = event.value
        return event.value
    if isinstance(event, yaml.AliasEvent) and event.anchor in anchors:
        return anchors[event.anchor]
    if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent):
        raise BadYaml(event.start_mark.line + 1)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := take(), yaml.SequenceEndEvent):
            items.append(_value(event, take, anchors, depth + 1))
        return items
    made = {}
    while not isinstance(event := take(), yaml.MappingEndEvent):
        key = _value(event, take, anchors, depth + 1)
        if not isinstance(key, str):
            raise BadYaml(event.start_mark.line + 1)
        made[key] = _value(take(), take, anchors, depth + 1)
    return made
