"""Command lines as Vault takes them, turned into the one form click takes.

Vault accepts ``-name`` and ``--name``, ``-name=value`` and ``-name value``, ``-switch=false`` (and, here alone,
``-no-switch``). Each flag becomes here
``--name=value``, ``--name`` or ``--no-name``, and everything else goes behind a ``--``, so that ``-`` (standard
input), ``-1`` and values that begin with a dash arrive untouched. Flags may stand before or after arguments.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from strongroom.client.settings import parse_bool
from strongroom.errors import BadRequest

_NUMBER = re.compile(r"-\d+(\.\d+)?")
HELP = frozenset({"h", "help"})


class BadFlag(BadRequest):
    """A flag was used wrongly."""


class UnknownFlag(BadFlag):
    """A flag that the command does not have. ``near`` is the nearest name it has, or empty."""

    def __init__(self, name: str, near: str) -> None:
        super().__init__(f"unknown flag -{name}")
        self.near = near


def normalise(args: Sequence[str], switches: Mapping[str, str], valued: Mapping[str, str]) -> list[str]:
    """``args`` with flags first and in canonical form, then ``--``, then the arguments in their order.

    Args:
        args: what follows the command's name.
        switches: accepted name -> canonical name, of flags that are on or off.
        valued: accepted name -> canonical name, of flags with a value.

    Raises:
        UnknownFlag: a word begins with a dash and is neither a flag, a number nor behind ``--``.
        BadFlag: a value is missing, or a switch got something that is not a boolean.
    """
    flags: list[str] = []
    arguments: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            arguments += words
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            continue
        name, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        if name in switches:
            on = _switch(value, name) if equals else True
            flags.append(f"--{switches[name]}" if on else f"--no-{switches[name]}")
        elif name.startswith("no-") and name[3:] in switches and not equals:
            flags.append(f"--no-{switches[name[3:]]}")
        elif name in valued:
            if not equals:
                following = next(words, None)
                if following is None:
                    raise BadFlag(f"flag -{name} needs a value")
                value = following
            flags.append(f"--{valued[name]}={value}")
        elif len(name) > 1 and name[0] in valued and not word.startswith("--"):  # -nteam
            flags.append(f"--{valued[name[0]]}={word[2:].removeprefix('=')}")
        elif name in HELP and not equals:
            return ["--help"]
        elif _NUMBER.fullmatch(word):
            arguments.append(word)
        else:
            raise UnknownFlag(name, nearest(name, [*switches, *valued]))
    return [*flags, "--", *arguments]


def _switch(value: str, name: str) -> bool:
    try:
        return parse_bool(value, f"-{name}")
    except BadRequest as error:
        raise BadFlag(str(error)) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question that names the known word most like ``word``, or the empty string."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or the empty string."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, sorted(known), 1, 0.6)), "")
