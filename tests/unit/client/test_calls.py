"""The requests that belong to names."""

import pytest

from strongroom.client import calls
from strongroom.client.messages import Call

CASES = [
    (calls.read("a/b", {"version": "2"}), "GET", "a/b", None),
    (calls.patch("a", {"x": 1}), "PATCH", "a", {"x": 1}),
    (calls.list_keys("a/"), "GET", "a/", None),
    (calls.unseal_reset(), "PUT", "sys/unseal", {"reset": True}),
    (calls.token_create({}, role="r", orphan=True), "POST", "auth/token/create/r", {}),
    (calls.token_create({}, orphan=True), "POST", "auth/token/create-orphan", {}),
    (calls.token_lookup(), "GET", "auth/token/lookup-self", None),
    (calls.token_lookup("t"), "POST", "auth/token/lookup", {"token": "t"}),
    (calls.token_renew(accessor="a", increment="1h"), "POST", "auth/token/renew-accessor", None),
    (calls.token_revoke(), "PUT", "auth/token/revoke-self", {}),
    (calls.token_revoke("t", orphan=True), "PUT", "auth/token/revoke-orphan", {"token": "t"}),
    (calls.rekey_cancel(verify=True), "DELETE", "sys/rekey/verify", None),
    (calls.rekey_cancel("n"), "DELETE", "sys/rekey/init", {"nonce": "n"}),
    (calls.unwrap(), "PUT", "sys/wrapping/unwrap", {}),
    (calls.lease_revoke("p", prefix=True, sync=True), "PUT", "sys/leases/revoke-prefix/p", {"sync": True}),
    (calls.lease_revoke("p", prefix=True, force=True), "PUT", "sys/leases/revoke-force/p", {}),
    (calls.kv_versions("secret/undelete/a", [1, 2]), "PUT", "secret/undelete/a", {"versions": [1, 2]}),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CASES)
def test_calls(call: Call, method: str, path: str, body: object) -> None:
    assert (call.method, call.path) == (method, path)
    assert body is None or call.body == body


def test_kv_paths() -> None:
    assert calls.kv_path("secret/", "data", "/a/b/") == "secret/data/a/b"
    assert calls.kv_path("secret/", "metadata", "") == "secret/metadata"
    assert calls.kv_path("kv/", "", "a") == "kv/a"


def test_content_is_compact_utf8() -> None:
    assert calls.write("a", {"x": "ä"}).content() == '{"x":"ä"}'.encode()
    assert calls.read("a").content() is None
