"""hvac's adapter on login MFA (it has no methods of its own for it), unchanged, against a real server with workers."""

import base64
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest

from server_fixture import Server, running
from strongroom.core.identity.mfa_totp import hotp


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac-mfa")) as one:
        yield one


def code(url: str, step: int) -> str:
    text = parse_qs(urlsplit(url).query)["secret"][0]
    key = base64.b32decode(text + "=" * (-len(text) % 8))
    return hotp(key, step, digits=6, algorithm="SHA1")


def test_a_login_in_two_phases_and_in_one(server: Server) -> None:
    client = hvac.Client(url=server.address, token=server.token)
    client.sys.enable_auth_method("userpass")
    client.auth.userpass.create_or_update_user("bob", "pw", policies="default")
    accessor = client.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
    identity = client.secrets.identity
    entity = identity.create_or_update_entity("bob")["data"]["id"]
    identity.create_or_update_entity_alias("bob", canonical_id=entity, mount_accessor=accessor)
    step = int(time.time()) // 3600  # it and the next are good for the whole test, whenever the hour turns
    fields: dict[str, Any] = {"issuer": "i", "method_name": "phone", "period": "1h"}
    method = client.write_data("identity/mfa/method/totp", data=fields)["data"]["method_id"]
    both = {"method_id": method, "entity_id": entity}
    url = client.write_data("identity/mfa/method/totp/admin-generate", data=both)["data"]["url"]
    rule = {"mfa_method_ids": [method], "auth_method_accessors": [accessor]}
    client.write_data("identity/mfa/login-enforcement/people", data=rule)
    assert client.list("identity/mfa/method/totp")["data"]["keys"] == [method]
    assert client.read("identity/mfa/login-enforcement/people")["data"]["mfa_method_ids"] == [method]

    bob = hvac.Client(url=server.address)
    asked = bob.auth.userpass.login("bob", "pw")["auth"]
    assert (
        asked["client_token"] == "" and asked["mfa_requirement"]["mfa_constraints"]["people"]["any"][0]["id"] == method
    )
    waiting = asked["mfa_requirement"]["mfa_request_id"]
    with pytest.raises(Forbidden):
        bob.write_data("sys/mfa/validate", data={"mfa_request_id": waiting, "mfa_payload": {method: ["000000x"]}})
    first = {"mfa_request_id": waiting, "mfa_payload": {method: [code(url, step)]}}
    bob.token = bob.write_data("sys/mfa/validate", data=first)["auth"]["client_token"]
    assert bob.lookup_token()["data"]["entity_id"] == entity
    with pytest.raises(InvalidRequest):
        hvac.Client(url=server.address).write_data("sys/mfa/validate", data=first)

    header = {"X-Vault-MFA": f"phone:{code(url, step + 1)}"}
    for expected in (200, 403, 403):  # whichever worker takes it
        eve = hvac.Client(url=server.address)
        eve.session.headers.update(header)
        try:
            status = 200 if eve.auth.userpass.login("bob", "pw")["auth"]["client_token"] else 0
        except Forbidden:
            status = 403
        assert status == expected
    client.delete("identity/mfa/login-enforcement/people")
    assert bob.auth.userpass.login("bob", "pw")["auth"]["client_token"]
    assert client.read("identity/mfa/login-enforcement/people") is None
