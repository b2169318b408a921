import pytest

from engine_harness import Harness
from strongroom.engines.kv import factory
from strongroom.errors import BadRequest, IntegrityError, NotFound, UnsupportedOperation
from strongroom.sdk.request import Op
from strongroom.sdk.storage import Write


@pytest.fixture
async def kv() -> Harness:
    return await Harness(factory, options={"version": "2"}).start()


async def put(kv: Harness, *values: int, path: str = "data/a") -> None:
    for value in values:
        await kv.write(path, {"data": {"n": value}})


async def test_data_comes_back_exactly(kv):
    data = {
        "path": "p",
        "version": "x",
        "big": 2**53 + 1,
        "bigger": 2**64,
        "f": 1.0,
        "n": None,
        "l": [{"ü": []}],
        "": 0,
    }
    await kv.write("data/a", {"data": data})
    read = (await kv.read("data/a")).data["data"]
    assert read == data
    assert isinstance(read["f"], float)


async def test_an_empty_secret_is_a_secret(kv):
    await kv.write("data/a", {"data": {}})
    assert (await kv.read("data/a")).data["data"] == {}


@pytest.mark.parametrize("body", [{}, None, {"foo": "bar"}, {"data": None}, {"options": {"cas": 0}}])
async def test_no_data(kv, body):
    for write in (kv.write("data/a", body), kv.patch("data/a", body)):
        with pytest.raises(BadRequest, match="^no data provided$"):
            await write


@pytest.mark.parametrize("data", ["text", [1], 3, True])
async def test_data_that_is_no_object(kv, data):
    with pytest.raises(BadRequest):
        await kv.write("data/a", {"data": data})
    assert await kv.scan("metadata") == []


GOOD, WRONG = [(0, 0), (1, 1), ("1", 1), (None, 0)], [(0, 1), (2, 1), (1, 0), (-1, 0), ("0", 1), (None, 1), (2**70, 0)]


@pytest.mark.parametrize(("cas", "versions"), GOOD)
async def test_check_and_set_that_holds(kv, cas, versions):
    await put(kv, *range(versions))
    response = await kv.write("data/a", {"data": {}, "options": {"cas": cas}})
    assert response.data["version"] == versions + 1


@pytest.mark.parametrize(("cas", "versions"), [case for case in WRONG if case[0] != 2**70])
async def test_check_and_set_that_does_not_hold(kv, cas, versions):
    await put(kv, *range(versions))
    with pytest.raises(BadRequest, match="^check-and-set parameter did not match the current version$"):
        await kv.write("data/a", {"data": {}, "options": {"cas": cas}})


@pytest.mark.parametrize("cas", ["", "one", 1.0, True, [], {}, "1 ", "١", 2**70])
async def test_check_and_set_that_is_no_number(kv, cas):
    with pytest.raises(BadRequest, match="^error parsing check-and-set parameter$"):
        await kv.write("data/a", {"data": {}, "options": {"cas": cas}})


@pytest.mark.parametrize("where", ["config", "metadata/a"])
async def test_check_and_set_can_be_required(kv, where):
    await kv.write(where, {"cas_required": "true"})
    for write in (kv.write, kv.patch):
        await kv.write("data/a", {"data": {}, "options": {"cas": (await current(kv))}})
        with pytest.raises(BadRequest, match="^check-and-set parameter required for this call$"):
            await write("data/a", {"data": {}})


async def current(kv: Harness) -> int:
    status, body = await kv.http("GET", "metadata/a")
    return body["data"]["current_version"] if status == 200 else 0


async def test_a_deleted_secret_still_counts_for_check_and_set(kv):
    await put(kv, 1)
    await kv.delete("data/a")
    with pytest.raises(BadRequest):
        await kv.write("data/a", {"data": {}, "options": {"cas": 0}})
    await kv.write("data/a", {"data": {}, "options": {"cas": 1}})


@pytest.mark.parametrize("options", ["text", [1], 3])
async def test_options_that_are_no_object(kv, options):
    with pytest.raises(BadRequest):
        await kv.write("data/a", {"data": {}, "options": options})


@pytest.mark.parametrize("version", ["2", 2])
async def test_an_older_version(kv, version):
    await put(kv, 1, 2, 3)
    answer = (await kv.read("data/a", {"version": version})).data
    assert (answer["data"], answer["metadata"]["version"]) == ({"n": 2}, 2)
    assert (await kv.read("data/a", {"version": 0})).data["data"] == {"n": 3}
    with pytest.raises(BadRequest):
        await kv.read("data/a", {"version": "two"})


async def test_patch_merges_and_null_removes(kv):
    await kv.write("data/a", {"data": {"keep": 1, "drop": 2, "deep": {"x": 1, "y": 2}}})
    response = await kv.patch("data/a", {"data": {"drop": None, "new": [None], "deep": {"y": None, "z": 3}}})
    assert response.data["version"] == 2
    assert (await kv.read("data/a")).data["data"] == {"keep": 1, "deep": {"x": 1, "z": 3}, "new": [None]}
    assert (await kv.read("data/a", {"version": 1})).data["data"]["drop"] == 2


async def test_patch_of_nothing_is_a_bare_404(kv):
    await kv.write("metadata/only", {"max_versions": 3})
    for path in ("data/none", "data/only", "metadata/none"):
        assert await kv.http("PATCH", path, {"data": {"a": 1}, "max_versions": 1}) == (404, None)
    assert await kv.scan("metadata") == ["only"]


@pytest.mark.parametrize("end", ["delete/a", "destroy/a"])
async def test_patch_of_a_deleted_version(kv, end):
    await put(kv, 1)
    await kv.write(end, {"versions": [1]})
    status, body = await kv.http("PATCH", "data/a", {"data": {"b": 1}})
    assert (status, body["data"]["version"], body["data"]["destroyed"]) == (404, 1, end == "destroy/a")


async def test_patch_with_check_and_set(kv):
    await put(kv, 1)
    with pytest.raises(BadRequest, match="did not match"):
        await kv.patch("data/a", {"data": {"b": 1}, "options": {"cas": 2}})
    await kv.patch("data/a", {"data": {"b": 1}, "options": {"cas": 1}})


@pytest.mark.parametrize("versions", [[1, 2], ["1", "2"], "1,2", "1, 2", [2, 1, 1, 99, -1]])
@pytest.mark.parametrize("verb", ["delete", "destroy"])
async def test_version_numbers_come_in_many_forms(kv, versions, verb):
    await put(kv, 1, 2, 3)
    assert (await kv.write(verb + "/a", {"versions": versions})).data is None
    for version, status in ((1, 404), (2, 404), (3, 200)):
        assert (await kv.http("GET", f"data/a?version={version}"))[0] == status
    await kv.write("undelete/a", {"versions": versions})
    for version, status in ((1, 404), (2, 404), (3, 200)):
        assert (await kv.http("GET", f"data/a?version={version}"))[0] == (status if verb == "destroy" else 200)


@pytest.mark.parametrize("versions", [[], "", None, ["x"], [1.5], {"1": 1}, "1;2", [[1]], ["9" * 40]])
@pytest.mark.parametrize("verb", ["delete", "undelete", "destroy"])
async def test_version_numbers_that_are_none(kv, versions, verb):
    await put(kv, 1)
    with pytest.raises(BadRequest):
        await kv.write(verb + "/a", {"versions": versions})
    assert (await kv.http("GET", "data/a"))[0] == 200


@pytest.mark.parametrize("verb", ["delete", "undelete", "destroy"])
async def test_versions_of_nothing(kv, verb):
    assert (await kv.write(verb + "/none", {"versions": [1]})).data is None
    assert (await kv.http("GET", "metadata/none"))[0] == 404


async def test_delete_keeps_the_first_deletion_time(kv):
    await put(kv, 1)
    await kv.delete("data/a")
    first = await kv.http("GET", "data/a")
    kv.clock.tick(100)
    await kv.delete("data/a")
    await kv.write("delete/a", {"versions": [1]})
    assert await kv.http("GET", "data/a") == first


async def test_undelete_leaves_a_destroyed_version_as_it_is(kv):
    await put(kv, 1)
    await kv.delete("data/a")
    await kv.write("destroy/a", {"versions": [1]})
    before = await kv.http("GET", "data/a")
    await kv.write("undelete/a", {"versions": [1]})
    assert await kv.http("GET", "data/a") == before
    assert before[1]["data"]["metadata"]["deletion_time"]


@pytest.mark.parametrize(
    ("mount", "key", "seconds"), [("30s", "0s", 30), ("0", "40", 40), ("30s", "40s", 30), ("1h", "5s", 5)]
)
async def test_delete_version_after_is_checked_at_use(kv, mount, key, seconds):
    await kv.write("config", {"delete_version_after": mount})
    await kv.write("metadata/a", {"delete_version_after": key})
    await put(kv, 1)
    kv.clock.tick(seconds - 0.5)
    answer = (await kv.read("data/a")).data
    assert answer["metadata"]["deletion_time"]
    kv.clock.tick(0.5)
    for path in ("data/a", "subkeys/a", "data/a?version=1"):
        status, body = await kv.http("GET", path)
        assert (status, body["data"]["metadata"]) == (404, answer["metadata"])
    assert (await kv.http("PATCH", "data/a", {"data": {"b": 1}}))[0] == 404
    await kv.write("undelete/a", {"versions": [1]})
    assert (await kv.http("GET", "data/a"))[0] == 200


async def test_a_negative_delete_version_after_of_the_mount_switches_it_off(kv):
    await kv.write("config", {"delete_version_after": "-1s"})
    await kv.write("metadata/a", {"delete_version_after": "5s"})
    await put(kv, 1)
    kv.clock.tick(100)
    assert (await kv.read("data/a")).data["metadata"]["deletion_time"] == ""
    assert (await kv.read("config")).data["delete_version_after"] == "-1s"


async def test_subkeys(kv):
    await kv.write("data/a", {"data": {"a": "s1", "b": {"c": {"d": "s2"}}}})
    await put(kv, 2)
    first = (await kv.read("subkeys/a", {"version": "1"})).data
    assert first["subkeys"] == {"a": None, "b": {"c": {"d": None}}}
    assert (await kv.read("subkeys/a", {"version": 1, "depth": "1"})).data["subkeys"] == {"a": None, "b": None}
    assert (await kv.read("subkeys/a")).data["subkeys"] == {"n": None}
    await kv.delete("data/a")
    status, body = await kv.http("GET", "subkeys/a")
    assert (status, body["data"]["subkeys"]) == (404, None)
    assert (await kv.http("GET", "subkeys/none"))[0] == 404


async def test_create_is_told_from_update(kv):
    assert await kv.op_of("data/a") is Op.CREATE
    await kv.write("metadata/a", {"max_versions": 1})
    for path in ("data/a", "metadata/a"):
        assert await kv.op_of(path) is Op.UPDATE
    assert await kv.op_of("data/a/b") is Op.CREATE
    assert await kv.op_of("metadata/b") is Op.CREATE


async def test_listings(kv):
    for path in ("a", "a/b", "c/d"):
        await put(kv, 1, path="data/" + path)
    await kv.delete("data/a")
    for path in ("metadata", "metadata/", "detailed-metadata", "detailed-metadata/"):
        assert await kv.list(path) == ["a", "a/", "c/"]
        assert await kv.scan(path) == ["a", "a/b", "c/d"]
        assert await kv.list(path, {"after": "a", "limit": 1}) == ["a/"]
        assert await kv.scan(path, {"after": "a", "limit": "1"}) == ["a/b"]
    assert await kv.list("metadata/a") == await kv.list("metadata/a/") == ["b"]
    detailed = (await kv.call(Op.LIST, "detailed-metadata")).data
    assert detailed["key_info"] == {"a": (await kv.read("metadata/a")).data}
    detailed = (await kv.call(Op.SCAN, "detailed-metadata/c")).data
    assert detailed == {"keys": ["d"], "key_info": {"d": (await kv.read("metadata/c/d")).data}}


@pytest.mark.parametrize("path", ["foo", "foo/bar", "data", "metadata", "", "config/x"])
async def test_version_1_paths_are_told_where_to_go(kv, path):
    await put(kv, 1)
    for method, verb in (("GET", "get"), ("POST", "put"), ("DELETE", "delete"), ("LIST", "list")):
        if method == "LIST" and path in ("data", "metadata"):
            continue
        status, body = await kv.http(method, path, {"a": 1})
        assert (status, body["data"]) == (404, None)
        assert body["warnings"][0].startswith("Invalid path for a versioned K/V secrets engine.")
        assert f"kv {verb}'" in body["warnings"][0]
    assert await kv.list("metadata") == ["a"]


@pytest.mark.parametrize(
    ("op", "path"),
    [
        (Op.LIST, "data"), (Op.LIST, "data/a"), (Op.SCAN, "data"), (Op.LIST, "subkeys/a"), (Op.READ, "delete/a"),
        (Op.READ, "undelete/a"), (Op.READ, "destroy/a"), (Op.DELETE, "destroy/a"), (Op.UPDATE, "subkeys/a"),
        (Op.DELETE, "config"), (Op.READ, "detailed-metadata/a"), (Op.UPDATE, "detailed-metadata/a"),
    ],
)  # fmt: skip
async def test_operations_a_path_does_not_have(kv, op, path):
    with pytest.raises((UnsupportedOperation, NotFound)) as caught:
        await kv.call(op, path, {"data": {}, "versions": [1]})
    assert caught.value.status == (404 if path == "config" else 405)


async def test_damaged_entries_are_not_passed_on(kv):
    await put(kv, 1, 2)
    for key in await kv.keys():
        if key != "upgrade":
            await kv.mount.storage.commit([Write(key, b'[9,"x"]')])
    for path in ("data/a", "metadata/a", "subkeys/a"):
        with pytest.raises(IntegrityError):
            await kv.read(path)
    await kv.mount.storage.commit([Write("config", b"{}")])
    with pytest.raises(IntegrityError):
        await kv.read("config")
