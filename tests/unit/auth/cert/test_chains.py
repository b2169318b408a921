"""What makes a chain, each refusal beside what is accepted."""

import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certificates import CLIENT, DAY, SERVER, Made, at, make
from engine_harness import START
from strongroom.auth.cert.chains import chain, exact

ROOT = make("root", ca=True)
BETWEEN = ROOT.sign("between", ca=True)


def leads(leaf: Made, *sent: Made, to: Made = ROOT, now: float = START) -> bool:
    found = chain(leaf.certificate, [one.certificate for one in sent], [to.certificate], now)
    return found is not None


def test_accepted() -> None:
    assert (
        leads(ROOT.sign("a"))
        and leads(ROOT.sign("a", usage=[CLIENT]))
        and leads(ROOT.sign("a", usage=[SERVER, CLIENT]))
    )
    assert leads(BETWEEN.sign("a"), BETWEEN) and leads(BETWEEN.sign("a"), to=BETWEEN)
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        assert leads(make("r", ca=True, key=key).sign("a"), to=make("r", ca=True, key=key))
    assert leads(ROOT.sign("a", key=ed25519.Ed25519PrivateKey.generate()))


def key_usage(*, sign: bool) -> tuple[x509.ExtensionType, bool]:
    return x509.KeyUsage(True, False, False, False, False, sign, sign, False, False), True


def constrained(*names: str) -> Made:
    limits = x509.NameConstraints([x509.DNSName(name) for name in names], None)
    return make("limited", ca=True, extensions=[(limits, True)])


WEAK = rsa.generate_private_key(65537, 1024)
LIMITED, SHORT = constrained("ok.example"), make("short", ca=True, path_length=0)
DEEP = SHORT.sign("deep", ca=True)
REFUSED: dict[str, Callable[[], bool]] = {
    "another root": lambda: leads(make("root", ca=True).sign("a")),
    "self-signed": lambda: leads(make("a")),
    "no intermediate": lambda: leads(BETWEEN.sign("a")),
    "issuer is no CA": lambda: leads((plain := ROOT.sign("plain")).sign("a"), plain),
    "pinned leaf as issuer": lambda: leads((plain := make("plain")).sign("a"), to=plain),
    "for servers": lambda: leads(ROOT.sign("a", usage=[SERVER])),
    "authority for servers": lambda: leads((one := ROOT.sign("s", ca=True, usage=[SERVER])).sign("a"), one),
    "may not sign": lambda: leads((one := ROOT.sign("s", ca=True, extensions=[key_usage(sign=False)])).sign("a"), one),
    "path length": lambda: leads(DEEP.sign("a"), DEEP, to=SHORT),
    "name constraint": lambda: leads(LIMITED.sign("a", sans=[x509.DNSName("bad.example")]), to=LIMITED),
    "expired": lambda: leads(ROOT.sign("a", until=at(-1))),
    "not yet": lambda: leads(ROOT.sign("a", since=at(10))),
    "expired root": lambda: leads((old := make("old", ca=True, until=at(-1))).sign("a"), to=old),
    "weak root": lambda: leads((weak := make("w", ca=True, key=WEAK)).sign("a"), to=weak),
    "unknown critical": lambda: leads(ROOT.sign("a", extensions=[(x509.OCSPNoCheck(), True)])),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_refused(why: str) -> None:
    assert not REFUSED[why]()


def test_controls_of_the_refusals() -> None:
    assert leads((one := ROOT.sign("s", ca=True, extensions=[key_usage(sign=True)])).sign("a"), one)
    assert leads(SHORT.sign("a"), to=SHORT)
    assert leads(LIMITED.sign("a", sans=[x509.DNSName("x.ok.example")]), to=LIMITED)
    assert leads(ROOT.sign("a", until=at(10), since=at(-10)))
    assert not leads(ROOT.sign("a", until=at(10)), now=START + 11)


def test_a_maze_of_paths_is_not_searched() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    maze = [make("maze", issuer=make("maze", ca=True, key=key), ca=True, key=key) for _ in range(16)]
    begun = time.process_time()
    assert not leads(maze[0].sign("a"), *maze)
    assert time.process_time() - begun < 0.5


def test_exact_wants_every_byte() -> None:
    pinned = make("a", usage=[CLIENT])
    again = make("a", key=pinned.key, serial=pinned.certificate.serial_number, usage=[CLIENT])
    assert exact(pinned.certificate, [pinned.certificate], START) is not None
    assert exact(again.certificate, [pinned.certificate], START) is None
    assert exact(pinned.certificate, [pinned.certificate], START + 2001 * DAY.total_seconds()) is None
    assert exact((server := make("a", usage=[SERVER])).certificate, [server.certificate], START) is None
