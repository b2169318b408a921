import pytest

from engine_harness import ALICE, BOB, Harness
from strongroom.engines.cubbyhole import Cubbyhole
from strongroom.errors import BadRequest, IntegrityError, NotFound, PermissionDenied
from strongroom.sdk import listing
from strongroom.sdk.request import Caller, Op
from strongroom.sdk.storage import Write


@pytest.fixture
def hole() -> Harness:
    return Harness(Cubbyhole, path="cubbyhole/", kind="cubbyhole")


async def test_a_drawer_is_its_holders_alone(hole):
    await hole.write("x", {"a": 1}, caller=ALICE)
    await hole.write("deep/x", {"b": [1.5, None]}, caller=ALICE)
    kept = await hole.read("x", caller=ALICE)
    assert kept.data == {"a": 1} and kept.warnings == ()
    assert (await hole.read("deep/x", caller=ALICE)).data == {"b": [1.5, None]}
    assert await hole.list(caller=ALICE) == ["deep/", "x"]
    assert await hole.list("deep", caller=ALICE) == ["x"]
    for path in ("x", "deep/x"):
        with pytest.raises(NotFound):
            await hole.read(path, caller=BOB)
        await hole.delete(path, caller=BOB)
    assert await hole.list(caller=BOB) == []
    assert await hole.keys() == ["alice/deep/x", "alice/x"]


async def test_delete_and_overwrite(hole):
    await hole.write("x", {"a": 1})
    assert await hole.op_of("x") is Op.UPDATE
    await hole.write("x", {"b": 2})
    assert (await hole.read("x")).data == {"b": 2}
    await hole.delete("x")
    await hole.delete("x")
    assert await hole.keys() == []
    assert await hole.op_of("x") is Op.CREATE


async def test_what_the_core_puts_there_for_a_wrapping_token_can_be_read(hole):
    await hole.mount.storage.commit([Write("alice/response", b'{"response":"{}"}')])
    assert (await hole.read("response")).data == {"response": "{}"}


@pytest.mark.parametrize("data", [{}, None, {"x": object()}, {"x": "\ud800"}, {"x": float("nan")}, {"x": b"y"}])
async def test_bad_bodies(hole, data):
    with pytest.raises(BadRequest):
        await hole.write("x", data)
    assert await hole.keys() == []


async def test_the_mount_itself_is_no_secret(hole):
    with pytest.raises(NotFound):
        await hole.read("")
    for write in (hole.write("", {"a": 1}), hole.delete("")):
        with pytest.raises(BadRequest):
            await write


NOBODIES = [
    (None, PermissionDenied),
    (Caller(accessor="", policies=()), PermissionDenied),
    (Caller(accessor="", policies=(), token_id="alice/x"), PermissionDenied),
    (Caller(accessor="", policies=(), token_id="b", token_type="batch"), BadRequest),
]


@pytest.mark.parametrize(("caller", "error"), NOBODIES, ids=["nobody", "no token", "bad id", "batch token"])
@pytest.mark.parametrize("op", [Op.READ, Op.UPDATE, Op.DELETE, Op.LIST])
async def test_who_has_no_drawer_reaches_none(hole, caller, error, op):
    await hole.write("x", {"a": 1})
    with pytest.raises(error):
        await hole.call(op, "x", {"a": 2}, caller=caller)
    assert (await hole.read("x")).data == {"a": 1}


async def test_a_long_list_comes_in_pages(hole, monkeypatch):
    monkeypatch.setattr(listing, "_AT_ONCE", 2)
    for count in range(1, 6):
        await hole.write(f"x{count}", {"a": 1})
        assert len(await hole.list()) == count


async def test_a_damaged_entry_is_not_passed_on(hole):
    await hole.mount.storage.commit([Write("alice/x", b"[1]")])
    with pytest.raises(IntegrityError):
        await hole.read("x")
