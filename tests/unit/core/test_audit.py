"""The trail: no request record, no effect; no response record, no answer; devices come and go."""

import json
from typing import Any

import pytest

from contracts.audit_harness import TOKEN, Clock, Sinks, Store, call, caller
from strongroom.core.audit import Audit
from strongroom.core.audit_device import RETRY
from strongroom.core.audit_devices import new_entry
from strongroom.core.audit_record import Rules
from strongroom.errors import AuditFailed, BadRequest, NotFound
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Entry


class Room:
    """An audit trail and everything around it."""

    def __init__(self) -> None:
        self.store, self.sinks, self.clock = Store(), Sinks(), Clock()

    def audit(self, **options: Any) -> Audit:
        return Audit(self.store, open_sink=self.sinks, now=self.clock, **options)


@pytest.fixture
def room() -> Room:
    return Room()


async def _walk(audit: Audit, of: Call, outcome: Response | BaseException = Response(data={"a": "b"})) -> None:
    await audit.request(of, None)
    await audit.response(of, outcome)


async def test_both_records_on_every_device(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await audit.enable("two", "file", options={"file_path": "2"})
    of = call(who=caller())
    await _walk(audit, of)
    assert of.notes == {}
    one, two = room.sinks.made["1"].records(), room.sinks.made["2"].records()
    assert [record["type"] for record in one] == ["request", "response"]
    assert one[0]["request"] == one[1]["request"]
    assert one[0]["request"]["client_token"] != two[0]["request"]["client_token"], "a salt for each device"
    assert audit.hash("one", TOKEN) == one[0]["request"]["client_token"]
    assert audit.hash("two/", TOKEN) == two[1]["auth"]["client_token"]


async def test_the_token_may_be_gone_at_the_response(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    of = call(who=caller())
    await audit.request(of, None)
    of.request = call(token="").request
    await audit.response(of, Response())
    first, second = room.sinks.made["1"].records()
    assert first["request"]["client_token"] == second["request"]["client_token"]


async def test_no_device_no_record(room: Room) -> None:
    audit = room.audit()
    await _walk(audit, call())


async def test_required_refuses_unrecorded_calls(room: Room) -> None:
    audit = room.audit(required=True)
    await audit.load()
    of = call()
    with pytest.raises(AuditFailed, match="audit_required") as caught:
        await audit.request(of, None)
    await audit.response(of, caught.value)
    configured = room.audit(required=True, configured=[new_entry("c", "file", options={"file_path": "c"})])
    await configured.load()
    await _walk(configured, call())
    await configured.enable("d", "file", options={"file_path": "d"})
    await configured.disable("d")
    with pytest.raises(BadRequest):
        await configured.disable("c")


async def test_one_device_of_two_is_enough(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await audit.enable("two", "file", options={"file_path": "2"})
    room.sinks.made["1"].broken = "all"
    await _walk(audit, call())
    assert {device.entry.path: device.failures for device in audit.devices} == {"one/": 2, "two/": 0}
    assert len(room.sinks.made["2"].lines) == 2


async def test_no_request_record_no_effect(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    room.sinks.made["1"].broken = "request"
    of = call()
    with pytest.raises(AuditFailed) as caught:
        await audit.request(of, None)
    await audit.response(of, caught.value)  # the pipeline's log phase runs all the same
    assert room.sinks.made["1"].lines == []
    assert audit.devices[0].owed == 0


async def test_no_response_record_no_answer(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    room.sinks.made["1"].broken = "response"
    of = call()
    await audit.request(of, None)
    with pytest.raises(AuditFailed):
        await audit.response(of, Response(data={"secret": "x"}))
    assert audit.devices[0].owed == 0


async def test_a_sink_that_raises_anything_else_has_not_taken_it(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    room.sinks.made["1"].closed = 1  # raises ValueError
    with pytest.raises(AuditFailed):
        await audit.request(call(), None)


async def test_refusals_and_faults_are_recorded(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    fault = BadRequest("failed to decode JSON input")
    of = call(Op.UNKNOWN, "x", token="", fault=fault)
    await audit.request(of, fault)
    await audit.response(of, fault)
    records = room.sinks.made["1"].records()
    assert [record["error"] for record in records] == ["failed to decode JSON input"] * 2
    assert [record["request"]["operation"] for record in records] == ["unknown"] * 2


async def test_a_response_without_a_request_record_is_recorded_too(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await audit.response(call(), NotFound())
    assert [record["type"] for record in room.sinks.made["1"].records()] == ["response"]


async def test_enabling_is_recorded_on_the_new_device_and_disabling_on_the_old(room: Room) -> None:
    audit = room.audit()
    of = call(Op.UPDATE, "sys/audit/one")
    await audit.request(of, None)
    await audit.enable("one", "file", options={"file_path": "1"})
    await audit.response(of, Response())
    sink = room.sinks.made["1"]
    assert [record["type"] for record in sink.records()] == ["response"]
    of = call(Op.DELETE, "sys/audit/one")
    await audit.request(of, None)
    await audit.disable("one")
    assert not sink.closed
    await audit.response(of, Response())
    assert [record["type"] for record in sink.records()] == ["response", "request", "response"]
    assert sink.closed
    await _walk(audit, call())
    assert len(sink.records()) == 3


async def test_bad_devices(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    room.sinks.refused.add("refused")
    for path, kind, options in [
        ("one", "file", {"file_path": "2"}),
        ("one/sub", "file", {"file_path": "2"}),
        ("two", "syslog", {"file_path": "2"}),
        ("two", "", {"file_path": "2"}),
        ("two", "file", {"file_path": "refused"}),
        ("two", "file", {"file_path": "2", "log_raw": "true"}),
        ("two", "file", {"file_path": "2", "hmac_accessor": "perhaps"}),
        ("../two", "file", {"file_path": "2"}),
    ]:
        with pytest.raises(BadRequest):
            await audit.enable(path, kind, options=options)
    assert list(audit.list()) == ["one/"]
    assert room.sinks.opened == ["1"], "what is refused is refused before a file is made"


async def test_a_failed_enable_closes_its_sink(room: Room) -> None:
    audit = room.audit()
    room.store.conflicts = 1000
    with pytest.raises(Exception, match="too many changes"):
        await audit.enable("one", "file", options={"file_path": "1"})
    assert room.sinks.made["1"].closed
    assert audit.devices == ()


async def test_hash_of_an_unknown_device(room: Room) -> None:
    with pytest.raises(BadRequest, match='unknown audit backend "nope/"'):
        room.audit().hash("nope", "x")


async def test_disabling_what_is_not_there_passes(room: Room) -> None:
    await room.audit().disable("nope")


async def test_other_processes_follow(room: Room) -> None:
    here, there = room.audit(), room.audit()
    await here.enable("one", "file", description="d", options={"file_path": "1"})
    await there.reload()
    assert there.list() == here.list()
    assert there.hash("one", "x") == here.hash("one", "x")
    kept = there.devices[0]
    await here.enable("two", "file", options={"file_path": "2"})
    await there.reload()
    assert there.devices[0] is kept, "an unchanged device is not opened again"
    await here.disable("one")
    await there.reload()
    assert list(there.list()) == ["two/"]
    assert kept.sink is None


async def test_declared_devices(room: Room) -> None:
    def entry(**options: str) -> Any:
        return new_entry("c", "file", options={"file_path": "c", **options})

    audit = room.audit(configured=[entry()])
    await audit.load()
    salted = audit.hash("c", "x")
    with pytest.raises(BadRequest, match="configuration"):
        await audit.disable("c")
    again = room.audit(configured=[entry(fsync="true")])  # a restart, with another salt and another option in the entry
    await again.load()
    assert again.hash("c", "x") == salted, "the salt is the store's"
    assert again.list()["c/"].options["fsync"] == "true"
    without = room.audit()
    await without.load()
    assert without.list() == {}, "no longer declared"
    with pytest.raises(BadRequest):
        room.audit(configured=[entry(log_raw="true")])


async def test_a_target_that_cannot_be_opened_refuses_until_it_can(room: Room) -> None:
    first = room.audit()
    await first.enable("one", "file", options={"file_path": "1"})
    room.sinks.refused.add("1")
    audit = room.audit()
    await audit.load()
    for _ in range(3):
        with pytest.raises(AuditFailed):
            await audit.request(call(), None)
    room.sinks.refused.clear()
    with pytest.raises(AuditFailed):
        await audit.request(call(), None)  # not asked at each request
    room.clock.time += RETRY
    await _walk(audit, call())


async def test_reopen(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await audit.enable("two", "file", options={"file_path": "2"})
    room.sinks.made["1"].broken = "reopen"
    with pytest.raises(AuditFailed, match="one/"):
        audit.reopen()
    assert room.sinks.made["2"].reopened == 1
    await _walk(audit, call())


async def test_fsync_is_waited_for_twice_and_its_failure_is_one(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1", "fsync": "true"})
    await _walk(audit, call())
    sink = room.sinks.made["1"]
    assert sink.synced == 2
    of = call()
    await audit.request(of, None)
    await audit.response(of, GeneratorExit())  # torn down: waiting again is not possible
    assert sink.synced == 3
    sink.sync_fails = True
    with pytest.raises(AuditFailed):
        await audit.request(call(), None)
    assert audit.devices[0].failures == 1


async def test_rules_are_asked_per_call(room: Room) -> None:
    audit = room.audit(rules=lambda of: Rules(request_keys=frozenset({"role"}), headers={"x-a": False}))
    await audit.enable("one", "file", options={"file_path": "1"})
    await _walk(audit, call(data={"role": "r"}, headers={"x-a": "1"}))
    record = room.sinks.made["1"].records()[0]
    assert record["request"]["data"] == {"role": "r"}
    assert record["request"]["headers"] == {"x-a": ["1"]}


async def test_close(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    of = call()
    await audit.request(of, None)
    audit.close()
    await audit.response(of, Response())
    assert len(room.sinks.made["1"].records()) == 2
    assert room.sinks.made["1"].closed == 1


async def test_a_call_that_only_looks_is_recorded_at_once_before_its_answer(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    sink = room.sinks.made["1"]
    of = call(who=caller())
    of.only_looks = True
    await audit.request(of, None)
    assert sink.lines == [], "nothing has happened yet"
    room.clock.time += 1
    await audit.response(of, Response(data={"a": "b"}))
    first, second = sink.records()
    assert (first["type"], second["type"]) == ("request", "response")
    assert first["time"] < second["time"], "each bears its own time"
    assert of.notes == {}


async def test_a_call_that_only_looks_is_answered_by_no_device_that_takes_nothing(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    sink = room.sinks.made["1"]
    sink.broken = "all"
    of = call(who=caller())
    of.only_looks = True
    await audit.request(of, None)
    with pytest.raises(AuditFailed):
        await audit.response(of, Response(data={"a": "b"}))
    sink.broken = ""
    of = call(who=caller())
    of.only_looks = True
    await audit.request(of, BadRequest("no"))
    await audit.response(of, BadRequest("no"))
    assert [record.get("error") for record in sink.records()] == ["no", "no"]


async def test_a_sink_that_can_take_both_at_once_is_asked_once(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    taken: list[bytes] = []
    room.sinks.made["1"].both = taken.append  # type: ignore[attr-defined]
    of = call(who=caller())
    of.only_looks = True
    await _walk(audit, of)
    assert len(taken) == 1
    assert taken[0].count(b"\n") == 2
    assert room.sinks.made["1"].lines == []


async def test_the_store_never_states_lines_that_the_disk_may_lack(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1", "fsync": "true"})
    await _walk(audit, call(who=caller()))
    sink = room.sinks.made["1"]
    sink.sync_fails = True
    await audit.checkpoint()
    assert "ns/root/audit-heads/one" not in room.store.entries
    sink.sync_fails = False
    await audit.checkpoint()  # control
    assert "ns/root/audit-heads/one" in room.store.entries
    assert [line["type"] for line in sink.all()] == ["request", "response", "checkpoint"]


async def test_a_store_that_is_away_leaves_the_checkpoint_in_the_log(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await _walk(audit, call(who=caller()))
    room.store.conflicts = 100
    await audit.checkpoint()
    assert [line["type"] for line in room.sinks.made["1"].all()] == ["request", "response", "checkpoint"]
    assert (await audit.proof("one"))[1] == ""


async def test_a_device_that_goes_takes_its_heads_along(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    await _walk(audit, call(who=caller()))
    await audit.checkpoint()
    assert "ns/root/audit-heads/one" in room.store.entries
    await audit.disable("one")
    assert "ns/root/audit-heads/one" not in room.store.entries
    await audit.enable("two", "file", options={"file_path": "2", "chain": "false"})
    with pytest.raises(BadRequest, match="not chained"):
        await audit.proof("two")


async def test_a_device_of_a_time_without_keys_gets_one(room: Room) -> None:
    audit = room.audit()
    await audit.enable("one", "file", options={"file_path": "1"})
    stored = room.store.entries["ns/root/audit/one"]
    old = json.loads(stored.value)
    del old["seed"]
    room.store.entries["ns/root/audit/one"] = Entry(json.dumps(old).encode(), stored.revision)
    again = room.audit()
    await again.load()
    assert len(again.list()["one/"].seed) == 44
    assert again.list()["one/"].salt == audit.list()["one/"].salt
    await _walk(again, call(who=caller()))
    assert "chain" in room.sinks.made["1"].all()[-1]


async def gathered(room: Room, *paths: str) -> Audit:
    """Devices whose sinks take several records at once, behind a door that holds answers."""
    audit = room.audit()
    audit.gathering = True
    for path in paths:
        await audit.enable(path, "file", options={"file_path": path, "chain": "false"})
        gather(room.sinks.made[path])
    return audit


def gather(sink: Any) -> None:
    """From now on it takes several records at once; ``hands`` has how many lines came, and how many were owed."""
    sink.gathers, sink.both, sink.hands = True, sink.response, []

    def several(lines: bytes, owed: int) -> None:
        sink.response(lines)
        sink.hands.append((lines.count(b"\n"), owed))

    sink.several = several


async def look(audit: Audit) -> Call:
    of = call(who=caller())
    of.only_looks = True
    await _walk(audit, of)
    return of


async def test_records_of_reads_are_kept_until_the_door_asks(room: Room) -> None:
    audit = await gathered(room, "1")
    sink = room.sinks.made["1"]
    for _ in range(3):
        await look(audit)
    assert audit.kept and sink.lines == []
    assert audit.release() and not audit.kept
    assert [record["type"] for record in sink.records()] == ["request", "response"] * 3
    assert audit.release(), "nothing is kept any more"


async def test_records_keep_their_order(room: Room) -> None:
    audit = await gathered(room, "1")
    sink = room.sinks.made["1"]
    await look(audit)
    write = call(who=caller())
    await audit.request(write, None)
    assert len(sink.records()) == 3, "what was kept goes before what cannot wait"
    await look(audit)
    await audit.response(write, Response())
    assert audit.release()
    ids = [record["type"] for record in sink.records()]
    assert ids == ["request", "response", "request", "request", "response", "response"]


async def test_the_responses_of_a_turn_are_handed_over_together(room: Room) -> None:
    audit = await gathered(room, "1")
    sink: Any = room.sinks.made["1"]
    writes = [call(who=caller()) for _ in range(3)]
    for write in writes:
        await audit.request(write, None)
    assert len(sink.records()) == 3, "no effect before its record"
    for write in writes:
        await audit.response(write, Response())
    await look(audit)
    assert audit.kept and len(sink.records()) == 3
    assert audit.release()
    assert sink.hands == [(5, 3)], "one call, with three that were owed and a read"
    assert [record["type"] for record in sink.records()] == ["request"] * 3 + ["response"] * 3 + ["request", "response"]
    assert audit.devices[0].owed == 0


async def test_a_response_that_more_than_its_answer_waits_for_is_not_kept(room: Room) -> None:
    audit = await gathered(room, "1")
    sealing = call(who=caller())
    await audit.request(sealing, None)
    await audit.response(sealing, Response(), at_once=True)
    assert not audit.kept
    assert len(room.sinks.made["1"].records()) == 2


async def test_records_that_are_not_taken_together_are_handed_over_one_by_one(room: Room) -> None:
    """As on a full disk, where room is held for responses and none for reads: what has room is recorded."""
    audit = await gathered(room, "1")
    sink: Any = room.sinks.made["1"]
    write = call(who=caller())
    await audit.request(write, None)
    await audit.response(write, Response())
    await look(audit)

    def no_room(lines: bytes, owed: int = 0) -> None:
        raise AuditFailed("full")

    sink.several = sink.both = no_room
    assert not audit.release(), "a read of this turn is not on record"
    assert [record["type"] for record in sink.records()] == ["request", "response"]
    assert audit.devices[0].failures == 2
    gather(sink)
    await look(audit)
    assert audit.release()
    gap = [record for record in sink.all() if record["type"] == "gap"]
    assert [record["gap"]["missed"] for record in gap] == [2]


async def test_an_answer_that_takes_another_way_than_the_door(room: Room) -> None:
    audit = await gathered(room, "1")
    sink = room.sinks.made["1"]
    assert audit.hand_over(), "nothing to hand over"
    await look(audit)
    assert audit.hand_over() and len(sink.records()) == 2
    assert audit.release(), "it was taken"
    await look(audit)
    sink.broken = "all"
    assert not audit.hand_over()
    sink.broken = ""
    assert not audit.release(), "an answer that waits at the door shares the fate of its turn"


async def test_an_answer_that_takes_another_way_leaves_if_one_device_has_its_record(room: Room) -> None:
    audit = await gathered(room, "1")
    await audit.enable("2", "file", options={"file_path": "2", "chain": "false"})
    assert not hasattr(room.sinks.made["2"], "gathers"), "it takes each record at once"
    room.sinks.made["1"].broken = "all"
    await look(audit)
    assert audit.hand_over()
    assert audit.release()


async def test_kept_records_that_nobody_takes_withhold_the_answers(room: Room) -> None:
    audit = await gathered(room, "1")
    sink = room.sinks.made["1"]
    await look(audit)
    await look(audit)
    sink.broken = "all"
    assert not audit.release()
    assert audit.devices[0].failures == 4
    sink.broken = ""
    await look(audit)
    assert audit.release(), "each turn counts for itself"
    gap = [record for record in sink.all() if record["type"] == "gap"]
    assert gap[0]["gap"]["missed"] == 4


async def test_one_device_that_takes_the_kept_records_is_enough(room: Room) -> None:
    audit = await gathered(room, "1", "2")
    room.sinks.made["1"].broken = "all"
    await look(audit)
    assert audit.release()
    room.sinks.made["2"].broken = "all"
    await look(audit)
    assert not audit.release()


async def test_a_loss_before_the_door_asks_is_not_forgotten(room: Room) -> None:
    """A record that cannot wait makes the kept ones go first; that they were lost is told at ``release``."""
    audit = await gathered(room, "1")
    await look(audit)
    room.sinks.made["1"].broken = "all"
    with pytest.raises(AuditFailed):
        await audit.request(call(who=caller()), None)
    room.sinks.made["1"].broken = ""
    assert not audit.release()


async def test_a_device_that_is_disabled_hands_over_what_it_kept(room: Room) -> None:
    audit = await gathered(room, "1")
    await look(audit)
    await audit.disable("1")
    assert len(room.sinks.made["1"].records()) == 2
    assert audit.release()


async def test_a_device_that_waits_for_the_disk_keeps_nothing(room: Room) -> None:
    audit = await gathered(room)
    await audit.enable("1", "file", options={"file_path": "1", "fsync": "true", "chain": "false"})
    gather(room.sinks.made["1"])
    await look(audit)
    assert not audit.kept
    assert len(room.sinks.made["1"].records()) == 2
