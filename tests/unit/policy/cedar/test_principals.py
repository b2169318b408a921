"""Who a caller is to Cedar."""

import pytest

from strongroom.policy.cedar.principals import principal_of
from strongroom.sdk.request import Caller


def who(service: str = "", **fields: object) -> tuple[str, str]:
    caller = Caller(accessor="acc", policies=(), **fields)  # type: ignore[arg-type]
    found = principal_of(caller, service)
    return found.kind, found.name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("User", "token-acc")),
        ({"entity_id": "e", "entity_name": "bob"}, ("User", "bob")),
        ({"auth_type": "userpass", "auth_path": "auth/userpass/", "entity_name": "bob"}, ("User", "bob")),
        (
            {"auth_type": "approle", "auth_path": "auth/approle/", "metadata": {"role_name": "ci"}, "entity_name": "x"},
            ("Service", "ci"),
        ),
        (
            {"auth_type": "approle", "auth_path": "auth/team/apps/", "metadata": {"role_name": "ci"}},
            ("Service", "team/apps/ci"),
        ),
        ({"auth_type": "jwt", "auth_path": "auth/jwt/", "metadata": {"role": "deploy"}}, ("Service", "jwt/deploy")),
        (
            {
                "auth_type": "kubernetes",
                "auth_path": "auth/k8s/",
                "metadata": {"service_account_namespace": "prod", "service_account_name": "web"},
            },
            ("Service", "k8s/prod/web"),
        ),
        ({"auth_type": "approle", "auth_path": "auth/approle/", "entity_name": "x"}, ("User", "x")),
        (
            {"auth_type": "oidc", "auth_path": "auth/oidc/", "metadata": {"role": "r"}, "entity_name": "b"},
            ("User", "b"),
        ),
    ],
)
def test_who_a_caller_is(fields: dict[str, object], expected: tuple[str, str]):
    assert who(**fields) == expected


def test_an_entity_that_is_called_a_service_is_one_whatever_it_logged_in_by():
    assert who("github-actions", auth_type="userpass", auth_path="auth/userpass/", entity_name="bob") == (
        "Service",
        "github-actions",
    )


def test_metadata_that_a_caller_gave_its_own_token_names_no_service():
    chosen = {"role_name": "ci", "role": "ci", "service": "ci"}
    assert who(auth_type="token", auth_path="auth/token/", metadata=chosen, entity_name="eve") == ("User", "eve")
    assert who(auth_type="userpass", auth_path="auth/userpass/", metadata=chosen, entity_name="eve") == ("User", "eve")
    assert who(auth_type="approle", auth_path="auth/approle/", metadata=chosen) == ("Service", "ci")
