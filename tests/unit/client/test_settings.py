"""Settings out of environment variables."""

import pytest

from strongroom.client import settings
from strongroom.errors import BadRequest


def test_the_first_prefix_that_is_set_counts() -> None:
    environ = {"VAULT_ADDR": "http://v", "BAO_ADDR": "http://b", "STRONGROOM_ADDR": ""}
    assert settings.from_environment(environ).address == "http://b"
    assert settings.from_environment({**environ, "STRONGROOM_ADDR": "http://s"}).address == "http://s"
    assert settings.variable_name(environ, "ADDR") == "BAO_ADDR"


def test_defaults() -> None:
    found = settings.from_environment({})
    assert (found.address, found.timeout, found.max_retries) == ("https://127.0.0.1:8200", 60.0, 2)


def test_every_variable_has_its_place() -> None:
    found = settings.from_environment(
        {
            "VAULT_TOKEN": " hvs.x\n",
            "VAULT_NAMESPACE": "ns/",
            "VAULT_CACERT": "ca",
            "VAULT_CACERT_BYTES": "pem",
            "VAULT_CAPATH": "dir",
            "VAULT_CLIENT_CERT": "cert",
            "VAULT_CLIENT_KEY": "key",
            "VAULT_TLS_SERVER_NAME": "name",
            "VAULT_SKIP_VERIFY": "1",
            "VAULT_MAX_RETRIES": "5",
            "VAULT_CLIENT_TIMEOUT": "2m",
            "VAULT_WRAP_TTL": "5m",
            "VAULT_HTTP_PROXY": "http://a",
            "VAULT_PROXY_ADDR": "http://b",
        }
    )
    assert found == settings.Settings(
        address="https://127.0.0.1:8200",
        token="hvs.x",
        namespace="ns/",
        wrap_ttl="5m",
        ca_cert="ca",
        ca_bytes="pem",
        ca_path="dir",
        client_cert="cert",
        client_key="key",
        tls_server_name="name",
        skip_verify=True,
        proxy="http://b",
        max_retries=5,
        timeout=120.0,
    )


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("60s", 60), ("500ms", 0.5), ("2m", 120), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert settings.parse_seconds(text, "x") == seconds


@pytest.mark.parametrize(
    "environ",
    [
        {"VAULT_SKIP_VERIFY": "hunter2"},
        {"VAULT_MAX_RETRIES": "-1"},
        {"VAULT_MAX_RETRIES": "99999"},
        {"VAULT_CLIENT_TIMEOUT": "hunter2"},
        {"VAULT_CLIENT_TIMEOUT": "-5s"},
        {"BAO_CLIENT_TIMEOUT": "nan"},
    ],
)
def test_wrong_values_name_the_variable_only(environ: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        settings.from_environment(environ)
    assert next(iter(environ)) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_repr_shows_no_token() -> None:
    assert "hvs" not in repr(settings.Settings(token="hvs.x"))
