"""Secrets that are asked for, on a terminal of the test's own."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from scripts.transcript import Exchange, Run, Stub


def converse(words: list[str], prompt: bytes, typed: bytes) -> tuple[int, bytes]:
    """Run a command on a pseudo terminal, type once the prompt is there; its exit code and all it showed."""
    terminal, other = pty.openpty()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "strongroom", *words],
        os.environ,
        # The first terminal that the leader of a session opens is the one that its ^C comes from.
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(other), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT],  # a shell's "&" leaves it ignored, also for the children of children
    )
    os.close(other)
    shown, sent, end = b"", False, time.monotonic() + 20
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            more = os.read(terminal, 4096)
        except OSError:
            break
        if not more:
            break
        shown += more
        if not sent and prompt in shown:
            os.write(terminal, typed)
            sent = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


def test_sec_a_share_is_not_echoed(stub: Stub) -> None:
    stub.expected = [
        Exchange("PUT", "/v1/sys/unseal", '{"key":"canary"}', 200, '{"sealed":false,"t":1,"n":1}'),
        Exchange("GET", "/v1/sys/leader", "", 200, "{}"),
    ]
    code, shown = converse(["operator", "unseal"], b"Unseal Key (will be hidden): ", b"canary\n")
    assert code == 0 and not stub.faults
    assert b"Sealed" in shown and b"canary" not in shown


def test_an_interrupt_ends_quietly(stub: Stub) -> None:
    code, shown = converse(["login"], b"Token (will be hidden): ", b"\x03")
    assert code == 130
    assert b"error: interrupted" in shown.replace(b"\x1b[31merror:\x1b[0m", b"error:") and b"Traceback" not in shown


def test_a_value_ends_with_a_newline_on_a_terminal(stub: Stub) -> None:
    stub.expected = [Exchange("GET", "/v1/a", "", 200, '{"data":{"x":"v\\u001b[2J"}}')]
    code, shown = converse(["read", "-field=x", "a"], b"never", b"")
    assert (code, shown) == (0, b"v\\x1b[2J\r\n")


def test_colours_are_for_terminals(stub: Stub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"\x1b[31merror:\x1b[0m" in converse(["raed"], b"never", b"")[1]
    monkeypatch.setenv("VAULT_CLI_NO_COLOR", "1")
    assert b"\x1b" not in converse(["raed"], b"never", b"")[1]
    assert "\x1b" not in run(["raed"]).err


def test_nothing_is_asked_without_a_terminal(run: Run, home: Path) -> None:
    assert run(["login"]).code == 1
    assert not (home / ".vault-token").exists()


def test_a_passcode_is_asked_for_and_not_echoed(stub: Stub, home: Path) -> None:
    asked = '"mfa_requirement":{"mfa_request_id":"r1","mfa_constraints":{"e":{"any":[%s]},"f":{"any":[%s]}}}'
    method = '{"type":"totp","id":"m1","uses_passcode":true,"name":"phone"}'
    stub.expected = [
        Exchange(
            "PUT",
            "/v1/auth/userpass/login/bob",
            '{"password":"pw"}',
            200,
            f'{{"auth":{{"client_token":"",{asked % (method, method)}}}}}',
        ),
        Exchange(
            "PUT",
            "/v1/sys/mfa/validate",
            '{"mfa_request_id":"r1","mfa_payload":{"m1":["123456"]}}',
            200,
            '{"auth":{"client_token":"hvs.second","policies":["default"]}}',
        ),
    ]
    words = ["login", "-method=userpass", "-no-print", "username=bob", "password=pw"]
    code, shown = converse(words, b"Passcode of phone (will be hidden): ", b"123456\n")
    assert (code, stub.faults) == (0, []) and b"123456" not in shown
    assert (home / ".vault-token").read_text() == "hvs.second"
