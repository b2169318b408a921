"""The supervisor before it starts anything: swap."""

import pytest

from strongroom.crypto.hardening import HardeningReport
from strongroom.errors import BadRequest
from strongroom.server import supervisor
from strongroom.server.config import ServerConfig, load


def report(*, swap: bool) -> HardeningReport:
    return HardeningReport(True, True, False, swap, ())


@pytest.mark.parametrize(
    ("swap", "refuse", "refused"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_swap_is_refused_where_the_configuration_says_so(
    monkeypatch: pytest.MonkeyPatch, swap: bool, refuse: bool, refused: bool
) -> None:
    monkeypatch.setattr(supervisor, "harden_process", lambda **_: report(swap=swap))
    made = supervisor.Supervisor(ServerConfig(refuse_swap=refuse))
    told: list[str] = []
    monkeypatch.setattr(made.log, "warn", told.append)
    if refused:
        with pytest.raises(BadRequest, match="refuse_swap"):
            made._harden()
    else:
        made._harden()
    assert bool(told) == (swap and not refuse)


def test_an_entry_is_never_larger_than_the_stores_take(tmp_path: object) -> None:
    base = 'storage "inmem" {}\nlistener "tcp" { address = "127.0.0.1:0" tls_disable = true }\n'
    for size, fits in (("1048576", True), ("1048577", False), ("1024", True), ("1023", False)):
        file = tmp_path / "c.hcl"  # type: ignore[operator]
        file.write_text(base + f"max_entry_size = {size}\n")
        if fits:
            assert load([str(file)], {}).max_entry_size == int(size)
        else:
            with pytest.raises(BadRequest, match="max_entry_size"):
                load([str(file)], {})
