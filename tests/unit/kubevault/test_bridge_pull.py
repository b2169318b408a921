"""pull: what a server's secrets and policies become, what is refused, and what on the disk is left alone."""

import os
from pathlib import Path
from typing import Any

import pytest

from kubevault_world import clear
from kv_fake import Fake
from strongroom.errors import BadRequest
from strongroom.kubevault.bridge import BridgeFailed, Place, UserPolicy
from strongroom.kubevault.bridge_pull import MAX_PATH, File, differing, fetch, literal, rules_for, unfit, write
from strongroom.kubevault.rules import Index, parse_rules
from strongroom.kubevault.tree import Invalid

PLACE = Place("secret", "", "kubevault-")


def files(server: Fake, place: Place = PLACE) -> dict[str, str]:
    return {f"{file.room}/{file.path}": file.data.decode() for file in fetch(server, place).files}


def refused(server: Fake, place: Place = PLACE) -> list[str]:
    with pytest.raises(Invalid) as caught:
        fetch(server, place)
    return [f"{problem.where}: {problem.code}" for problem in caught.value.problems]


def test_secrets_become_files() -> None:
    server = Fake()
    server.put("a/b", {"k": "yes", "n": "a\nb\n"})
    custom = {"kubevault-binary": '["raw"]', "kubevault-settings": '{"type":"t/u","immutable":true}', "owner": "x"}
    server.put("c", {"raw": "AAH/"}, custom)
    server.put("d", {})
    assert files(server) == {
        "kvstore/a/b": 'k: "yes"\n"n": |\n  a\n  b\n',
        "kvstore/c": '_kubevault:\n  immutable: "true"\n  type: "t/u"\nraw: !!binary "AAH/"\n',
        "kvstore/d": "{}\n",
    }


def test_what_is_no_text() -> None:
    server = Fake()
    server.put("a", {"n": 5, "f": 1.5, "b": True, "t": "x"})
    server.put("gone", None)
    pulled = fetch(server, PLACE)
    assert pulled.files[0].data == b'b: "true"\nf: "1.5"\n"n": "5"\nt: "x"\n'
    assert sorted(problem.code for problem in pulled.warnings) == ["deleted", "type", "type", "type"]
    server.put("b", {"m": {"x": 1}, "l": [1], "z": None})
    assert refused(server) == ["secret/data/b: nested"] * 3


def test_rules_come_back_when_they_say_what_the_policy_does() -> None:
    server = Fake()
    for path in ("a/x", "a/y", "b"):
        server.put(path, {"k": "v"})
    rules = ["a/**", "!a/y"]
    server.policies["kubevault-ann"] = UserPolicy("ann", "people/ann", rules, ["a/x"]).text(PLACE)
    server.policies["kubevault-bob"] = UserPolicy("bob", "bob", rules, ["a/x", "b"]).text(PLACE)  # changed by hand
    server.policies["kubevault-eve"] = 'path "secret/data/a/*" { capabilities = ["read"] }'
    server.policies["kubevault-nil"] = UserPolicy("nil", "nil", [], []).text(PLACE)
    server.policies["kubevault-far"] = UserPolicy("far", "far", ["**"], ["b"]).text(PLACE._replace(prefix="team/"))
    server.policies["kubevault-odd"] = 'path "secret/data/{{identity.entity.name}}" { capabilities = ["read"] }'
    server.policies["default"] = 'path "secret/*" { capabilities = ["read"] }'
    pulled = fetch(server, PLACE)
    found = {file.path: file.data.decode() for file in pulled.files if file.room == "access_control"}
    assert found == {"people/ann": "a/**\n!a/y\n", "bob": "a/x\nb\n", "eve": "a/x\na/y\n", "nil": "", "odd": ""}
    assert [problem.code for problem in pulled.warnings] == ["policy"]


def test_a_rule_that_is_no_rule_any_more_is_not_taken() -> None:
    paths = ["a", "b"]
    for rules in (["# a"], [" a"], [""], ["a\n!b"], ["a\r"], ["[", "a", "**"]):
        assert rules_for(rules, paths, {"a"}) == "a\n"
    assert rules_for(["**", "!b"], paths, {"a"}) == "**\n!b\n"


@pytest.mark.parametrize("path", ["a[b]/c", "a{x,y}", "a!b", "a#b", "what?s", "a b,c", "é/ü", "a^b-c", "nt/rb/ab"])
def test_a_path_as_a_rule_matches_only_itself(path: str) -> None:
    others = sorted({path, "ab/c", "ax", "ay", "whatxs", "b", path + "1"}, key=lambda one: one.split("/"))
    (rule,) = parse_rules(literal(path) + "\n")
    assert [others[at] for at in Index(others).allowed([rule])] == [path]


NAMES = ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b",
         "..\\x", "a\\b", "x\x00y", "a\nb", "\x1b[2J", "\udcff",
         "x" * 250, ".gitkeep", ".sops.yaml", None, 5, ["a"], "\u202eabc"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("folder", [False, True])
def test_names_that_are_no_file(name: Any, folder: bool) -> None:
    server = Fake()
    server.lists[""] = ["fine", f"{name}/" if folder and isinstance(name, str) else name]
    server.data["fine"] = ({"k": "v"}, None)
    assert [one.rpartition(": ")[2] for one in refused(server)] == ["path"]
    assert all(
        "metadata/" in call.path or call.path.endswith(("data/fine", "sys/policies/acl")) for call in server.calls
    )
    assert (
        len([call for call in server.calls if call.query.get("list")]) == 2
    )  # the root and the policies: not gone into


def test_names_that_collide_or_that_no_vault_has() -> None:
    server = Fake()
    server.lists[""] = ["a", "a/", "B-c", "b/", "_x", "dup", "dup"]
    server.lists["a/"], server.lists["b/"] = ["x"], ["c"]
    for path in ("a", "a/x", "B-c", "b/c", "_x", "dup"):
        server.data[path] = ({"k": "v"}, None)
    assert sorted(refused(server)) == [
        "secret/data/_x: secret-name", "secret/data/a: path", "secret/data/b/c: collision",
    ]  # fmt: skip


def test_everything_wrong_is_told_at_once() -> None:
    server = Fake()
    server.put("a", {"bad key": "v", "..": "v"})
    server.put("b", {"k": "%"}, {"kubevault-binary": '["k"]'})
    server.put("c", {"k": "v"}, {"kubevault-binary": "nonsense"})
    server.put("d", {"k": "v"}, {"kubevault-settings": "[1]"})
    server.put("e", {"k": "v"}, {"kubevault-settings": '{"type": "kubernetes.io/service-account-token", "x": [1]}'})
    server.put("f", {"k": "\ud800"})
    server.put("ok", {"_kubevault": "{type: x}", "k": "v"})
    server.put("ok2", {"_kubevault": "", "k": "v"})
    server.policies["kubevault-Bad_User"] = "# x"
    found = refused(server)
    assert sorted(set(found)) == [
        "secret/data/a: key",
        "secret/data/b: base64",
        "secret/data/c: metadata",
        "secret/data/d: metadata",
        "secret/data/e: settings",
        "secret/data/f: not-utf-8",
        "secret/data/ok2: values",
        "secret/data/ok: settings",
        "sys/policies/acl/kubevault-Bad_User: user-name",
    ]


def test_folders_without_end() -> None:
    class Endless(Fake):
        def read(self, call: Any) -> Any:
            if call.query.get("list") and call.path.startswith("secret/metadata/"):
                self.lists[call.path.removeprefix("secret/metadata/")] = ["deeper/"]
            return super().read(call)

    server = Endless()
    assert [one.rpartition(": ")[2] for one in refused(server)] == ["path"]
    assert len(server.calls) < MAX_PATH


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.kubevault.bridge_pull.MAX_SECRETS", 10)
    server = Fake()
    server.lists[""] = [f"a{number}" for number in range(11)]
    with pytest.raises(BridgeFailed, match="more than 10"):
        fetch(server, PLACE)


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    assert unfit("x" * 249) == ""
    write(str(tmp_path), differing(str(tmp_path), [File("kvstore", "x" * 249, "w", b"k: v\n")], clear))
    assert (tmp_path / "kvstore" / ("x" * 249)).read_text() == "k: v\n"


# -- to the disk ---------------------------------------------------------------------------------------------------

ONE = File("kvstore", "a/b", "secret/data/a/b", b'k: "v"\n')
USER = File("access_control", "ann", "sys/policies/acl/kubevault-ann", b"a/**\n")


def put(folder: Path, path: str, data: bytes) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def in_the_way(folder: Path, *given: File, force: bool = False) -> list[str]:
    with pytest.raises(Invalid) as caught:
        differing(str(folder), list(given), clear, force=force)
    return [problem.code for problem in caught.value.problems]


def test_new_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write(str(tmp_path / "v"), differing(str(tmp_path / "v"), [ONE, USER], clear))
    finally:
        os.umask(old)
    assert (tmp_path / "v/kvstore/a/b").read_bytes() == ONE.data
    assert (tmp_path / "v/kvstore/a/b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "v/kvstore/a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("held", [b"# mine\nk: v\n", b"k: 'v'\n", b"{k: v, _kubevault: {type: Opaque}}\n", ONE.data])
def test_a_file_that_says_the_same_is_left(tmp_path: Path, held: bytes) -> None:
    put(tmp_path, "kvstore/a/b", held)
    put(tmp_path, "access_control/ann", b"# of ann\n\na/**\n")
    assert differing(str(tmp_path), [ONE, USER], clear) == []


@pytest.mark.parametrize("held", [b"k: w\n", b"k: v\nl: w\n", b"k: [\n", b"\xff", b"k: v\n_kubevault: {type: t/u}\n"])
def test_a_file_that_differs_is_only_replaced_by_force(tmp_path: Path, held: bytes) -> None:
    place = put(tmp_path, "kvstore/a/b", held)
    put(tmp_path, "access_control/ann", b"a/**\n!a/c\n")
    assert in_the_way(tmp_path, ONE, USER) == ["differs", "differs"] and place.read_bytes() == held
    writes = differing(str(tmp_path), [ONE, USER], clear, force=True)
    assert [one.sign for one in writes] == ["~", "~"]
    write(str(tmp_path), writes)
    assert place.read_bytes() == ONE.data


def test_an_encrypted_file_is_never_replaced_by_clear_text(tmp_path: Path) -> None:
    place = put(tmp_path, "kvstore/a/b", b"\0GITCRYPT\0xyz")
    assert in_the_way(tmp_path, ONE, force=True) == ["encrypted"]
    place.write_bytes(b"sealed: k")

    def decrypt(data: bytes, path: str, where: str) -> bytes:
        if data == b"sealed: lost":
            raise BadRequest("no key")
        return data.replace(b"sealed: k", b"k: w")

    with pytest.raises(Invalid, match="SOPS"):
        differing(str(tmp_path), [ONE], decrypt, force=True)
    place.write_bytes(b"sealed: lost")
    with pytest.raises(Invalid, match="SOPS"):
        differing(str(tmp_path), [ONE], decrypt, force=True)
    same = ONE._replace(data=b'k: "w"\n')
    place.write_bytes(b"sealed: k")
    assert differing(str(tmp_path), [same], decrypt) == []  # says the same: stays encrypted


def test_files_and_folders_in_each_others_way(tmp_path: Path) -> None:
    put(tmp_path, "kvstore/a", b"k: v\n")
    (tmp_path / "access_control/ann").mkdir(parents=True)
    assert in_the_way(tmp_path, ONE, USER, force=True) == ["in-the-way", "in-the-way"]


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    vault = tmp_path / "v"
    (vault / "kvstore").mkdir(parents=True)
    (vault / "kvstore/a").symlink_to(outside)
    assert in_the_way(vault, ONE, force=True) == ["in-the-way"]
    (vault / "kvstore/a").unlink()
    (vault / "kvstore").rmdir()
    (vault / "kvstore").symlink_to(outside)
    assert in_the_way(vault, ONE, force=True) == ["in-the-way"]
    (vault / "kvstore").unlink()
    secret = put(tmp_path, "outside/precious", b"k: w\n")
    (vault / "kvstore/a").mkdir(parents=True)
    (vault / "kvstore/a/b").symlink_to(secret)
    write(str(vault), differing(str(vault), [ONE], clear, force=True))
    assert secret.read_bytes() == b"k: w\n" and not (vault / "kvstore/a/b").is_symlink()


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "v/kvstore/real").mkdir(parents=True)
    (tmp_path / "v/kvstore/a").symlink_to("real")
    (tmp_path / "link").symlink_to("v")
    write(str(tmp_path / "link"), differing(str(tmp_path / "link"), [ONE], clear))
    assert (tmp_path / "v/kvstore/real/b").read_bytes() == ONE.data
