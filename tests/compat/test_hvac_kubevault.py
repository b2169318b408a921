"""hvac, unchanged, with a token of a user's policy: it reads what ``can-read`` says, and nothing else."""

import json
from pathlib import Path

import hvac
import pytest
from hvac.exceptions import Forbidden

from kubectl_stub import runner
from kubevault_world import vault
from server_fixture import running

SECRETS: dict[str, str | bytes] = {
    "prod/app/db": "password: open sesame\nport: 0x1F\n",
    "prod/app/db_key": "k: v\n",
    "prod/App/other": "k: v\n_kubevault: {labels: {a: b}}\n",
    "prod/app2/raw": "raw: !!binary AAH/\n",
    "shared/a b": "k: v\n",
    'shared/q"+x': "k: v\n",
    "shared/{x}y": "",
    "top": "k: v\n",
}
USERS = {
    "ann": "**\n!prod/**\nprod/app/*\n!**/*_key\n",
    "bob": "prod/app\nprod/app/\n*\n",
    "cy": "**\n",
    "nil": "nothing/**\n",
}


def test_a_user_reads_what_can_read_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = vault(tmp_path, SECRETS, USERS), runner(capsys)
    place = tmp_path / "server"
    place.mkdir()
    with running(place) as server:
        root = hvac.Client(url=server.address, token=server.token)
        root.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        monkeypatch.setenv("VAULT_ADDR", server.address)
        monkeypatch.setenv("VAULT_TOKEN", server.token)
        pushed = run("push", "--vault-dir", folder, "--mount", "kv", "--prefix", "team")
        assert pushed.code == 0, pushed.err
        seen = set()
        for user in USERS:
            shown = json.loads(run("can-read", user, "--vault-dir", folder, "--format", "json").out)["secrets"]
            token = root.auth.token.create(policies=[f"kubevault-{user}"], no_default_policy=True)["auth"][
                "client_token"
            ]
            kv = hvac.Client(url=server.address, token=token).secrets.kv.v2
            for secret in shown:
                path = f"team/{secret['path']}"
                seen.add((user, secret["allowed"]))
                if secret["allowed"]:
                    answer = kv.read_secret_version(path, mount_point="kv", raise_on_deleted_version=True)
                    assert answer["data"]["metadata"]["custom_metadata"]["kubevault"] == "1"
                else:
                    with pytest.raises(Forbidden):
                        kv.read_secret_version(path, mount_point="kv", raise_on_deleted_version=True)
                for refused in (
                    lambda path=path: kv.read_secret_metadata(path, mount_point="kv"),
                    lambda path=path: kv.create_or_update_secret(path, {"k": "x"}, mount_point="kv"),
                    lambda path=path: kv.delete_latest_version_of_secret(path, mount_point="kv"),
                ):
                    with pytest.raises(Forbidden):
                        refused()
            for folder_path in ("", "team", "team/prod"):
                with pytest.raises(Forbidden):
                    kv.list_secrets(folder_path, mount_point="kv")
        assert seen == {
            ("ann", True), ("ann", False), ("bob", True), ("bob", False), ("cy", True), ("nil", False),
        }  # fmt: skip
        data = root.secrets.kv.v2.read_secret_version(
            "team/prod/app/db", mount_point="kv", raise_on_deleted_version=True
        )
        assert data["data"]["data"] == {"password": "open sesame", "port": "0x1F"}
