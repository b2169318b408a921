"""The trail of a sealed node."""

import json

import pytest

from contracts.audit_harness import TOKEN, Clock, Sinks, Store, call
from strongroom.core.audit import Audit
from strongroom.core.audit_devices import Target
from strongroom.core.audit_sealed import SealedAudit
from strongroom.errors import AuditFailed, BadRequest, Sealed
from strongroom.sdk.request import Op, Response


async def test_operation_path_and_address_and_nothing_else() -> None:
    sinks = Sinks()
    audit = SealedAudit([Target("file", "a"), Target("file", "a")], open_sink=sinks, now=Clock())
    of = call(Op.UPDATE, "sys/unseal", data={"key": "needleShare"}, headers={"x-n": "needleHeader"})
    await audit.request(of, None)
    await audit.response(of, Response(data={"keys": ["needleKey"]}, bare=True))
    await audit.request(of, Sealed())
    await audit.response(of, Sealed())
    raw = b"".join(sinks.made["a"].lines)
    assert b"needle" not in raw
    assert TOKEN.encode() not in raw
    records = [json.loads(line) for line in raw.splitlines()]
    asked = {
        "id": "req-1",
        "operation": "update",
        "path": "sys/unseal",
        "remote_address": "192.0.2.7",
        "remote_port": 4711,
    }
    time = "2027-01-15T08:00:00.500000000Z"
    assert records == [
        {"time": time, "type": "request", "request": asked},
        {"time": time, "type": "response", "request": asked},
        {"time": time, "type": "request", "request": asked, "error": "Vault is sealed"},
        {"time": time, "type": "response", "request": asked, "error": "Vault is sealed"},
    ]


async def test_the_same_files_as_the_open_vault() -> None:
    store, sinks, clock = Store(), Sinks(), Clock()
    opened = Audit(store, open_sink=sinks, now=clock)
    await opened.enable("one", "file", options={"path": "1"} | {"file_path": "1", "fsync": "true"})
    sealed = SealedAudit([], open_sink=sinks, now=clock)
    await sealed.reload(store.below(), [Target("file", "declared")])
    assert [device.entry.options["file_path"] for device in sealed.devices] == ["declared", "1"]
    of = call()
    await sealed.request(of, None)
    await sealed.response(of, Response())
    assert len(sinks.made["1"].lines) == len(sinks.made["declared"].lines) == 2
    assert sinks.made["1"].synced == 2
    kept = sealed.devices[0]
    await opened.disable("one")
    await sealed.reload(store.below(), [Target("file", "declared")])
    assert sealed.devices == (kept,)


async def test_a_call_that_opens_the_vault_is_recorded_by_both() -> None:
    store, sinks, clock = Store(), Sinks(), Clock()
    sealed = SealedAudit([Target("file", "1")], open_sink=sinks, now=clock)
    opened = Audit(store, open_sink=sinks, now=clock)
    await opened.enable("two", "file", options={"file_path": "2"})
    of = call(Op.UPDATE, "sys/unseal", data={"key": "needle"}, token="")
    await sealed.request(of, None)
    sealed.close()
    await opened.response(of, Response(data={"sealed": False}, bare=True))
    assert [record["type"] for record in sinks.made["1"].records()] == ["request", "response"]
    assert sinks.made["2"].records()[0]["request"]["data"]["key"].startswith("hmac-sha256:")
    assert sinks.made["1"].closed


async def test_refuses_as_the_open_vault_does() -> None:
    sinks = Sinks()
    sealed = SealedAudit([Target("file", "1")], open_sink=sinks, now=Clock())
    sinks.refused.add("1")
    with pytest.raises(AuditFailed):
        await sealed.request(call(), None)
    with pytest.raises(AuditFailed):
        await SealedAudit([], open_sink=sinks, now=Clock(), required=True).request(call(), BadRequest("x"))
    await SealedAudit([], open_sink=sinks, now=Clock()).request(call(), None)
