"""The commands of docs/kubevault/bridge.md run against a real server, and print what the page says."""

from pathlib import Path

from server_fixture import development
from test_docs_kubevault import _BLOCK, PAGES, run


def test_the_commands_that_need_a_server(tmp_path: Path) -> None:
    (page,) = (page for page in PAGES if page.name == "bridge.md")
    server_folder, folder = tmp_path / "server", tmp_path / "work"
    server_folder.mkdir()
    folder.mkdir()
    printed, ran = "", 0
    with development(server_folder) as server:
        given = f"export VAULT_ADDR={server.address} VAULT_TOKEN={server.token}\n"
        for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "sh server":
                done = run(given + "set -e\n" + text, folder)
                assert done.returncode == 0 and "error:" not in done.stderr, f"{text}\n{done.stdout}{done.stderr}"
                printed = done.stdout
                ran += 1
            elif kind == "text":
                assert text in printed
    assert ran >= 3
