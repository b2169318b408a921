"""Threat rows about audit (threat model, A5): each with a control that shows the test can see the fault."""

import base64
import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.audit_harness import ACCESSOR, TOKEN, Clock, Sinks, Store, call, caller
from strongroom import SealConfig, Vault
from strongroom.audit.file import open_sink
from strongroom.audit.verify import Verifier
from strongroom.core.audit import Audit
from strongroom.core.audit_devices import Target
from strongroom.core.audit_record import Rules
from strongroom.core.audit_sealed import SealedAudit
from strongroom.core.pipeline import Pipeline
from strongroom.errors import AuditFailed, BadRequest, NotFound, PermissionDenied
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import Call, Match, Route
from strongroom.sdk.request import Auth, Lease, Op, Request, Response, WrapInfo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    (tmp_path / "plugins").mkdir()
    return tmp_path / "audit"


def _audit(folder: Path | None = None, sinks: Sinks | None = None, store: Store | None = None) -> Audit:
    def open_file_sink(kind: str, options: Mapping[str, str]) -> AuditSink:
        return open_sink(options, audit_dir=str(folder))

    return Audit(store or Store(), open_sink=sinks or open_file_sink, now=Clock())


# CVE-2025-6000, CVE-2025-54997, CVE-2026-5051: an audit device as a way to write an executable file anywhere


@pytest.mark.parametrize("option", ["file_path", "path"])
async def test_sec_cve_2025_6000_a_target_stays_in_its_folder(folder: Path, option: str) -> None:
    plugins = folder.parent / "plugins"
    (folder / "link").symlink_to(plugins / "linked")
    os.mkfifo(folder / "fifo")
    audit = _audit(folder)
    for target in (
        str(plugins / "evil"),
        "../plugins/evil",
        f"{folder}/../plugins/evil",
        "link",
        "fifo",
        "/proc/self/mem",
        "/dev/null",
    ):
        with pytest.raises(BadRequest):
            await audit.enable("d", "file", options={option: target})
    assert os.listdir(plugins) == []
    await audit.enable("d", "file", options={option: "allowed"})  # control: the same call inside the folder works
    assert (folder / "allowed").exists()


async def test_sec_cve_2025_6000_no_prefix(folder: Path) -> None:
    audit = _audit(folder)
    with pytest.raises(BadRequest):
        await audit.enable("d", "file", options={"file_path": "a", "prefix": "#!/bin/sh\ntouch /tmp/x\n"})
    assert not (folder / "a").exists()
    await audit.enable("d", "file", options={"file_path": "a", "prefix": ""})


@pytest.mark.parametrize("mode", ["04777", "0777", "0755", "0644", "0000", "600"])
async def test_sec_gh_1651_never_executable_never_open_to_others(folder: Path, mode: str) -> None:
    audit = _audit(folder)
    (folder / "old").write_bytes(b"")
    (folder / "old").chmod(0o4777)
    for name in ("new", "old"):
        await audit.enable(name, "file", options={"file_path": name, "mode": mode})
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


# CVE-2024-0831: log_raw of one device reaches the others


async def test_sec_cve_2024_0831_there_is_no_raw_log(folder: Path) -> None:
    audit = _audit(folder)
    for value in ("true", "1", "T"):
        with pytest.raises(BadRequest):
            await audit.enable("raw", "file", options={"file_path": "raw", "log_raw": value})
    await audit.enable("hashed", "file", options={"file_path": "hashed", "log_raw": "false"})
    await audit.request(call(who=caller()), None)
    assert TOKEN not in (folder / "hashed").read_text()


# CVE-2024-8365, CVE-2024-2877, CVE-2025-62513, CVE-2025-62705, CVE-2026-46358: secrets in clear in the audit log

NEEDLE = "needle"


def _planted() -> tuple[Call, Response]:
    data = {
        "text": "needle1",
        "deep": {"list": ["needle2", {"bytes": b"needle3"}, ("needle4",)]},
        "number": 7,
    }
    of = call(
        Op.UPDATE,
        who=caller(),
        data=data,
        body=b'{"needle5": 1}',
        content_type="needle6",
        headers={"x-vault-token": TOKEN, "authorization": "needle7", "x-audited": "needle8"},
    )
    of.args = {"x": "needle9"}
    of.facts = {"x": "needle10"}
    answer = Response(
        data={**data, "keys": ["needle11"], "keys_base64": ["needle12"], "root_token": "needle13"},
        auth=Auth(client_token="needle14", accessor="needle15", metadata={"m": "needle16"}, private={"p": "needle17"}),
        wrap_info=WrapInfo(
            token="needle18",
            accessor="needle19",
            ttl=1,
            creation_time="t",
            creation_path="p",
            wrapped_accessor="needle20",
        ),
        lease=Lease(ttl=1, max_ttl=1, private={"p": "needle21"}),
        raw=b"needle22",
        headers={"x-answer": "needle23"},
    )
    return of, answer


async def test_sec_cve_2024_8365_no_secret_in_any_line(folder: Path) -> None:
    audit = _audit(folder)
    audit._rules = lambda of: Rules(headers={"x-audited": True})
    await audit.enable("d", "file", options={"file_path": "log"})
    of, answer = _planted()
    await audit.request(of, None)
    await audit.response(of, answer)
    await audit.response(of, NotFound(data={"x": "needle24", "y": b"needle25"}))
    await audit.response(of, RuntimeError("needle26"))
    text = (folder / "log").read_text()
    assert NEEDLE not in text
    assert ACCESSOR not in text
    assert TOKEN not in text
    for secret in ("needle1", "needle8", "needle11", "needle14", "needle15", "needle16", "needle18", "needle20", TOKEN):
        assert audit.hash("d", secret) in text, "control: it is there, as the HMAC that audit-hash gives"
    audit._rules = lambda of: Rules(request_keys=frozenset({"text"}))
    await audit.request(of, None)
    assert "needle1" in (folder / "log").read_text(), "control: what an operator exempts can be seen"


async def test_sec_cve_2024_8365_the_same_text_differs_between_devices(folder: Path) -> None:
    audit = _audit(folder)
    await audit.enable("a", "file", options={"file_path": "a"})
    await audit.enable("b", "file", options={"file_path": "b"})
    assert audit.hash("a", "x") != audit.hash("b", "x")
    assert audit.hash("a", "x") == audit.hash("a", "x")


# CVE-2025-4166, CVE-2025-52893, GHSA-8xxq: malformed input echoed


async def test_sec_cve_2025_4166_broken_input_is_recorded_and_not_echoed(folder: Path) -> None:
    audit = _audit(folder)
    await audit.enable("d", "file", options={"file_path": "log"})
    fault = BadRequest("failed to decode JSON input")
    of = call(Op.UNKNOWN, "secret/data/x", body=b'{"password": "needle', fault=fault)
    await audit.request(of, fault)
    await audit.response(of, fault)
    nan = call(Op.UPDATE, data={"n": float("nan"), "half": "needle\ud800", "key\ud800": {"x": "needle"}})
    await audit.request(nan, None)
    lines = (folder / "log").read_text().splitlines()
    assert NEEDLE not in "".join(lines)
    assert [json.loads(line)["type"] for line in lines] == ["request", "response", "request"]


# GHSA-q74w and the report on init: an answer with keys although the audit failed; an effect without a record


class _House:
    """The real pipeline in front of one engine that counts its effects."""

    def __init__(self, audit: Any) -> None:
        self.effects = 0
        self.pipeline = Pipeline(lambda *_: self, [], audit, self._spend)  # type: ignore[arg-type,return-value]

    async def _spend(self, of: Call) -> None: ...

    def known(self, op: Op, path: str) -> None:
        """Nothing is remembered."""

    def look_up(self, op: Op, path: str) -> tuple[Match, str]:
        return Match("sys/", Route(pattern="{path...}", ops={}, while_sealed=True), {}), path

    async def route(self, of: Call) -> Response:
        self.effects += 1
        return Response(data={"keys": ["needle-key"], "root_token": "needle-root"}, bare=True)

    async def ask(self, path: str) -> Response:
        return await self.pipeline.handle(Request(id="1", op=Op.UPDATE, path=path, data={"key": "needle-share"}))


PATHS = (
    "sys/init",
    "sys/unseal",
    "sys/generate-root/update",
    "sys/rekey/update",
    "auth/userpass/login/bob",
    "sys/health",
)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_sec_ghsa_q74w_without_its_records_nothing_happens_and_nothing_is_answered(
    path: str, sealed: bool
) -> None:
    sinks = Sinks()
    audit: Any
    if sealed:
        audit = SealedAudit([Target("file", "1")], open_sink=sinks, now=Clock())
        sinks("file", {"file_path": "1"})
    else:
        audit = _audit(sinks=sinks)
        await audit.enable("d", "file", options={"file_path": "1"})
    house = _House(audit)
    assert (await house.ask(path)).data == {"keys": ["needle-key"], "root_token": "needle-root"}  # control
    sinks.made["1"].broken = "request"
    with pytest.raises(AuditFailed) as caught:
        await house.ask(path)
    assert house.effects == 1, "no effect without a request record"
    assert NEEDLE not in str(caught.value)
    sinks.made["1"].broken = "response"
    with pytest.raises(AuditFailed) as caught:
        await house.ask(path)
    assert NEEDLE not in str(caught.value) + repr(caught.value.data)
    sinks.made["1"].broken = ""
    await house.ask(path)


# Paths that Vault leaves out of its log


@pytest.mark.parametrize("path", [*PATHS, "sys/seal-status", "sys/leader", "no/such/mount"])
@pytest.mark.parametrize("sealed", [False, True])
async def test_sec_unaudited_paths_there_are_none(path: str, sealed: bool, folder: Path) -> None:
    audit: Any
    if sealed:
        audit = SealedAudit(
            [Target("file", "log")],
            open_sink=lambda kind, options: open_sink(options, audit_dir=str(folder)),
            now=Clock(),
        )
    else:
        audit = _audit(folder)
        await audit.enable("d", "file", options={"file_path": "log"})
    await _House(audit).ask(path)
    text = (folder / "log").read_text()
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["request", "response"]
    assert all(json.loads(line)["request"]["path"] == path for line in text.splitlines())
    assert NEEDLE not in text


async def test_sec_unaudited_paths_refusals_are_recorded(folder: Path) -> None:
    audit = _audit(folder)
    await audit.enable("d", "file", options={"file_path": "log"})
    of = call()
    await audit.request(of, PermissionDenied())
    await audit.response(of, PermissionDenied())
    assert [json.loads(line)["error"] for line in (folder / "log").read_text().splitlines()] == [
        "permission denied"
    ] * 2


# GHSA-3237 and its like: secrets in what is shown about the configuration


async def test_sec_ghsa_3237_salts_stay_inside(folder: Path) -> None:
    store = Store()
    audit = _audit(folder, store=store)
    await audit.enable("d", "file", options={"file_path": "log"})
    salt = audit.list()["d/"].salt
    assert len(salt) == 44
    assert salt in store.entries["ns/root/audit/d"].value.decode()  # control: behind the barrier it is
    assert salt not in repr(audit.list()) + repr(audit.devices) + str(store.clear["core/audit-targets"].value)


async def test_sec_ghsa_3237_signing_keys_and_passwords_stay_inside(tmp_path: Path) -> None:
    """Over the whole vault: what sys/audit shows of a device, and what its log says of the call that made it."""
    vault = Vault({"memory": {}}, {"audit_dir": str(tmp_path)})
    made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    vault.write("sys/audit/log", {"type": "file", "options": {"file_path": "log"}})
    options = {"dsn": "postgresql://audit@127.0.0.1:1/audit", "password": "needle-password"}
    vault.write("sys/audit/db", {"type": "database", "options": options})
    shown = vault.read("sys/audit")
    assert shown is not None and shown.data is not None
    assert shown.data["db/"]["options"] == {"dsn": options["dsn"]}, "control: all the rest is shown"
    seed = vault._made.audit._devices().list()["log/"].seed
    proof = vault.read("sys/audit-proof/log")
    assert len(seed) == 44 and proof is not None
    vault.close()
    spool = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in ("needle-password", seed):
        assert secret not in json.dumps(shown.data) + json.dumps(proof.data) + spool.decode()
    assert b"sys/audit/db" in spool, "control"


# GHSA-q74w once more: every sink that takes nothing, over a whole vault


@pytest.mark.parametrize("kind", ["socket", "syslog"])
def test_sec_ghsa_q74w_a_listener_that_is_gone_stops_every_call_and_comes_back(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = f"127.0.0.1:{port}" if kind == "socket" else f"tcp://127.0.0.1:{port}"
        vault = Vault({"memory": {}}, {"audit_dir": str(tmp_path)})
        made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.mount("secret", "kv")
        vault.write("sys/audit/wire", {"type": kind, "options": {"address": address}})
        vault.write("secret/a", {"x": "needle"})  # control: it works while somebody listens
        server.accept()[0].close()
    with pytest.raises(AuditFailed) as caught:
        vault.read("secret/a")
    assert NEEDLE not in str(caught.value)
    with pytest.raises(AuditFailed):
        vault.write("secret/b", {"x": "y"})
    with socket.create_server(("127.0.0.1", port), reuse_port=False) as server:
        found = vault.read("secret/a")
        assert found is not None and found.data == {"x": "needle"}
        assert vault.read("secret/b") is None, "what was refused was not done"
        connection = server.accept()[0]
        connection.settimeout(5)
        assert b'"type":"gap","gap":{"missed":3}' in connection.recv(65536), "and the log says what is missing"
        connection.close()
    vault.close()


# Tampering: what was recorded cannot be made unrecorded (the verifier's own tests are in tests/unit/audit)


def test_sec_unaudited_paths_a_line_taken_out_is_missed(tmp_path: Path) -> None:
    vault = Vault({"memory": {}}, {"audit_dir": str(tmp_path)})
    made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    vault.write("sys/audit/log", {"type": "file", "options": {"file_path": "log"}})
    for path in ("sys/mounts", "sys/health", "sys/seal-status"):
        vault.read(path)
    proof = vault.read("sys/audit-proof/log")
    assert proof is not None and proof.data is not None
    key = base64.b64decode(proof.data["public_key"])
    vault.close()
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    assert Verifier(key).files([lines]).bad is None  # control
    for at in range(len(lines) - 1):
        assert Verifier(key).files([[*lines[:at], *lines[at + 1 :]]]).bad is not None
