"""push: what is planned and written, against a real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubevault_world import make, vault
from server_fixture import Server, running
from strongroom.client.messages import Answer, Call
from strongroom.client.settings import from_environment
from strongroom.client.transport import Transport
from strongroom.kubevault.bridge import BridgeFailed, Place, place_of
from strongroom.kubevault.bridge_push import Plan, carry_out, plan, wishes
from strongroom.kubevault.tree import Invalid

SECRETS: dict[str, str | bytes] = {
    "a/Db": "password: open sesame\nport: 0x1F\n",
    "b": "raw: !!binary AAH/\n_kubevault: {type: t/u, labels: {team: x}, immutable: true}\n",
    "empty": "",
    'odd "name": $x %25?#é x': "k: v\n",
}
USERS = {"ann": "**\n!b\n", "people/bob": "b\n", "nil": "# nothing\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("push")) as one:
        yield one


class Counted:
    """A transport that remembers what was written."""

    def __init__(self, transport: Transport) -> None:
        self.transport, self.written = transport, list[Call]()

    def call(self, call: Call) -> Answer:
        if call.method != "GET":
            self.written.append(call)
        return self.transport.call(call)

    def read(self, call: Call) -> Answer | None:
        return self.transport.read(call)


@pytest.fixture
def connection(server: Server) -> Iterator[Counted]:
    with Transport(from_environment({"VAULT_ADDR": server.address, "VAULT_TOKEN": server.token})) as transport:
        yield Counted(transport)


@pytest.fixture
def place(server: Server, request: pytest.FixtureRequest) -> Iterator[Place]:
    mount = request.node.name.replace("[", "-").replace("]", "")[:40]
    assert server.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})[0] == 204
    yield place_of(mount, "", f"{mount}-")


def planned(connection: Counted, folder: Path, place: Place, **how: bool) -> Plan:
    made = make(folder)
    return plan(connection, place, *wishes(made.tree, made.contents, place), **how)


def pushed(connection: Counted, folder: Path, place: Place, **how: bool) -> list[tuple[str, str, str]]:
    found = planned(connection, folder, place, **how)
    carry_out(connection, found)
    return [(change.sign, change.what, change.path.removeprefix(f"{place.mount}/data/")) for change in found.shown()]


def held(server: Server, place: Place, path: str) -> dict[str, Any]:
    status, answer = server.call("GET", place.data(path).replace(" ", "%20").replace("?", "%3F").replace("#", "%23"))
    assert status == 200, answer
    return answer["data"]


def test_everything_goes_over_once(server: Server, connection: Counted, place: Place, tmp_path: Path) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    done = pushed(connection, folder, place)
    assert sorted(path for sign, what, path in done if (sign, what) == ("+", "secret")) == sorted(SECRETS)
    assert [path for _, what, path in done if what == "policy"] == [
        place.policy(name) for name in ("ann", "bob", "nil")
    ]
    one = held(server, place, "a/Db")
    assert one["data"] == {"password": "open sesame", "port": "0x1F"}
    assert one["metadata"]["custom_metadata"] == {"kubevault": "1"} and one["metadata"]["version"] == 1
    two = held(server, place, "b")
    assert two["data"] == {"raw": "AAH/"}
    assert two["metadata"]["custom_metadata"] == {
        "kubevault": "1",
        "kubevault-binary": '["raw"]',
        "kubevault-settings": '{"immutable":true,"labels":{"team":"x"},"type":"t/u"}',
    }
    connection.written.clear()
    assert pushed(connection, folder, place) == [] and connection.written == []


def test_only_what_differs_is_written(server: Server, connection: Counted, place: Place, tmp_path: Path) -> None:
    folder = vault(tmp_path, SECRETS, USERS)
    pushed(connection, folder, place)
    connection.written.clear()
    vault(
        tmp_path,
        {"a/Db": "password: changed\n", "b": "raw: !!binary AAH/\n_kubevault: {type: t/v}\n"},
        {"ann": "a/*\n"},
    )
    assert pushed(connection, folder, place) == [
        ("~", "secret", "a/Db"), ("~", "marks", "b"), ("~", "policy", place.policy("ann")),
    ]  # fmt: skip
    assert [(call.method, call.path.removeprefix(f"{place.mount}/")) for call in connection.written] == [
        ("PUT", f"sys/policies/acl/{place.policy('ann')}"), ("POST", "data/a/Db"), ("PATCH", "metadata/b"),
    ]  # fmt: skip
    assert held(server, place, "a/Db")["metadata"]["version"] == 2
    assert held(server, place, "b")["metadata"]["custom_metadata"]["kubevault-settings"] == '{"type":"t/v"}'


def test_metadata_of_others_stays(server: Server, connection: Counted, place: Place, tmp_path: Path) -> None:
    folder = vault(tmp_path, {"b": SECRETS["b"]})
    pushed(connection, folder, place)
    custom = held(server, place, "b")["metadata"]["custom_metadata"]
    server.call("POST", place.metadata("b"), {"custom_metadata": {**custom, "owner": "ops", "kubevault-binary-2": "x"}})
    vault(tmp_path, {"b": "raw: text\n"})
    pushed(connection, folder, place)
    assert held(server, place, "b")["metadata"]["custom_metadata"] == {"kubevault": "1", "owner": "ops"}


def test_a_change_meanwhile_is_not_overwritten(
    server: Server, connection: Counted, place: Place, tmp_path: Path
) -> None:
    folder = vault(tmp_path, {"a": "k: 1\n", "b": "k: 1\n"})
    pushed(connection, folder, place)
    vault(tmp_path, {"a": "k: mine\n"})
    todo = planned(connection, folder, place)
    server.call("POST", place.data("a"), {"data": {"k": "theirs"}})
    with pytest.raises(BridgeFailed, match="changed by somebody else") as caught:
        carry_out(connection, todo)
    assert "mine" not in str(caught.value) and held(server, place, "a")["data"] == {"k": "theirs"}
    vault(tmp_path, {"new": "k: mine\n"})
    todo = planned(connection, folder, place)
    server.call("POST", place.data("new"), {"data": {"k": "theirs"}})  # made since; cas 0 notices
    with pytest.raises(BridgeFailed):
        carry_out(connection, todo)
    assert held(server, place, "new")["data"] == {"k": "theirs"}


def test_what_others_put_there_is_left_unless_adopted(
    server: Server, connection: Counted, place: Place, tmp_path: Path
) -> None:
    folder = vault(tmp_path, {"a": "k: 1\n", "same": "k: 1\n"}, {"ann": "a\n"})
    server.call("POST", place.data("a"), {"data": {"k": "theirs"}})
    server.call("POST", place.data("same"), {"data": {"k": "1"}})
    server.call("PUT", f"sys/policies/acl/{place.policy('ann')}", {"policy": 'path "x" { capabilities = ["read"] }'})
    with pytest.raises(BridgeFailed) as caught:
        planned(connection, folder, place)
    assert place.data("a") in str(caught.value) and place.policy("ann") in str(caught.value)
    assert place.data("same") not in str(caught.value) and "--adopt" in caught.value.hint
    assert len(pushed(connection, folder, place, adopt=True)) == 3
    assert held(server, place, "a")["data"] == {"k": "1"} and pushed(connection, folder, place) == []


def test_prune_removes_what_a_push_to_this_place_left(
    server: Server, connection: Counted, place: Place, tmp_path: Path
) -> None:
    one = vault(tmp_path / "1", {"x/a": "k: 1\n", "x/b": "k: 1\n"}, {"ann": "**\n", "bob": "**\n"})
    two = vault(tmp_path / "2", {"c": "k: 1\n"}, {"eve": "**\n"})
    other = place._replace(prefix="x/two/")
    pushed(connection, one, place)
    pushed(connection, two, other)
    server.call("POST", place.data("x/foreign"), {"data": {"k": "1"}})
    server.call("PUT", f"sys/policies/acl/{place.policy('admin')}", {"policy": "# by hand"})
    (one / "kvstore/x/a").unlink()
    (one / "access_control/bob").unlink()
    assert pushed(connection, one, place) == [("~", "policy", place.policy("ann"))]
    assert pushed(connection, one, place, prune=True) == [
        ("-", "secret", "x/a"), ("-", "policy", place.policy("bob")),
    ]  # fmt: skip
    assert pushed(connection, one, place, prune=True) == []
    status, gone = server.call("GET", place.data("x/a"))
    assert status == 404 and gone["data"]["metadata"]["deletion_time"]  # softly: it can be taken back
    assert held(server, place, "x/foreign") and held(server, other, "c")
    names = server.call("GET", "sys/policies/acl?list=true")[1]["data"]["keys"]
    assert {place.policy(name) for name in ("ann", "eve", "admin")} <= set(names) and place.policy("bob") not in names
    vault(tmp_path / "1", {"x/a": "k: again\n"})
    assert pushed(connection, one, place)[0] == ("~", "secret", "x/a")
    assert held(server, place, "x/a")["data"] == {"k": "again"}


def test_rights_are_lost_before_and_gained_after_the_secrets(connection: Counted, place: Place, tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a": "k: 1\n", "b": "k: 1\n"}, {"ann": "a\n", "bob": "**\n"})
    pushed(connection, folder, place)
    connection.written.clear()
    vault(tmp_path, {"a": "k: 2\n", "b": "k: 2\n"}, {"ann": "b\n", "bob": "b\n"})
    pushed(connection, folder, place)
    texts = [(call.path, str((call.body or {}).get("policy"))) for call in connection.written]
    at = [path for path, _ in texts]
    ann, bob = (f"sys/policies/acl/{place.policy(name)}" for name in ("ann", "bob"))
    assert at == [ann, bob, place.data("a"), place.data("b"), ann]
    assert 'path "' not in texts[0][1] and place.data("b") in texts[1][1] and place.data("b") in texts[-1][1]


def test_what_cannot_be_pushed_is_told_before_the_first_call(connection: Counted, place: Place, tmp_path: Path) -> None:
    long = {f"a{number}": "x" * 3000 for number in range(15)}
    folder = vault(
        tmp_path,
        {
            "a/+/b": "k: v\n",
            "a*b": "k: v\n",
            "fine": "k: v\n",
            "much": f"k: v\n_kubevault: {{annotations: {long}}}\n",
        },
    )
    made = make(folder)
    with pytest.raises(Invalid) as caught:
        wishes(made.tree, made.contents, place)
    assert [problem.where.rpartition("kvstore/")[2] for problem in caught.value.problems] == ["a/+/b", "a*b", "much"]
    assert connection.written == []
