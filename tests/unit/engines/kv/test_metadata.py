import pytest

from engine_harness import Harness
from strongroom.engines.kv import factory
from strongroom.errors import BadRequest, NotFound


@pytest.fixture
async def kv() -> Harness:
    return await Harness(factory, options={"version": "2"}).start()


async def meta(kv: Harness, path: str = "a") -> dict:
    return dict((await kv.read("metadata/" + path)).data)


async def test_metadata_may_come_before_data(kv):
    await kv.write("metadata/a", {"custom_metadata": {"k": "v"}})
    told = await meta(kv)
    assert (told["current_version"], told["versions"], told["custom_metadata"]) == (0, {}, {"k": "v"})
    assert (told["current_metadata_version"], told["created_time"]) == (1, told["updated_time"])
    with pytest.raises(NotFound) as caught:
        await kv.read("data/a")
    assert caught.value.data is None
    await kv.delete("data/a")
    await kv.write("data/a", {"data": {"x": 1}, "options": {"cas": 0}})
    assert (await kv.read("data/a")).data["metadata"]["custom_metadata"] == {"k": "v"}


async def test_a_write_that_says_nothing_makes_nothing(kv):
    for body in ({}, {"other": 1}, {"max_versions": None}):
        assert (await kv.write("metadata/a", body)).data is None
    with pytest.raises(NotFound):
        await meta(kv)


async def test_fields_are_set_one_by_one(kv):
    await kv.write("metadata/a", {"max_versions": "5", "delete_version_after": "3h25m19s", "cas_required": "true"})
    await kv.write("metadata/a", {"custom_metadata": {"n": 1, "t": True, "f": 1.5}})
    told = await meta(kv)
    assert told["custom_metadata"] == {"n": "1", "t": "1", "f": "1.5"}
    assert (told["max_versions"], told["delete_version_after"], told["cas_required"]) == (5, "3h25m19s", True)
    await kv.write("metadata/a", {"custom_metadata": {}, "delete_version_after": 0})
    told = await meta(kv)
    assert (told["custom_metadata"], told["delete_version_after"], told["max_versions"]) == (None, "0s", 5)


async def test_patch_changes_what_it_names(kv):
    await kv.write("metadata/a", {"max_versions": 5, "custom_metadata": {"a": "1", "b": "2"}, "cas_required": True})
    await kv.patch("metadata/a", {"custom_metadata": {"b": None, "c": "3"}, "cas_required": False})
    told = await meta(kv)
    assert (told["custom_metadata"], told["cas_required"], told["max_versions"]) == ({"a": "1", "c": "3"}, False, 5)
    await kv.patch("metadata/a", {"max_versions": None, "custom_metadata": None, "delete_version_after": None})
    told = await meta(kv)
    assert (told["custom_metadata"], told["max_versions"], told["current_metadata_version"]) == (None, 0, 3)
    await kv.patch("metadata/a", {})
    assert await meta(kv) == told


async def test_metadata_stays_while_data_changes(kv):
    """A patch or write of data drops no field of the metadata (OpenBao GH-3551), and the other way round."""
    body = {"max_versions": 7, "custom_metadata": {"k": "v"}, "cas_required": False, "delete_version_after": "9s"}
    await kv.write("metadata/a", body)
    before = await meta(kv)
    await kv.write("data/a", {"data": {"x": 1}})
    await kv.patch("data/a", {"data": {"y": 2}})
    await kv.write("delete/a", {"versions": [1]})
    after = await meta(kv)
    for field in ("max_versions", "custom_metadata", "cas_required", "delete_version_after", "created_time"):
        assert after[field] == before[field]
    await kv.patch("metadata/a", {"custom_metadata": {"l": "w"}})
    assert (await kv.read("data/a")).data["data"] == {"x": 1, "y": 2}
    assert (await meta(kv))["versions"] == after["versions"]


TOO_MUCH = [
    ({str(n): "x" for n in range(65)}, "payload must contain at most 64 keys, provided 65"),
    ({"k" * 129: "x"}, "is 129 but must be 0 < len(key) <= 128"),
    ({"ü" * 65: "x"}, "is 130 but must be 0 < len(key) <= 128"),
    ({"": "x"}, "is 0 but must be 0 < len(key) <= 128"),
    ({"k": "x" * 513}, 'length of value for key "k" is 513 but must be 0 < len(value) <= 512'),
    ({"k": ""}, 'length of value for key "k" is 0'),
    ({"k": None}, 'length of value for key "k" is 0'),
    ({"k\n": "x"}, "contains unprintable characters"),
    ({"k": "x\x07"}, 'value for key "k" contains unprintable characters'),
    ({"k": {"deep": 1}}, 'value for key "k" is not text'),
    ({"a": "", "b": ""}, "2 errors occurred:"),
]


@pytest.mark.parametrize(("custom", "text"), TOO_MUCH)
async def test_limits_of_custom_metadata(kv, custom, text):
    with pytest.raises(BadRequest) as caught:
        await kv.write("metadata/a", {"custom_metadata": custom})
    assert text in str(caught.value)
    assert "custom_metadata validation failed" in str(caught.value)
    assert await kv.list("metadata") == []


async def test_the_limits_themselves_are_allowed(kv):
    custom = {f"{n:03}" + "k" * 125: "v" * 512 for n in range(64)}
    await kv.write("metadata/a", {"custom_metadata": custom})
    assert (await meta(kv))["custom_metadata"] == custom
    with pytest.raises(BadRequest, match="at most 64"):
        await kv.patch("metadata/a", {"custom_metadata": {"one more": "x"}})


@pytest.mark.parametrize(
    "body",
    [
        {"max_versions": -1}, {"max_versions": 2**32}, {"max_versions": "many"}, {"delete_version_after": "-1s"},
        {"delete_version_after": "soon"}, {"cas_required": "perhaps"}, {"custom_metadata": "text"},
    ],
)  # fmt: skip
async def test_fields_of_the_wrong_kind(kv, body):
    await kv.write("metadata/b", {"max_versions": 1})
    for write in (kv.write("metadata/a", body), kv.patch("metadata/b", body)):
        with pytest.raises(BadRequest):
            await write
    assert await kv.list("metadata") == ["b"]


async def test_metadata_check_and_set(kv):
    await kv.write("metadata/a", {"max_versions": 1, "metadata_cas": 0, "metadata_cas_required": True})
    with pytest.raises(BadRequest, match="^metadata check-and-set parameter required for this call$"):
        await kv.write("metadata/a", {"max_versions": 2})
    for wrong in (0, 2, "7"):
        with pytest.raises(BadRequest, match="^metadata check-and-set parameter does not match the current version$"):
            await kv.patch("metadata/a", {"max_versions": 2, "metadata_cas": wrong})
    await kv.patch("metadata/a", {"max_versions": 2, "metadata_cas": "1"})
    assert (await meta(kv))["current_metadata_version"] == 2
    await kv.write("config", {"metadata_cas_required": True})
    with pytest.raises(BadRequest, match="required"):
        await kv.write("metadata/b", {"max_versions": 2})


async def test_delete_removes_everything(kv):
    for n in range(4):
        await kv.write("data/a", {"data": {"n": n}})
    await kv.write("data/a/b", {"data": {"n": 9}})
    for _ in range(2):
        assert (await kv.delete("metadata/a")).data is None
    assert await kv.scan("metadata") == ["a/b"]
    assert sorted(await kv.keys()) == ["meta/a/b", "upgrade"]
    await kv.write("data/a", {"data": {"n": 5}, "options": {"cas": 0}})
    assert (await meta(kv))["current_version"] == 1


async def test_the_mount_itself_has_no_metadata(kv):
    for attempt in (kv.write("metadata/", {"max_versions": 1}), kv.patch("metadata/", {}), kv.delete("metadata/")):
        with pytest.raises(BadRequest, match="missing path"):
            await attempt
    with pytest.raises(NotFound):
        await kv.read("metadata/")


async def test_settings_of_the_mount(kv):
    assert (await kv.read("config")).data == {
        "cas_required": False, "delete_version_after": "0s", "max_versions": 0, "metadata_cas_required": False,
    }  # fmt: skip
    await kv.write("config", {})
    assert await kv.keys() == ["upgrade"]
    await kv.write("config", {"max_versions": "3", "delete_version_after": "90m"})
    await kv.write("config", {"cas_required": 1})
    assert (await kv.read("config")).data == {
        "cas_required": True, "delete_version_after": "1h30m0s", "max_versions": 3, "metadata_cas_required": False,
    }  # fmt: skip
    for body in ({"max_versions": -1}, {"delete_version_after": "x"}, {"cas_required": {}}):
        with pytest.raises(BadRequest):
            await kv.write("config", body)


async def test_the_mounts_check_and_set_rules_over_the_keys(kv):
    await kv.write("config", {"cas_required": True})
    for write in (kv.write, kv.patch):
        response = await write("metadata/a", {"cas_required": False})
        assert response.warnings[0].startswith('"cas_required" set to false, but is mandated by backend config.')
        assert (await write("metadata/a", {"cas_required": True})).warnings == ()


async def test_the_greater_max_versions_counts(kv):
    for mount, key, kept in ((2, 4, 4), (4, 2, 4), (0, 3, 3), (3, 0, 3), (0, 0, 10), (1, 1, 1)):
        await kv.delete("metadata/a")
        await kv.write("config", {"max_versions": mount})
        await kv.write("metadata/a", {"max_versions": key})
        for n in range(12):
            await kv.write("data/a", {"data": {"n": n}})
        told = await meta(kv)
        assert [int(n) for n in told["versions"]] == list(range(13 - kept, 13))
        assert told["oldest_version"] == 13 - kept
