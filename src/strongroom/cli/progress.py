"""A line on the terminal that shows how far long work is; silent in a pipe."""

import sys
import time


class Progress:
    """Called with how much is done, and of how much. ``after``: seconds before the line appears."""

    def __init__(self, unit: str, after: float = 0.0) -> None:
        self.visible = sys.stderr.isatty()
        self._unit = unit
        self._shown = time.monotonic() + after if after else 0.0
        self._begun = False

    def __call__(self, done: int, total: int | None = None) -> None:
        if not self.visible:
            return
        now = time.monotonic()
        if now - self._shown < 0.1 and not (self._begun and done == total):
            return
        self._shown, self._begun = now, True
        if total:
            filled = 30 * done // total
            text = f"[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {self._unit}"
        else:
            text = f"{done} {self._unit}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def done(self) -> None:
        """Take the line away."""
        if self._begun:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
