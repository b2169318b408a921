"""Configuration: the same server in TOML, HCL and JSON, what is refused and where, what the environment overrides."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.server.config import ServerConfig, Storage, load
from strongroom.server.config_check import check_config
from strongroom.server.vault_node import audit_folder

HCL = """
storage "lmdb" { path = "/srv/data" }
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_disable = "true"
  max_request_size = 1048576
  max_request_duration = "30s"
  x_forwarded_for_authorized_addrs = "10.0.0.0/8, 192.168.1.1"
  x_forwarded_for_hop_skips = 1
  custom_response_headers {
    "default" = { "X-Frame-Options" = ["DENY"] }
    "4xx" = { "X-No" = ["a", "b"] }
  }
}
listener "unix" { address = "/run/strongroom.sock" socket_mode = "0660" }
audit "file" "main" { file_path = "audit.log" fsync = true }
audit "file" { path = "second/" options { file_path = "stdout" } }
default_lease_ttl = "24h"
max_lease_ttl = "768h"
api_addr = "http://vault:8200"
disable_mlock = true
ui = true
log_level = "DEBUG"
workers = 3
audit_required = true
telemetry { disable_hostname = true }
"""
TOML = """
default_lease_ttl = "24h"
max_lease_ttl = "768h"
api_addr = "http://vault:8200"
disable_mlock = true
ui = true
log_level = "debug"
workers = 3
audit_required = true
telemetry = { disable_hostname = true }
[storage.lmdb]
path = "/srv/data"
[[listener]]
[listener.tcp]
address = "0.0.0.0:8200"
tls_disable = true
max_request_size = 1048576
max_request_duration = 30
x_forwarded_for_authorized_addrs = ["10.0.0.0/8", "192.168.1.1"]
x_forwarded_for_hop_skips = 1
[listener.tcp.custom_response_headers.default]
X-Frame-Options = ["DENY"]
[listener.tcp.custom_response_headers.4xx]
X-No = ["a", "b"]
[[listener]]
[listener.unix]
address = "/run/strongroom.sock"
socket_mode = "0660"
[audit.file.main]
file_path = "audit.log"
fsync = true
[audit.file.second]
options = { file_path = "stdout" }
"""


def read(tmp_path: Path, text: str, name: str = "c.hcl", environ: dict[str, str] | None = None) -> ServerConfig:
    (tmp_path / name).write_text(text)
    return load([str(tmp_path / name)], environ or {})


def test_hcl(tmp_path: Path) -> None:
    config = read(tmp_path, HCL)
    tcp, unix = config.listeners
    shown = config.sanitized()["listeners"][0]["config"]
    assert shown["address"] == "0.0.0.0:8200" and shown["proxy_protocol_behavior"] == ""
    assert (config.storage.kind, config.storage.options) == ("lmdb", {"path": "/srv/data"})
    assert (tcp.address, tcp.tls, tcp.host_port()) == ("0.0.0.0:8200", None, ("0.0.0.0", 8200))
    assert tcp.url() == "http://127.0.0.1:8200" and unix.url() == "unix:///run/strongroom.sock"
    assert (tcp.limits.max_request_size, tcp.limits.max_request_duration) == (1048576, 30)
    assert tcp.proxies().client("10.1.2.3", 1, "9.9.9.9, 8.8.8.8") == ("9.9.9.9", 1)
    assert tcp.headers == {"default": {"X-Frame-Options": "DENY"}, "4xx": {"X-No": "a; b"}}
    assert (unix.address, unix.socket_mode) == ("/run/strongroom.sock", 0o660)
    first, second = config.audit
    assert (first.path, first.options) == ("main/", {"file_path": "audit.log", "fsync": "true"})
    assert (second.path, second.options) == ("second/", {"file_path": "stdout"})
    assert (config.default_lease_ttl, config.max_lease_ttl) == (86400, 2764800)
    assert (config.workers, config.worker_count, config.log_level, config.audit_required) == (3, 3, "debug", True)
    assert config.warnings == ()


def test_toml_is_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, TOML, "c.toml") == read(tmp_path, HCL)


def test_json_as_hvac_writes_it(tmp_path: Path) -> None:
    text = (
        '{"backend":{"inmem":{}},"listener":{"tcp":{"address":"127.0.0.1:1","tls_disable":1}},'
        '"disable_mlock":true,"default_lease_ttl":"768h","max_lease_ttl":"768h"}'
    )
    config = read(tmp_path, text, "c.json")
    assert config.storage.kind == "inmem" and config.listeners[0].address == "127.0.0.1:1" and config.disable_mlock
    several = '{"storage":{"file":{"path":"d"}},"listener":[{"tcp":{"address":":1","tls_disable":true}},'
    several += '{"tcp":{"address":"[::1]:2","tls_disable":true}}],"audit":{"file":{"n":{"file_path":"z"}}}}'
    config = read(tmp_path, several, "c.json")
    assert [one.host_port() for one in config.listeners] == [("", 1), ("::1", 2)]
    assert config.storage.options["path"].endswith("/d") and config.audit[0].path == "n/"


def test_how_long_a_worker_may_stand_still(tmp_path: Path) -> None:
    base = 'storage "inmem" {}\nlistener "unix" { address = "/s" }\n'
    assert read(tmp_path, base).worker_timeout == 30
    for text, seconds in (("0", 0), ('"2m"', 120), ("3", 3)):
        assert read(tmp_path, f"{base}worker_timeout = {text}").worker_timeout == seconds
    assert read(tmp_path, base, environ={"STRONGROOM_WORKER_TIMEOUT": "45s"}).worker_timeout == 45
    for text in ("2", '"-5s"', '"soon"'):
        with pytest.raises(BadRequest, match="worker_timeout"):
            read(tmp_path, f"{base}worker_timeout = {text}")


def test_spring_writes_an_empty_backend_block(tmp_path: Path) -> None:
    text = (
        'backend "inmem" {\n}\nlistener "tcp" {\n address = "0.0.0.0:8200"\n tls_disable = 1\n}\ndisable_mlock = true'
    )
    assert read(tmp_path, text).storage.kind == "inmem"


def test_folder_and_environment(tmp_path: Path) -> None:
    (tmp_path / "a.hcl").write_text('storage "inmem" {}\nlog_level = "info"\nlistener "unix" { address = "/s" }')
    (tmp_path / "b.json").write_text('{"log_level": "error", "workers": 2}')
    (tmp_path / "ignored.txt").write_text("nonsense {")
    environ = {
        "STRONGROOM_WORKERS": "7",
        "STRONGROOM_AUDIT_DIR": "/",
        "STRONGROOM_AUDIT_REQUIRED": "true",
        "STRONGROOM_MAX_LEASE_TTL": "2000h",
        "VAULT_API_ADDR": "http://a",
        "VAULT_LOCAL_CONFIG": '{"ui": true, "listener": {"tcp": {"tls_disable": true}}}',
    }
    config = load([str(tmp_path)], environ)
    assert (config.log_level, config.workers, config.audit_dir, config.audit_required) == ("error", 7, "/", True)
    assert config.api_addr == "http://a" and config.ui and config.max_lease_ttl == 7_200_000
    assert [one.kind for one in config.listeners] == ["unix", "tcp"]
    assert config.listeners[1].address == "127.0.0.1:8200"


def test_unknown_keys_warn(tmp_path: Path) -> None:
    config = read(tmp_path, 'storage "inmem" {}\nlistener "tcp" { tls_disable=1 nope=2 }\nbogus = "canary"')
    assert len(config.warnings) == 2 and all("is ignored" in line for line in config.warnings)
    assert "line 3" in config.warnings[0] and "canary" not in repr(config.warnings)


def test_the_header_with_a_clients_certificate(tmp_path: Path) -> None:
    text = 'storage "inmem" {}\nlistener "tcp" { tls_disable = true\n x_forwarded_for_authorized_addrs = "10.0.0.1"\n'
    config = read(tmp_path, text + 'x_forwarded_for_client_cert_header = "X-C"\n}')
    assert config.listeners[0].proxies().certificate_header == "x-c" and not config.warnings
    more = 'x_forwarded_for_client_cert_header = "X-C"\nx_forwarded_for_client_cert_header_decoders = "url, DER"\n}'
    assert read(tmp_path, text + more).listeners[0].proxies().certificate_decoders == ("URL", "DER")


GOOD = 'storage "inmem" {}\nlistener "tcp" { tls_disable = true }\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('storage "inmem" {}', "no listener"),
        ('listener "tcp" { tls_disable = true }', "no storage"),
        ('storage "etcd" {}\nlistener "tcp" { tls_disable = true }', "unknown kind; supported are"),
        ('storage "lmdb" {}\nlistener "tcp" { tls_disable = true }', "needs a path"),
        ('storage "inmem" {}\nlistener "tcp" {}', "line 2: listener \"tcp\": needs tls_cert_file"),
        ('storage "inmem" {}\nlistener "quic" {}', "supported are tcp and unix"),
        ('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n address = "::1:8200" }', "brackets"),
        ('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n address = "a:b" }', "host:port"),
        ('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n max_request_size = "x" }', "line 3: listener"),
        ('storage "inmem" {}\nlistener "unix" { address = "/s" socket_mode = "9" }', "octal"),
        ('storage "inmem" {}\nlistener "tcp" { tls_disable = "maybe" }', "must be true or false"),
        ('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n x_forwarded_for_client_cert_header = "X-C" }',
         "needs x_forwarded_for_authorized_addrs"),
        (('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n x_forwarded_for_authorized_addrs = "10.0.0.1"\n'
         'x_forwarded_for_client_cert_header = "Authorization" }'), "has another meaning"),
        (('storage "inmem" {}\nlistener "tcp" { tls_disable = true\n x_forwarded_for_authorized_addrs = "10.0.0.1"\n'
         'x_forwarded_for_client_cert_header = "X-C"\n x_forwarded_for_client_cert_header_decoders = "ROT13" }'),
         "are URL, BASE64 and DER"),
        (GOOD + 'default_lease_ttl = "800h"', "longer than max_lease_ttl"),
        (GOOD + 'max_lease_ttl = "soon"', "line 3: max_lease_ttl must be a duration"),
        (GOOD + 'log_level = "loud"', "log_level must be one of"),
        (GOOD + "workers = 1000", "workers must be between"),
        (GOOD + 'workers = 1\nworkers = 2', "line 4: 'workers' is set twice"),
        (GOOD + 'ui = {', "line 3"),
        (GOOD + 'audit "file" "a" "b" {}', "at most two labels"),
        (GOOD + 'listener "tcp" { tls_disable=1 tls_min_version="tls10" }\nlistener "tcp" {tls_cert_file="a" '
                'tls_key_file="b" tls_min_version="tls10"}', "tls12 or tls13"),
    ],
)  # fmt: skip
def test_refused_with_its_place(tmp_path: Path, text: str, wanted: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(tmp_path, text)
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ('audit "file" "x" { file_path = "/elsewhere/audit.log" }', 'audit device "x": file_path must lie inside'),
        ('audit "file" { path = "n" options { path = "../a" } }', 'audit device "n": file_path must name a file'),
        ('audit "pigeon" "s" { address = "x" }', "no plug-in 'pigeon'"),
        ('audit "file" "x" { file_path = "a" log_raw = true }', "log_raw is not supported"),
        ('audit "file" "x" { description = "no target" }', "file_path is required"),
        ('audit "file" "x" { file_path = "a" }', ""),
        ('audit "file" "x" { file_path = "stdout" }', ""),
        ('audit "file" "x" { file_path = "/elsewhere/audit.log" }\naudit_dir = "/"', ""),
    ],
)
def test_audit_devices_that_can_never_work(tmp_path: Path, device: str, wanted: str) -> None:
    path = tmp_path / "c.hcl"
    path.write_text(f'storage "file" {{ path = "{tmp_path}/data" }}\nlistener "tcp" {{ tls_disable = 1 }}\n{device}\n')
    problems = check_config(str(path), {})
    assert len(problems) == bool(wanted) and all(wanted in problem for problem in problems)


def test_where_audit_files_go_when_nothing_is_said(tmp_path: Path) -> None:
    kept = ServerConfig(storage=Storage(kind="lmdb", options={"path": str(tmp_path / "data")}))
    private = ServerConfig(storage=Storage(kind="inmem", options={"path": "/dev/shm/x"}))  # noqa: S108
    assert (audit_folder(kept), audit_folder(private)) == (str(tmp_path), os.getcwd())


def test_file_problems_are_no_tracebacks(tmp_path: Path) -> None:
    assert "No such file" in check_config(str(tmp_path / "none.hcl"), {})[0]
    (tmp_path / "bad.toml").write_text('token = "canary-secret')
    (problem,) = check_config(str(tmp_path / "bad.toml"), {})
    assert "not valid TOML" in problem and "canary" not in problem
    (tmp_path / "bin.hcl").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in check_config(str(tmp_path / "bin.hcl"), {})[0]
    (tmp_path / "tls.hcl").write_text('storage "inmem" {}\nlistener "tcp" { tls_cert_file="x" tls_key_file="y" }')
    assert any("cannot be read" in line for line in check_config(str(tmp_path / "tls.hcl"), {}))
    (tmp_path / "good.hcl").write_text(GOOD + "typo = 1")
    (problem,) = check_config(str(tmp_path / "good.hcl"), {})
    assert problem.startswith("warning: ")


def test_repr_shows_no_value(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD + 'telemetry { circonus_api_token = "canary" }\ncluster_name = "canary"')
    assert "canary" not in repr(config) and "canary" not in repr(config.storage)


KEYS = (
    "storage backend listener audit telemetry workers ui log_level max_lease_ttl version custom_response_headers tcp "
    "unix lmdb inmem file address tls_disable max_request_size options path socket_mode "
    "x_forwarded_for_authorized_addrs"
).split()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1s", "inmem", "/x", ":1"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6))
def test_any_values_are_a_configuration_or_refused(tmp_path: Path, tree: dict[str, object]) -> None:
    (tmp_path / "f.json").write_text(json.dumps(tree))
    for partial in (False, True):
        try:
            config = load([str(tmp_path / "f.json")], {}, partial=partial)
        except BadRequest:
            continue
        assert msgspec.convert(msgspec.to_builtins(config), ServerConfig) == config, "workers get it in this form"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.sampled_from(["f.toml", "f.hcl", "f.json"]))
def test_any_text_is_a_configuration_or_refused(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(BadRequest):
        load([str(tmp_path / name)], {})
