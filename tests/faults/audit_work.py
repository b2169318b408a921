"""A program for the recorder: writes secrets through a vault with one audit device, and tells each answer.

python audit_work.py FOLDER FSYNC REQUESTS       FSYNC: true or false, the device's option
"""

import json
import sys
from pathlib import Path

from strongroom import SealConfig, Vault
from strongroom.audit.file import open_sink
from strongroom.errors import BadRequest

LINE = b'{"time":"2030-01-01T00:00:00Z","type":"request"}\n'


def work(folder: str, fsync: str, requests: int) -> None:
    vault = Vault({"memory": {}}, {"audit_dir": folder})
    made = vault.init(SealConfig(1, 1))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log", "fsync": fsync}})
    vault.mount("secret", "kv")
    for number in range(requests):
        vault.write(f"secret/{number}", {"x": number})
        print("ok", number, flush=True)
    vault.close()


def check(folder: Path, told: str) -> None:
    """Every answer that was told has both of its records, and the file can be written on."""
    log = folder / "audit.log"
    found = set()
    for line in log.read_bytes().splitlines() if log.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:  # the end, which nobody was told of
            continue
        if record["type"] != "checkpoint":
            found.add((record["request"]["path"], record["type"]))
    done = {f"secret/{line.split()[1]}" for line in told.splitlines()}
    lost = {(path, kind) for path in done for kind in ("request", "response")} - found
    assert not lost, f"lost {sorted(lost)}"
    try:
        sink = open_sink({"file_path": "audit.log"}, audit_dir=str(folder))
    except BadRequest as refused:  # NUL bytes where the first record was to be: nothing in it was acknowledged
        assert "not an audit log" in str(refused) and not done and log.read_bytes().startswith(bytes(512))
        return
    sink.request(LINE)
    sink.close()
    assert log.read_bytes().endswith(LINE) and LINE.strip() in log.read_bytes().split(b"\n")


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
