"""A memo of bounded size for what is read again and again, in a vault that may be read all over."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
PATIENCE = 4  # times its size: so many new things are turned away before a full memo is emptied


class Kept(dict[K, V]):
    """A dict whose ``put`` keeps at most ``most`` entries.

    When it is full, what is new is not kept for a while. To make room for each, as reads of a million secrets would
    have it, costs more than it saves, and what is in it would be thrown out before it is of use.
    """

    __slots__ = ("_most", "_turned_away")

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most, self._turned_away = most, 0

    def put(self, key: K, value: V) -> None:
        """Keep ``value``, if there is room."""
        if len(self) >= self._most and key not in self:
            self._turned_away += 1
            if self._turned_away < PATIENCE * self._most:
                return
            self._turned_away = 0
            self.clear()
        self[key] = value
