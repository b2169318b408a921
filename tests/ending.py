"""What the tests start ends with them, also when they are killed and cannot clean up."""

import signal
import sys
from collections.abc import Callable

from strongroom.crypto.hardening import die_with_parent


def with_us(signum: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A ``preexec_fn``: the kernel sends ``signum`` when the thread that starts the process is gone (Linux only)."""
    if sys.platform != "linux":
        return None

    def arm() -> None:
        die_with_parent(signum=signum)

    return arm
