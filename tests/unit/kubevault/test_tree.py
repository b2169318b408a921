"""The whole vault: every problem at once, users and secrets by name, warnings."""

from pathlib import Path

import pytest

from kubevault_world import clear, make, problems, vault
from strongroom.errors import BadRequest
from strongroom.kubevault.folder import Folder
from strongroom.kubevault.tree import Invalid, names_of


def test_all_problems_come_at_once_with_file_and_line(tmp_path: Path) -> None:
    made = vault(
        tmp_path,
        {"ok": "a: 1", "bad": "a: 1\nb: [1]\nc/d: 2", "1x": "", "a/b": "", "a-b": "", "A/B": "", "text": "x"},
        {"Alice": "**", "bob": b"\xff", "carol": "ok\n![z-a]\n"},
    )
    assert sorted(problems(made)) == [
        "access_control/Alice:0 user-name",
        "access_control/bob:1 not-utf-8",
        "access_control/carol:2 malformed",
        "kvstore/1x:0 secret-name",
        "kvstore/a-b:0 collision",
        "kvstore/a/b:0 collision",
        "kvstore/bad:2 nested",
        "kvstore/bad:3 key",
        "kvstore/text:1 no-map",
    ]


def test_names_alone_do_not_read_secrets(tmp_path: Path) -> None:
    made = vault(tmp_path, {"bad": "a: [1]"}, {"me": "**"})
    assert [secret.name for secret in names_of(Folder(made), "ns").secrets] == ["bad"]
    assert problems(made) == ["kvstore/bad:1 nested"]


def test_names_that_collide(tmp_path: Path) -> None:
    assert problems(vault(tmp_path, {"a/b": "", "a_b": ""})) == ["kvstore/a_b:0 collision"]


def test_a_secret_must_not_take_the_name_of_a_token(tmp_path: Path) -> None:
    made = vault(
        tmp_path, {"alice": "", "alice-token": "", "bob-token": "", "x/token": ""}, {"alice": "**", "x": "x/*"}
    )
    assert sorted(problems(made)) == ["kvstore/alice-token:0 token-collision", "kvstore/x/token:0 token-collision"]


def test_a_user_twice(tmp_path: Path) -> None:
    assert problems(vault(tmp_path, {}, {"team/alice": "", "alice": ""})) == ["access_control/team/alice:0 collision"]


def test_what_is_too_large(tmp_path: Path) -> None:
    fits, large = "x" * (1 << 20), "x" * ((1 << 20) + 1)
    made = vault(tmp_path, {"fits": f"a: {fits}", "large": f"a: {large}", "wide": f"a: {'é' * (1 << 19)}x"})
    assert problems(made) == ["kvstore/large:0 size", "kvstore/wide:0 size"]
    (made / "kvstore/large").unlink()
    (made / "kvstore/wide").unlink()
    assert [(problem.code, "server-side" in problem.text) for problem in make(made).warnings] == [("apply-size", True)]


def test_types_need_their_keys(tmp_path: Path) -> None:
    assert problems(vault(tmp_path, {"t": "_kubevault: {type: kubernetes.io/tls}\ntls.crt: x"})) == ["kvstore/t:0 type"]


def test_users_and_secrets_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    tree = names_of(Folder(vault(tmp_path, {"A/b": "", "c": ""}, {"team/carol": "A/*", "bob": ""})), "ns")
    carol = tree.user("carol")
    assert carol is not None and tree.user("team/carol") is carol and tree.user("nobody") is None
    assert tree.user("../carol") is None
    assert [user.name for user in tree.users] == ["bob", "carol"]
    assert [secret.path for secret in tree.allowed(carol)] == ["A/b"]
    secret = tree.secret("A/b")
    assert secret is not None and tree.secret("a-b") is secret and tree.secret("nothing") is None


def test_namespaces_by_folder(tmp_path: Path) -> None:
    made = vault(tmp_path, {"Prod/a": "", "dev/a/b": "", "top": ""})
    tree = names_of(Folder(made), "home", by_folder=True)
    assert [(secret.path, secret.name, secret.namespace) for secret in tree.secrets] == [
        ("Prod/a", "prod-a", "prod"),
        ("dev/a/b", "dev-a-b", "dev"),
        ("top", "top", "home"),
    ]
    (made / "kvstore/a.b").mkdir()
    (made / "kvstore/a.b/x").write_text("")
    with pytest.raises(Invalid, match="namespace"):
        names_of(Folder(made), "home", by_folder=True)


def test_warnings_about_rules(tmp_path: Path) -> None:
    made = vault(tmp_path, {"a/x": ""}, {"alice": "a/**\nnothing/*\n", "bob": "", "carol": "a/x\na/x\n"})
    found = [(Path(problem.where).name, problem.line, problem.code) for problem in make(made).warnings]
    assert ("alice", 2, "no-match") in found
    assert ("bob", 0, "empty-grant") in found
    assert any(name == "carol" and code == "shadowed" for name, _, code in found)
    assert {name for name, _, _ in found} == {"alice", "bob", "carol"}


def test_warnings_come_with_problems_too(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        make(vault(tmp_path, {"a": "["}, {"bob": "zzz"}))
    assert {problem.code for problem in caught.value.notes} == {"no-match", "empty-grant"}


def test_a_missing_vault(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="kubevault new"):
        make(tmp_path / "none")


def test_what_cannot_be_decrypted_is_a_problem_of_its_file(tmp_path: Path) -> None:
    from strongroom.kubevault import making

    def refuse(data: bytes, path: str, where: str) -> bytes:
        if b"sops" in data:
            raise BadRequest("no key fits")
        return clear(data, path, where)

    from kubevault_world import NOW

    made = vault(tmp_path, {"a": "sops: 1", "b": "x: 1"})
    with pytest.raises(Invalid) as caught:
        making.make(Folder(made), making.Wanted(), refuse, now=NOW)
    assert [str(problem) for problem in caught.value.problems] == [f"{made}/kvstore/a: no key fits"]
