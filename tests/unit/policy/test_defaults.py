"""The built-in policies."""

import pytest

from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.defaults import BUILT_IN_POLICIES
from strongroom.policy.hcl_format import format as formatted
from strongroom.policy.templating import render


def built_in(name: str, **identity: object) -> Acl:
    return Acl([render(parse_policy(name, BUILT_IN_POLICIES[name]), identity)])


@pytest.mark.parametrize("name", sorted(BUILT_IN_POLICIES))
def test_they_parse_without_warnings_and_are_formatted(name: str) -> None:
    assert not parse_policy(name, BUILT_IN_POLICIES[name]).warnings
    assert formatted(BUILT_IN_POLICIES[name]) == BUILT_IN_POLICIES[name]


@pytest.mark.parametrize(
    ("path", "granted"),
    [
        ("auth/token/lookup-self", ["read"]),
        ("auth/token/renew-self", ["update"]),
        ("auth/token/revoke-self", ["update"]),
        ("sys/capabilities-self", ["update"]),
        ("sys/internal/ui/resultant-acl", ["read"]),
        ("sys/renew", ["update"]),
        ("sys/leases/renew", ["update"]),
        ("sys/leases/lookup", ["update"]),
        ("cubbyhole/x", ["create", "delete", "list", "read", "update"]),
        ("sys/wrapping/unwrap", ["update"]),
        ("sys/tools/hash", ["update"]),
        ("sys/tools/hash/sha2-256", ["update"]),
        ("sys/control-group/request", ["update"]),
        ("identity/oidc/provider/p/authorize", ["read", "update"]),
        ("identity/entity/id/e1", ["read"]),
        ("identity/entity/name/bob", ["read"]),
        ("identity/entity/id/e2", ["deny"]),
        ("auth/token/lookup", ["deny"]),
        ("auth/token/create", ["deny"]),
        ("secret/data/foo", ["deny"]),
        ("sys/leases/revoke", ["deny"]),
    ],
)
def test_default(path: str, granted: list[str]) -> None:
    assert built_in("default", entity={"id": "e1", "name": "bob"}).capabilities(path) == granted


def test_default_without_an_entity_lacks_only_the_entity() -> None:
    acl = built_in("default")
    assert acl.capabilities("auth/token/lookup-self") == ["read"]
    assert acl.capabilities("identity/entity/id/e1") == ["deny"]


def test_response_wrapping_opens_and_nothing_else() -> None:
    acl = built_in("response-wrapping")
    assert acl.capabilities("cubbyhole/response") == ["create", "read"]
    assert acl.capabilities("sys/wrapping/unwrap") == ["update"]
    assert acl.capabilities("auth/token/lookup-self") == acl.capabilities("cubbyhole/other") == ["deny"]
