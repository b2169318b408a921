"""``make serve``, as a newcomer uses it: what it prints, what it keeps, and that it ends when told to."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_fixture import START, STOP, Server, environment, free_port, wait_until_it_answers

ROOT = Path(__file__).resolve().parent.parent


def made() -> bool:
    """Whether ``make`` would start the server without installing anything first."""
    try:
        plan = subprocess.run(
            ["make", "-n", "serve"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return False
    return plan.returncode == 0 and "pip" not in plan.stdout


pytestmark = pytest.mark.skipif(not made(), reason="the environment was not made by make")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Children started in here heed SIGINT; where a shell's ``&`` left it ignored, they would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Made:
    """One ``make serve`` with its own data, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.output = folder / "output"
        with self.output.open("wb") as output, interruptible():
            process = subprocess.Popen(
                ["make", "serve", f"LISTEN=127.0.0.1:{port}", f"DATA={folder / 'data'}"],
                cwd=ROOT,
                env={k: v for k, v in environment().items() if not k.startswith(("MAKE", "MFLAGS"))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.server = Server(process, f"http://127.0.0.1:{port}", folder)
        try:
            wait_until_it_answers(self.server)
            self.server.token = self.line("Root Token")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def line(self, name: str) -> str:
        """What is printed behind ``name: ``, once it is."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if found := re.search(rf"^{name}: (\S+)$", self.output.read_text(), re.MULTILINE):
                return found[1]
            time.sleep(0.05)  # the other side is a process: there is nothing to wait on
        raise AssertionError(self.output.read_text())

    def end(self, how: signal.Signals, *, group: bool) -> None:
        """Send the signal; everything must have ended in time."""
        pid = self.server.process.pid
        (os.killpg if group else os.kill)(pid, how)
        try:
            self.server.process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(pid, signal.SIGKILL)
            self.server.process.wait()
            raise AssertionError(f"{how.name} did not end it") from None
        with pytest.raises(OSError):
            self.server.call("GET", "sys/health")
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [((signal.SIGINT, False), (signal.SIGTERM, False)), ((signal.SIGINT, True), (signal.SIGTERM, True))],
    ids=["to make alone", "to the group"],
)
def test_serve_keeps_its_data_and_ends_when_told(
    first: tuple[signal.Signals, bool], second: tuple[signal.Signals, bool], tmp_path: Path
) -> None:
    one = Made(tmp_path)
    share = one.line("Unseal Key")
    assert one.server.call("POST", "secret/data/x", {"data": {"a": "b"}})[0] == 200
    kept = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    assert share in json.loads(kept[0].read_text()).values()
    one.end(first[0], group=first[1])

    again = Made(tmp_path)
    assert (again.server.token, again.line("Unseal Key")) == (one.server.token, share)
    status, answer = again.server.call("GET", "secret/data/x")
    assert status == 200 and answer["data"]["data"] == {"a": "b"}
    again.end(second[0], group=second[1])
