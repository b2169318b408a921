"""What an audit line says of a secret that is read again and again: always what was answered."""

from pathlib import Path
from typing import Any

import msgspec

from strongroom import SealConfig, Vault
from strongroom.sdk import Call, Response


def opened(folder: Path) -> Vault:
    vault = Vault({"memory": {}}, {"audit_dir": str(folder)})
    made = vault.init(SealConfig(1, 1))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    vault.mount("secret", "kv", options={"version": "2"})
    vault.write("sys/audit/f", {"type": "file", "options": {"file_path": str(folder / "a.log")}})
    return vault


def shown(vault: Vault, folder: Path) -> dict[str, Any]:
    """The data of the last response record, and what ``audit-hash`` makes of some texts."""
    lines = [msgspec.json.decode(line) for line in (folder / "a.log").read_bytes().splitlines()]
    reads = [line for line in lines if line["type"] == "response" and line["request"]["path"] == "secret/data/a"]
    data: dict[str, Any] = reads[-1]["response"]["data"]
    return data


def hashed(vault: Vault, text: str) -> str:
    answer = vault.write("sys/audit-hash/f", {"input": text}).data
    assert answer is not None
    return str(answer["hash"])


def test_each_record_is_of_the_version_that_was_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as vault:
        for value in ("one", "two", "one"):
            vault.write("secret/data/a", {"data": {"x": value}})
            for _ in range(4):
                answer = vault.read("secret/data/a")
                assert answer is not None and answer.data is not None and answer.data["data"] == {"x": value}
                record = shown(vault, tmp_path)
                assert record["data"] == {"x": hashed(vault, value)}
                assert record["metadata"]["version"] == answer.data["metadata"]["version"]
            first = vault.read("secret/data/a", {"version": 1})
            assert first is not None and first.data is not None and first.data["data"] == {"x": "one"}
            assert shown(vault, tmp_path)["metadata"]["version"] == 1


def test_metadata_and_deletion_show_in_the_next_record(tmp_path: Path) -> None:
    with opened(tmp_path) as vault:
        vault.write("secret/data/a", {"data": {"x": "1"}})
        for _ in range(3):
            vault.read("secret/data/a")
        vault.write("secret/metadata/a", {"custom_metadata": {"owner": "ann"}})
        for _ in range(3):
            answer = vault.read("secret/data/a")
            assert answer is not None and answer.data is not None
            assert answer.data["metadata"]["custom_metadata"] == {"owner": "ann"}
            assert shown(vault, tmp_path)["metadata"]["custom_metadata"] == {"owner": hashed(vault, "ann")}
        vault.delete("secret/data/a")
        gone = vault.read("secret/data/a")
        assert gone is not None and gone.data is not None and gone.data["data"] is None


def test_what_a_handler_changes_is_what_is_recorded(tmp_path: Path) -> None:
    class Louder:
        times = 0

        async def post_route(self, call: Call, response: Response) -> Response:
            if call.request.path != "secret/data/a" or response.data is None or "data" not in response.data:
                return response
            self.times += 1
            response.data["data"]["x"] = f"changed {self.times}"
            return response

    with opened(tmp_path) as vault:
        vault.write("secret/data/a", {"data": {"x": "1"}})
        for _ in range(3):
            vault.read("secret/data/a")
        vault.add_handler(Louder())
        for turn in (1, 2, 3):
            answer = vault.read("secret/data/a")
            assert answer is not None and answer.data is not None and answer.data["data"]["x"] == f"changed {turn}"
            assert shown(vault, tmp_path)["data"] == {"x": hashed(vault, f"changed {turn}")}


def test_changing_an_answer_changes_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as vault:
        vault.write("secret/data/a", {"data": {"x": "1"}})
        for _ in range(3):
            answer = vault.read("secret/data/a")
            assert answer is not None and answer.data is not None
            assert answer.data["data"] == {"x": "1"} and answer.data["metadata"]["version"] == 1
            answer.data["data"]["x"] = answer.data["metadata"]["version"] = "spoilt"
