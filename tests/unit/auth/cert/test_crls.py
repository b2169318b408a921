"""Revocation lists: given, fetched, renewed, and never gone by when they cannot be."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import Made, at, make
from contracts.login_harness import Door
from strongroom.auth.cert import Cert
from strongroom.errors import BadRequest, NotFound, Unreachable, VaultError
from strongroom.sdk.outside import Fetched

URL = "http://ca.example/root.crl"
ROOT = make("root", ca=True)
GOOD, BAD = ROOT.sign("good"), ROOT.sign("bad")
BAD_SERIAL = BAD.certificate.serial_number


class Web:
    """What is published at URL; counts who asks."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content, self.asked = content, 0

    async def __call__(self, method: str, url: str, **more: Any) -> Fetched:
        self.asked += 1
        assert (method, url) == ("GET", URL)
        if self.content is None:
            raise Unreachable("ca.example does not answer")
        return Fetched(200, {}, self.content)


def pem(crl: bytes) -> str:
    return x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM).decode()


async def door(web: Web | None = None) -> Door:
    one = Door(Cert, kind="cert", **({"fetch": web} if web else {}))
    await one.write("certs/r", {"certificate": ROOT.pem})
    return one


async def enters(door: Door, who: Made) -> bool:
    try:
        return (await door.write("login", {}, certificate=who.der)).auth is not None
    except BadRequest:
        return False


@pytest.mark.parametrize("form", ["pem", "base64"])
async def test_a_given_list(form: str) -> None:
    one, crl = await door(), ROOT.crl(BAD_SERIAL, 7)
    assert await enters(one, BAD)
    await one.write("crls/Root", {"crl": pem(crl) if form == "pem" else base64.b64encode(crl).decode()})
    assert not await enters(one, BAD) and await enters(one, GOOD)
    assert await one.read("crls/root") == {"serials": {str(n): {} for n in (BAD_SERIAL, 7)}, "cdp": None}
    assert await one.list("crls") == ["root"]
    await one.delete("crls/root")
    assert await enters(one, BAD)
    with pytest.raises(NotFound):
        await one.read("crls/root")


async def test_the_number_counts_for_its_issuer_only() -> None:
    one, other = await door(), make("other", ca=True)
    await one.write("crls/other", {"crl": pem(other.crl(BAD_SERIAL))})
    assert await enters(one, BAD)


async def test_a_revoked_intermediate_and_a_pinned_certificate() -> None:
    one, between = await door(), ROOT.sign("between", ca=True)
    leaf = between.sign("leaf")
    await one.write("certs/pin", {"certificate": BAD.pem})
    assert (await one.write("login", {}, certificate=leaf.der, chain=(between.der,))).auth
    await one.write("crls/root", {"crl": pem(ROOT.crl(BAD_SERIAL, between.certificate.serial_number))})
    with pytest.raises(BadRequest):
        await one.write("login", {}, certificate=leaf.der, chain=(between.der,))
    assert not await enters(one, BAD)


async def test_an_old_given_list_still_revokes() -> None:
    one = await door()
    await one.write("crls/root", {"crl": pem(ROOT.crl(BAD_SERIAL, until=60))})
    one.clock.tick(3600)
    assert not await enters(one, BAD) and await enters(one, GOOD)


async def test_a_fetched_list_is_renewed_before_it_ends() -> None:
    web = Web(ROOT.crl(since=0, until=1000))
    one = await door(web)
    await one.write("crls/root", {"url": URL})
    assert await enters(one, BAD) and web.asked == 1
    web.content = ROOT.crl(BAD_SERIAL, since=400, until=2000)
    one.clock.tick(400)
    assert await enters(one, BAD) and web.asked == 1  # not due
    one.clock.tick(200)
    assert not await enters(one, BAD) and await enters(one, GOOD) and web.asked == 2
    assert (await one.read("crls/root"))["cdp"]["url"] == URL


async def test_a_list_that_cannot_be_renewed_holds_until_it_ends_and_then_nobody_enters() -> None:
    web = Web(ROOT.crl(BAD_SERIAL, since=0, until=1000))
    one = await door(web)
    await one.write("crls/root", {"url": URL})
    web.content = None
    one.clock.tick(999)
    assert await enters(one, GOOD) and not await enters(one, BAD)
    assert web.asked == 2  # once a minute at most
    one.clock.tick(1)
    assert not await enters(one, GOOD)
    one.clock.tick(60)
    web.content = ROOT.crl(since=1000, until=5000)
    assert await enters(one, GOOD)


async def test_an_older_list_does_not_take_the_place_of_a_newer() -> None:
    web = Web(ROOT.crl(BAD_SERIAL, since=-10, until=1000))
    one = await door(web)
    await one.write("crls/root", {"url": URL})
    web.content = ROOT.crl(since=-20, until=100_000)
    one.clock.tick(900)
    assert not await enters(one, BAD) and web.asked == 2


async def test_a_fetched_list_that_its_issuer_did_not_sign_lets_nobody_in() -> None:
    web = Web(ROOT.crl(key=ec.generate_private_key(ec.SECP256R1())))
    one = await door(web)
    await one.write("crls/root", {"url": URL})
    assert not await enters(one, GOOD)
    await one.delete("crls/root")
    assert await enters(one, GOOD)


async def test_a_fetched_list_may_come_as_pem() -> None:
    one = await door(Web(pem(ROOT.crl(BAD_SERIAL)).encode()))
    await one.write("crls/root", {"url": URL})
    assert not await enters(one, BAD) and await enters(one, GOOD)


def partial() -> str:
    builder = x509.CertificateRevocationListBuilder().issuer_name(ROOT.certificate.subject)
    builder = builder.last_update(at(-60)).next_update(at(60)).add_extension(x509.DeltaCRLIndicator(3), critical=True)
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"crl": "nonsense"},
        {"crl": ROOT.pem},
        {"crl": partial()},
        {"crl": pem(ROOT.crl()), "url": URL},
        {"url": "ftp://ca.example/x"},
        {"url": URL},
    ],
)
async def test_what_is_no_list_is_refused(fields: dict[str, str]) -> None:
    one = await door(Web())
    before = await one.entries()
    with pytest.raises(VaultError) as caught:
        await one.write("crls/root", fields)
    assert caught.value.status in (400, 502) and await one.entries() == before


async def test_a_restarted_method_goes_by_the_list_at_once() -> None:
    one = await door()
    await one.write("crls/root", {"crl": pem(ROOT.crl(BAD_SERIAL))})
    one.restart()
    assert not await enters(one, BAD) and await enters(one, GOOD)
