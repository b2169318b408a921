"""Methods and targets as operations: what Vault's clients send, and what is refused with which words."""

from typing import Any

import pytest

from strongroom.errors import VaultError
from strongroom.sdk.request import Op
from strongroom.server.http_paths import read_target, takes_body
from strongroom.server.http_request import Head, build, meanings
from strongroom.server.http_settings import KEPT_HEADERS, DoorSettings, Proxies

GOOD: list[tuple[bytes, bytes, Op, str, dict[str, Any]]] = [
    (b"GET", b"/v1/secret/data/a", Op.READ, "secret/data/a", {}),
    (b"GET", b"/v1/secret/data/a?version=2&x=%20y+z", Op.READ, "secret/data/a", {"version": "2", "x": " y z"}),
    (b"GET", b"/v1/a?v=1&v=2", Op.READ, "a", {"v": "1"}),
    (b"GET", b"/v1/sys/health?standbyok", Op.READ, "sys/health", {"standbyok": ""}),
    (b"HEAD", b"/v1/sys/health?sealedcode=299", Op.READ, "sys/health", {"sealedcode": "299"}),
    (b"LIST", b"/v1/secret/metadata", Op.LIST, "secret/metadata/", {}),
    (b"LIST", b"/v1/secret/metadata/", Op.LIST, "secret/metadata/", {}),
    (b"LIST", b"/v1/a?after=b&limit=2", Op.LIST, "a/", {"after": "b", "limit": "2"}),
    (b"GET", b"/v1/secret/metadata?list=true", Op.LIST, "secret/metadata/", {}),
    (b"GET", b"/v1/secret/metadata/?list=1", Op.LIST, "secret/metadata/", {}),
    (b"GET", b"/v1/a?list=false", Op.READ, "a", {}),
    (b"GET", b"/v1/a?list=", Op.READ, "a", {}),
    (b"SCAN", b"/v1/a", Op.SCAN, "a/", {}),
    (b"GET", b"/v1/a?scan=T", Op.SCAN, "a/", {}),
    (b"LIST", b"/v1/a?list=true", Op.LIST, "a/", {}),
    (b"GET", b"/v1/a/b?help=1", Op.HELP, "a/b", {}),
    (b"GET", b"/v1/a/?help=1", Op.HELP, "a/", {}),
    (b"HELP", b"/v1/a", Op.HELP, "a", {}),
    (b"POST", b"/v1/a?ignored=1", Op.UPDATE, "a", {}),
    (b"PUT", b"/v1/a", Op.UPDATE, "a", {}),
    (b"DELETE", b"/v1/a?versions=1", Op.DELETE, "a", {"versions": "1"}),
    (b"PATCH", b"/v1/a", Op.PATCH, "a", {}),
    (b"GET", b"/v1/secret/100%25", Op.READ, "secret/100%", {}),
]
BAD: list[tuple[bytes, bytes, int, str]] = [
    (b"GET", b"/v1/a?list=maybe", 400, "list is not a boolean"),
    (b"GET", b"/v1/a?list=1&scan=1", 400, "list and a scan"),
    (b"LIST", b"/v1/a?scan=true", 400, "list and a scan"),
    (b"GET", b"/v1/a/", 400, "cannot read a path ending in '/'"),
    (b"PUT", b"/v1/a/", 400, "cannot write to a path ending in '/'"),
    (b"DELETE", b"/v1/a/", 400, "cannot delete a path ending in '/'"),
    (b"GET", b"/v1/a?x=%FF", 400, "query string"),
    (b"GET", b"/v1/a?" + b"&".join(b"a%d=1" % n for n in range(101)), 400, "query string"),
    (b"GET", b"/v1/a?x=\xff", 400, "query string"),
    (b"GET", b"/", 404, ""),
    (b"GET", b"/ui/", 404, ""),
    (b"GET", b"/v2/a", 404, ""),
    (b"HEAD", b"/v1/a", 405, ""),
    (b"BREW", b"/v1/a", 405, ""),
    (b"OPTIONS", b"/v1/a", 400, "cannot handle internal-only request operation"),
    (b"GET", b"/v1/", 400, "empty segment"),
]


@pytest.mark.parametrize(("method", "target", "op", "path", "data"), GOOD)
def test_good(method: bytes, target: bytes, op: Op, path: str, data: dict[str, Any]) -> None:
    found = read_target(method, target)
    assert (found.op, found.path, found.data, found.fault) == (op, path, data, None)


@pytest.mark.parametrize(("method", "target", "status", "text"), BAD)
def test_bad(method: bytes, target: bytes, status: int, text: str) -> None:
    fault = read_target(method, target).fault
    assert isinstance(fault, VaultError) and fault.status == status and text in str(fault)
    assert fault.messages != ("",)


def request(method: bytes = b"GET", target: bytes = b"/v1/a", body: bytes = b"", **headers: str) -> Any:
    head = Head(method)
    head.target = target
    names = meanings(KEPT_HEADERS)
    for name, value in headers.items():
        meaning = names.get(name.replace("_", "-").lower().encode())
        if meaning is not None:
            head.add(meaning, value.encode())
    return build(head, body, ("1.2.3.4", 5), Proxies(), DoorSettings(), None)


def test_tokens() -> None:
    assert request(X_Vault_Token="a").token == "a"
    assert request(Authorization="Bearer b").token == "b"
    assert request(Authorization="bearer b", x_vault_token="a").token == "a"
    assert request(Authorization="Basic b").token == ""
    assert "authorization" not in request(Authorization="Bearer b").headers


def test_headers_that_are_handed_on() -> None:
    found = request(User_Agent="curl", X_Vault_Token="secret", X_Vault_Request="true", X_Other="x")
    assert found.headers == {"user-agent": "curl", "x-vault-request": "true"} and "secret" not in repr(found)
    assert (found.remote, found.remote_port) == ("1.2.3.4", 5) and len(found.id) == 36


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60s", 60), ("5m", 300), ("0", 0), ("", 0), ("x", None), ("-1", None)]
)
def test_wrap_ttl(text: str, seconds: int | None) -> None:
    found = request(X_Vault_Wrap_TTL=text)
    assert found.wrap_ttl == (seconds or 0) and (found.fault is not None) is (seconds is None)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", ""),
        ("/", ""),
        ("root", ""),
        ("root/", ""),
        ("ns1", "ns1"),
        ("/ns1/ns2/", "ns1/ns2"),
        ("//", ""),
        ("///", "/"),
    ],
)
def test_namespaces(text: str, asked: str) -> None:
    made = request(X_Vault_Namespace=text)
    assert made.fault is None and made.namespace_path == asked and made.namespace == "root"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/merge-patch+json", 0),
        ("Application/Merge-Patch+JSON; x=y", 0),
        ("application/json", 415),
        ("", 400),
    ],
)
def test_patch_needs_its_type(kind: str, status: int) -> None:
    found = request(b"PATCH", body=b"{}", **({"Content_Type": kind} if kind else {}))
    if status:
        assert found.fault.status == status and found.body == b""
        words = "mime: no media type" if status == 400 else "provided application/json"
        assert words in str(found.fault)
    else:
        assert found.fault is None and found.body == b"{}"


def test_bodies_belong_to_writes() -> None:
    assert request(b"POST", body=b"{}").body == b"{}"
    for method in (b"GET", b"DELETE", b"LIST"):
        assert request(method, body=b"{}").body == b""


def test_a_delete_has_a_body_only_where_it_cancels() -> None:
    paths = ("sys/rekey/init", "sys/rekey/verify", "sys/rotate/root/init", "sys/generate-root/attempt")
    assert all(takes_body(Op.DELETE, path) for path in paths)
    assert not any(takes_body(Op.DELETE, path) for path in ("secret/sys/rekey/init", "sys/mounts/a", "sys/rotate"))
    assert takes_body(Op.UPDATE, "a") and not takes_body(Op.LIST, "sys/rekey/init")


def test_a_password_in_the_target_is_not_shown() -> None:
    for target in (b"http://u:hunter2@h/v1/a", b"u:hunter2@h:1", b"http://u:hunter2@h"):
        found = read_target(b"GET", target)
        assert found.fault is not None and "hunter2" not in found.path and found.path.startswith("h")
    assert read_target(b"GET", b"/v1/a@b").path == "a@b"
