"""Which mount and route a path means."""

from typing import Any

import pytest

from strongroom.core.router import Mounted, Router, fold, mounted
from strongroom.errors import BadRequest, NotFound, UnsupportedOperation, UnsupportedPath
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Op, Request, Response


async def answer(call: Call, args: Any) -> Response:
    return Response(data={"token": call.request.token, "op": call.request.op.value, **call.match.params})


class Shelf:
    def __init__(self, mount: Mount | None = None) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        write = {Op.READ: answer, Op.UPDATE: answer}
        return (
            Route(pattern="users/{name}", ops=write, fold=("name",)),
            Route(pattern="users/", ops={Op.LIST: answer}),
            Route(pattern="pair/{a}/and/{b}", ops=write, fold=("a", "b")),
            Route(pattern="tree/{path...}", ops={**write, Op.LIST: answer}, rest_may_be_empty=True),
            Route(pattern="deep/{path...}", ops={Op.READ: answer}),
        )

    async def revoke(self, lease_private: Any) -> None: ...


def at(path: str, *, privileged: bool = False) -> Mounted:
    return mounted(
        path, Shelf(), kind="shelf", accessor="a", uuid=path, mount_class="secret", privileged=privileged
    )  # fmt: skip


ROUTER = Router([at("a/"), at("a/b/c/"), at("own/", privileged=True)])


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("a/users/x", "a/"), ("a/b/users/x", "a/"), ("a/b/c/users/x", "a/b/c/"), ("a/b/cc/x", "a/"), ("ab/users/x", ""),
        ("a", ""),
    ],
)  # fmt: skip
def test_the_longest_mount_wins_by_whole_segments(path: str, mount: str):
    hit = ROUTER.mount_of(path)
    assert (hit.path if hit else "") == mount


@pytest.mark.parametrize(
    ("op", "path", "params"),
    [
        (Op.READ, "a/users/x", {"name": "x"}),
        (Op.LIST, "a/users/", {}),
        (Op.CREATE, "a/users/x", {"name": "x"}),
        (Op.READ, "a/tree/x/y", {"path": "x/y"}),
        (Op.LIST, "a/tree/", {"path": ""}),
        (Op.READ, "a/deep/x/y/z", {"path": "x/y/z"}),
        (Op.HELP, "a/users/x", {"name": "x"}),
    ],
)
def test_routes_and_their_fields(op: Op, path: str, params: dict[str, str]):
    match, same = ROUTER.match(op, path)
    assert (match.refusal, match.params, same, match.mount_path) == (None, params, path, "a/")
    assert (match.mount_type, match.mount_accessor, match.mount_class, match.mount_uuid) == (
        "shelf",
        "a",
        "secret",
        "a/",
    )


@pytest.mark.parametrize(
    ("op", "path", "kind"),
    [
        (Op.READ, "none/x", NotFound),
        (Op.READ, "a/none", UnsupportedPath),
        (Op.READ, "a/deep/", UnsupportedPath),
        (Op.DELETE, "a/users/x", UnsupportedOperation),
        (Op.READ, "a/users", UnsupportedOperation),  # it can be listed
        (Op.LIST, "a/users/x/", UnsupportedPath),
        (Op.UNKNOWN, "a/users/x", UnsupportedOperation),
        (Op.PATCH, "a/tree/x", UnsupportedOperation),
    ],
)
async def test_a_refusal_waits_in_the_match(op: Op, path: str, kind: type[Exception]):
    match, _ = ROUTER.match(op, path)
    assert type(match.refusal) is kind
    assert not match.route.login and not match.route.while_sealed
    with pytest.raises(kind):
        await ROUTER.route(Call(Request(id="1", op=op, path=path), match))


def test_names_are_folded_in_the_path_itself():
    match, path = ROUTER.match(Op.READ, "a/users/ALICE")
    assert (path, match.params) == ("a/users/alice", {"name": "alice"})
    match, path = ROUTER.match(Op.READ, "a/pair/Straße/and/ＢＯＢ")
    assert (path, match.params) == ("a/pair/strasse/and/bob", {"a": "strasse", "b": "bob"})
    assert ROUTER.match(Op.READ, "a/tree/MixedCase")[1] == "a/tree/MixedCase"


@pytest.mark.parametrize("name", ["ａ／ｂ", "．．", "x\u2028y\u00a0", "\u00a0x", "x\ufe68y"])
def test_a_name_that_folding_would_turn_into_a_path_is_refused(name: str):
    with pytest.raises(BadRequest):
        fold(name)
    match, path = ROUTER.match(Op.READ, f"a/users/{name}")
    assert isinstance(match.refusal, BadRequest) and path == f"a/users/{name}"


def test_folding_is_done_once_and_for_all():
    for name in ("ALICE", "Straße", "ＢＯＢ", "ﬁne", "İstanbul", "Ωmega", "Å"):
        assert fold(fold(name)) == fold(name)


async def call(path: str, *, token: str = "secret", op: Op = Op.READ) -> Response:
    match, _ = ROUTER.match(op, path)
    made = Call(Request(id="1", op=op, path=path, token=token), match)
    made.args = NoArgs()
    return await ROUTER.route(made)


async def test_an_engine_never_sees_the_token_and_the_token_store_does():
    assert ((await call("a/users/x")).data or {})["token"] == ""
    assert ((await call("own/users/x")).data or {})["token"] == "secret"


async def test_a_create_is_served_by_the_update():
    assert ((await call("a/users/x", op=Op.CREATE)).data or {})["op"] == "create"


def test_help_about_a_mount_matches_the_mount():
    for path in ("a", "a/", "a/b/c"):
        match, _ = ROUTER.match(Op.HELP, path)
        assert match.refusal is None and match.mount_path == path.rstrip("/") + "/"
