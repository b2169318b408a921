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

    __slots__ = ("_left", "_most", "_patience")

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.clear()

    def clear(self) -> None:
        super().clear()
        self._left, self._patience = self._most, PATIENCE * self._most

    def put(self, key: K, value: V) -> None:
        """Keep ``value``, if there is room."""
        if key not in self:
            if not self.room():
                return
            self._left -= 1
        self[key] = value

    def room(self) -> bool:
        """Whether something new would be kept now; if not, it counts as turned away."""
        if self._left:
            return True
        self._patience -= 1
        if not self._patience:
            self.clear()
        return self._left > 0
