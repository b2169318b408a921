"""The verifier: an untouched log passes, and no single change of what a checkpoint covers does."""

import asyncio
import base64
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.audit_harness import Clock, Sinks, Store, call, caller
from strongroom.audit.verify import Report, Verifier
from strongroom.core.audit import Audit
from strongroom.core.audit_devices import new_entry
from strongroom.crypto.chain import Signer, link
from strongroom.sdk.request import Response

SEED = b"k" * 32
PUBLIC = Signer(SEED).public


class World:
    """Several workers on one device: each has a trail of its own, and all share store and file."""

    def __init__(self, workers: int = 2) -> None:
        self.store, self.sinks, self.clock = Store(), Sinks(), Clock()
        self.old: list[bytes] = []
        self._workers = workers

    async def start(self) -> list[Audit]:
        first = await self.worker()
        return [first, *[await self.worker() for _ in range(self._workers - 1)]]

    async def worker(self) -> Audit:
        entry = new_entry("f", "file", options={"file_path": "f"}, rng=lambda size: SEED[:size])
        audit = Audit(self.store, open_sink=self.sinks, now=self.clock, configured=[entry])
        await audit.load()
        return audit

    @property
    def lines(self) -> list[bytes]:
        return self.sinks.made["f"].lines

    def rotate(self) -> list[bytes]:
        """The file is moved away; who reopens finds another one."""
        sink = self.sinks.made["f"]
        old, sink.lines = sink.lines, []
        return old


async def ask(audit: Audit, path: str = "secret/data/a") -> None:
    of = call(path=path, who=caller())
    await audit.request(of, None)
    await audit.response(of, Response(data={"a": "b"}))


def verify(*files: Sequence[bytes], until: str = "", public: bytes = PUBLIC) -> Report:
    return Verifier(public).files(files, until=until)


async def two_workers() -> tuple[World, list[bytes]]:
    world = World()
    a, b = await world.start()
    for turn in range(3):
        await ask(a, f"secret/data/a{turn}")
        await ask(b, f"secret/data/b{turn}")
        await a.checkpoint()
        await ask(a)
        await b.checkpoint()
    a.close()
    b.close()
    await a.checkpoint()
    return world, world.lines


async def test_an_untouched_log_is_proved() -> None:
    world, lines = await two_workers()
    report = verify(lines)
    assert (report.bad, report.strange, report.why) == (None, 0, "")
    assert report.from_start and report.lines == len(lines) and report.proved + report.tail == report.lines
    assert report.tail <= 4 and report.checkpoints >= 6
    assert verify(lines, public=Signer(b"x" * 32).public).bad is not None


async def test_nothing_is_signed_when_nothing_was_written() -> None:
    world = World(1)
    (a,) = await world.start()
    await a.checkpoint()
    assert world.lines == [] or world.sinks.made["f"].lines == []
    await ask(a)
    await a.checkpoint()
    count = len(world.lines)
    for _ in range(5):
        await a.checkpoint()
    assert len(world.lines) == count == 3


LOG: list[bytes] = []


async def _log() -> list[bytes]:
    if not LOG:
        LOG.extend((await two_workers())[1])
    return LOG


async def test_every_single_change_is_found() -> None:
    """Each line changed in a byte, taken out, doubled, moved within its writer's chain, and each end cut off."""
    lines = await _log()
    covered = len(lines) - 4  # what every chain's last checkpoint covers
    rng = random.Random(7)
    for at in range(covered):
        for _ in range(4):
            where = rng.randrange(len(lines[at]) - 1)
            other = bytes([lines[at][where] ^ (1 << rng.randrange(7))])
            if other != b"\n":
                assert _found(
                    lines, [*lines[:at], lines[at][:where] + other + lines[at][where + 1 :], *lines[at + 1 :]]
                )
        assert _found(lines, [*lines[:at], *lines[at + 1 :]]), "taken out"
        assert _found(lines, [*lines[: at + 1], lines[at], *lines[at + 1 :]]), "doubled"
        mine = [i for i in range(at + 1, covered) if _writer(lines[i]) == _writer(lines[at])]
        for other_at in mine[:3]:
            swapped = list(lines)
            swapped[at], swapped[other_at] = swapped[other_at], swapped[at]
            assert _found(lines, swapped), "exchanged"
        assert _found(lines, [*lines[:at], b'{"time":"x","type":"request"}\n', *lines[at:]]), "put in"


def _writer(line: bytes) -> bytes:
    return line[line.rindex(b'"w":"') + 5 :][:16]


def _found(before: list[bytes], after: list[bytes]) -> bool:
    report = verify(after)
    return report.bad is not None or report.strange > verify(before).strange


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_single_byte_of_a_covered_line(data: st.DataObject) -> None:
    if not LOG:
        asyncio.run(_log())
    at = data.draw(st.integers(0, len(LOG) - 5))
    where = data.draw(st.integers(0, len(LOG[at]) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b not in (LOG[at][where], 10)))
    changed = LOG[at][:where] + bytes([byte]) + LOG[at][where + 1 :]
    assert _found(LOG, [*LOG[:at], changed, *LOG[at + 1 :]])


async def test_a_chain_that_was_made_anew_behind_a_change_is_found_by_its_checkpoint() -> None:
    """The attacker knows how chains are made, but has no key."""
    lines = await _log()
    name = _writer(lines[0])
    out, head, n = [], None, 0
    for index, line in enumerate(lines):
        if _writer(line) != name:
            out.append(line)
            continue
        body = line[: line.rindex(b',"chain":')]
        if index == 0:
            body = body.replace(b"192.0.2.7", b"192.0.2.8")
        from strongroom.crypto.chain import start

        head, n = link(head or start(name), body), n + 1
        out.append(b'%b,"chain":{"w":"%b","n":%d,"h":"%b"}}\n' % (body, name, n, head.hex().encode()))
    report = verify(out)
    assert report.bad is not None and report.bad.line == 1, "the first line that may be it"


async def test_a_whole_writer_cannot_vanish() -> None:
    lines = await _log()
    for name in {_writer(line) for line in lines}:
        assert verify([line for line in lines if _writer(line) != name]).bad is not None


async def test_an_old_checkpoint_cannot_be_played_again() -> None:
    lines = await _log()
    old = next(line for line in lines if b'"type":"checkpoint"' in line)
    assert verify([*lines, old]).bad is not None
    name, body = b"0" * 16, old[: old.rindex(b',"chain":')]
    from strongroom.crypto.chain import start

    alone = b'%b,"chain":{"w":"%b","n":1,"h":"%b"}}\n' % (body, name, link(start(name), body).hex().encode())
    assert verify([alone]).bad is not None, "alone it covers lines that are nowhere"


async def test_a_log_cut_at_an_earlier_checkpoint_is_found_with_the_servers_last_one() -> None:
    world = World(1)
    (a,) = await world.start()
    await ask(a)
    await a.checkpoint()
    cut = list(world.lines)
    await ask(a)
    await a.checkpoint()
    public, until = await a.proof("f")
    assert public == PUBLIC
    assert verify(cut).bad is None, "by the file alone it cannot be known"
    assert verify(cut, until=until).bad is not None
    assert verify(world.lines, until=until).bad is None
    forged = until.replace('"opened":false', '"opened":true')
    assert verify(world.lines, until=forged).bad is not None


async def _rotated() -> tuple[list[bytes], list[bytes]]:
    world = World()
    a, b = await world.start()
    for sink in (world.sinks.made["f"],):
        sink.moved = True  # type: ignore[attr-defined]
    await ask(a)
    await ask(b)
    await a.checkpoint()
    await b.checkpoint()
    await ask(b)
    # What both wrote into the old file is kept by hand: the sinks of the harness share one list.
    await ask(a)
    a.devices[0].state_now(0.0)
    b.devices[0].state_now(0.0)
    old = world.rotate()
    a.reopen()
    b.reopen()
    await ask(a)
    await ask(b)
    await a.checkpoint()
    await b.checkpoint()
    await a.checkpoint()
    return old, world.lines


async def test_chains_go_on_over_a_rotation() -> None:
    old, new = await _rotated()
    both = verify(old, new)
    assert both.bad is None, both.why
    assert both.from_start
    alone = verify(new)
    assert alone.bad is None, alone.why
    assert not alone.from_start, "it says that something was before"
    first = verify(old)
    assert first.bad is None, first.why


async def test_a_writer_that_wrote_to_the_old_file_after_another_had_left_it() -> None:
    world = World()
    a, b = await world.start()
    await ask(a)
    await ask(b)
    await b.checkpoint()
    await a.checkpoint()
    old = world.rotate()
    world.sinks.made["f"].moved = True
    a.reopen()
    new, world.sinks.made["f"].lines = world.lines, []
    for _ in range(3):
        await ask(b)
    b.devices[0].state_now(0.0)
    old += world.rotate()
    world.sinks.made["f"].lines = new
    b.reopen()
    await ask(a)
    await a.checkpoint()
    await b.checkpoint()
    assert verify(old, world.lines).bad is None
    alone = verify(world.lines)
    assert alone.bad is None, alone.why


@pytest.mark.parametrize("told", [True, False])
async def test_who_was_killed_before_a_rotation_is_not_missed_in_the_new_file(told: bool) -> None:
    """The checkpoint that begins it names all writers that the store knows (without that: the control)."""
    world = World()
    a, b = await world.start()
    await ask(a)
    await a.checkpoint()
    await ask(b)
    await b.checkpoint()  # and b is killed, without a having written since
    old = world.rotate()
    world.sinks.made["f"].moved = True
    if told:
        await a.recall()
    a.reopen()
    await ask(a)
    await a.checkpoint()
    assert verify(old, world.lines).bad is None
    assert (verify(world.lines).bad is None) is told


async def test_a_rotation_hides_no_change() -> None:
    old, new = await _rotated()
    for at in range(len(old)):
        assert verify([*old[:at], *old[at + 1 :]], new).bad is not None
    for at in range(len(new) - 2):
        assert verify(old, [*new[:at], *new[at + 1 :]]).bad is not None
        assert verify([*new[:at], *new[at + 1 :]]).bad is not None, at
    assert verify(new, old).bad is not None
    for name in {_writer(line) for line in new}:
        assert verify([line for line in new if _writer(line) != name]).bad is not None


async def test_who_was_killed_simply_ends() -> None:
    world = World()
    a, b = await world.start()
    await ask(a)
    await ask(b)
    await b.checkpoint()
    await ask(b)  # and b is killed: its last lines are covered by nothing
    await ask(a)
    await a.checkpoint()
    c = await world.worker()
    await ask(c)
    await c.checkpoint()
    report = verify(world.lines)
    assert report.bad is None and report.strange == 0
    named = [line for line in world.lines if _writer(line) == _writer(world.lines[2])]
    assert verify([line for line in world.lines if line is not named[0]]).bad is not None


async def test_after_a_failure_another_writer_goes_on_behind_a_marker() -> None:
    world = World(1)
    (a,) = await world.start()
    await ask(a)
    world.sinks.made["f"].broken = "all"
    for _ in range(2):
        with pytest.raises(Exception, match="no audit device"):
            await ask(a)
    world.sinks.made["f"].broken = ""
    await ask(a)
    await a.checkpoint()
    records = world.sinks.made["f"].all()
    assert [r["type"] for r in records] == ["request", "response", "gap", "request", "response", "checkpoint"]
    assert records[2]["gap"] == {"missed": 2}
    report = verify(world.lines)
    assert report.bad is None and report.proved == 5, report.why


def test_the_key_is_the_devices() -> None:
    assert base64.b64encode(PUBLIC) == base64.b64encode(Signer(SEED).public)
    assert "k" * 8 not in repr(Signer(SEED))
