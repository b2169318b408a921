import pytest

from engine_harness import Harness
from strongroom.engines.kv import KV1, KV2, factory
from strongroom.errors import BadRequest, IntegrityError, NotFound, UnsupportedOperation
from strongroom.sdk.request import Op
from strongroom.sdk.storage import Write


@pytest.fixture
def kv() -> Harness:
    return Harness(factory, options={"version": "1"}, default_lease_ttl=3600)


def test_the_factory_goes_by_the_option():
    assert isinstance(Harness(factory).engine, KV1)
    assert isinstance(Harness(factory, options={"version": ""}).engine, KV1)
    assert isinstance(Harness(factory, options={"version": "2"}).engine, KV2)
    with pytest.raises(BadRequest):
        Harness(factory, options={"version": "3"})


async def test_a_secret_is_kept_as_it_is(kv):
    data = {"path": "mine", "after": 7, "limit": "x", "version": [1.0, 2**70], "n": None, "ünïcode": {"a": {}}}
    response = await kv.write("app/db", data)
    assert response.data is None
    assert (await kv.read("app/db")).data == data


async def test_a_write_replaces_the_whole_secret(kv):
    await kv.write("a", {"x": 1, "y": 2})
    await kv.write("a", {"z": 3})
    assert (await kv.read("a")).data == {"z": 3}


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({"a": 1}, 3600),
        ({"ttl": "30m"}, 1800),
        ({"ttl": 5}, 5),
        ({"lease": "1h30m"}, 5400),
        ({"ttl": "10", "lease": "20"}, 10),
        ({"ttl": "soon"}, 3600),
        ({"ttl": -1}, 3600),
        ({"ttl": {"not": "one"}}, 3600),
        ({"ttl": None}, 3600),
    ],
)
async def test_ttl_is_a_hint_in_lease_duration(kv, data, seconds):
    await kv.write("a", data)
    response = await kv.read("a")
    assert (response.lease_duration, response.data, response.lease) == (seconds, data, None)


@pytest.mark.parametrize("body", [{}, None])
async def test_an_empty_secret_is_refused(kv, body):
    with pytest.raises(BadRequest, match="^missing data fields$"):
        await kv.write("a", body)
    assert await kv.keys() == []


async def test_the_mount_itself_is_no_secret(kv):
    with pytest.raises(NotFound):
        await kv.read("")
    for write in (kv.write("", {"a": 1}), kv.delete("")):
        with pytest.raises(BadRequest, match="^missing path$"):
            await write


async def test_a_deleted_secret_is_gone_and_may_be_deleted_again(kv):
    await kv.write("a", {"x": 1})
    await kv.delete("a")
    await kv.delete("a")
    with pytest.raises(NotFound) as caught:
        await kv.read("a")
    assert caught.value.messages == ()
    assert await kv.keys() == []


async def test_a_secret_may_have_the_name_of_a_folder(kv):
    for path in ("a", "a/b", "a/b/c", "d/e"):
        await kv.write(path, {"at": path})
    assert await kv.list() == ["a", "a/", "d/"]
    assert await kv.list("a") == ["b", "b/"]
    assert await kv.scan("a") == ["b", "b/c"]
    assert await kv.scan() == ["a", "a/b", "a/b/c", "d/e"]
    assert await kv.list("", {"after": "a", "limit": "1"}) == ["a/"]
    assert (await kv.read("a/b")).data == {"at": "a/b"}


async def test_nothing_below_a_folder(kv):
    with pytest.raises(NotFound):
        await kv.call(Op.LIST, "none")
    assert (await kv.call(Op.SCAN, "none")).data == {}
    with pytest.raises(BadRequest):
        await kv.list("", {"limit": "many"})


async def test_create_is_told_from_update(kv):
    assert await kv.op_of("a") is Op.CREATE
    await kv.write("a", {"x": 1})
    assert await kv.op_of("a") is Op.UPDATE
    assert await kv.op_of("a/b") is Op.CREATE


async def test_there_is_no_patch(kv):
    with pytest.raises(UnsupportedOperation):
        await kv.patch("a", {"x": 1})


async def test_a_damaged_secret_is_not_passed_on(kv):
    await kv.mount.storage.commit([Write("v1/a", b'{"x":')])
    with pytest.raises(IntegrityError):
        await kv.read("a")
