"""Regression tests of the threat rows about logins with certificates, over HTTP; each with what must go on to work."""

import base64
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import Made, make, ocsp_answer
from engine_harness import START
from vault_world import Clock, World

ROOT = make("root", ca=True)


async def vault() -> World:
    world = World(clock=Clock(START))
    from strongroom.core.seal import SealConfig

    made = await world.core.initialize(SealConfig(1, 1), token="")
    world.root, world.keys = made.root_token, made.keys
    await world.core.submit(made.keys[0])
    await world.ok("POST", "sys/auth/cert", {"type": "cert"})
    return world


async def login(world: World, who: Made | None, *sent: Made) -> tuple[int, Any]:
    world.certificates = tuple(one.der for one in (who, *sent) if one is not None)
    try:
        return await world.http("POST", "auth/cert/login", {}, token="")
    finally:
        world.certificates = ()


async def tokens(world: World) -> int:
    return len((await world.ok("LIST", "auth/token/accessors"))["data"]["keys"])


async def test_sec_cve_2024_2048_a_pinned_certificate_is_compared_whole() -> None:
    world = await vault()
    pinned = make("a", serial=4711)
    await world.ok("POST", "auth/cert/certs/a", {"certificate": pinned.pem})
    # The same subject, serial number and key identifiers over another key; the same key in another certificate; and
    # what the pinned one itself has signed.
    identifier = x509.SubjectKeyIdentifier.from_public_key(pinned.key.public_key())
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(pinned.certificate.subject).issuer_name(pinned.certificate.issuer)
    builder = builder.serial_number(4711).public_key(key.public_key()).add_extension(identifier, critical=False)
    builder = builder.not_valid_before(pinned.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(pinned.certificate.not_valid_after_utc)
    from cryptography.hazmat.primitives import hashes

    forged = Made(builder.sign(key, hashes.SHA256()), key)
    before = await tokens(world)
    for who in (forged, make("a", key=pinned.key, serial=4711), pinned.sign("a"), pinned.sign("a", serial=4711)):
        assert (await login(world, who))[0] == 400
        assert (await login(world, who, pinned))[0] == 400
    assert await tokens(world) == before
    assert (await login(world, pinned))[0] == 200


async def test_sec_cve_2025_6037_another_name_over_a_pinned_key_is_nobody() -> None:
    world = await vault()
    pinned = make("a")
    await world.ok("POST", "auth/cert/certs/a", {"certificate": pinned.pem})
    for who in (make("b", key=pinned.key), make("b", key=pinned.key, serial=pinned.certificate.serial_number)):
        status, answer = await login(world, who)
        assert status == 400 and answer["errors"] == ["invalid certificate or no client certificate supplied"]
    assert await world.status("LIST", "identity/entity-alias/id") == 404  # nobody was made up
    assert (await login(world, pinned))[1]["auth"]["metadata"]["common_name"] == "a"
    aliases = (await world.ok("LIST", "identity/entity-alias/id"))["data"]["key_info"].values()
    assert [one["name"] for one in aliases] == ["a"]


async def test_sec_cve_2026_39388_a_token_is_renewed_over_its_own_certificate_only() -> None:
    world = await vault()
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem, "token_ttl": 600})
    a, b = ROOT.sign("a"), ROOT.sign("b")
    same_key = ROOT.sign("a", key=a.key)
    auth = (await login(world, a))[1]["auth"]
    token, accessor = auth["client_token"], auth["accessor"]
    world.clock.tick(100)
    ways = [
        ("auth/token/renew-self", {}, token),
        ("auth/token/renew", {"token": token}, None),
        ("auth/token/renew-accessor", {"accessor": accessor}, None),
    ]
    for who in (b, make("a"), same_key, None):
        for path, data, used in ways:
            world.certificates = (who.der,) if who else ()
            assert (await world.http("POST", path, {**data, "increment": 600}, token=used))[0] == 403
    world.certificates = ()
    assert (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["ttl"] == 500
    world.certificates = (a.der,)
    for path, data, used in ways:
        assert (await world.ok("POST", path, {**data, "increment": 600}, token=used))["auth"]["lease_duration"] == 600


async def test_sec_cve_2026_39388_what_was_revoked_since_renews_nothing() -> None:
    world = await vault()
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem, "token_ttl": 600})
    a = ROOT.sign("a")
    token = (await login(world, a))[1]["auth"]["client_token"]
    world.certificates = (a.der,)
    await world.ok("POST", "auth/token/renew-self", {}, token=token)
    crl = base64.b64encode(ROOT.crl(a.certificate.serial_number)).decode()
    await world.ok("POST", "auth/cert/crls/root", {"crl": crl})
    assert await world.status("POST", "auth/token/renew-self", {}, token=token) == 403


async def test_sec_cve_2022_41316_the_first_login_after_a_start_is_checked() -> None:
    world = await vault()
    good, bad = ROOT.sign("good"), ROOT.sign("bad")
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem})
    assert (await login(world, bad))[0] == 200
    crl = base64.b64encode(ROOT.crl(bad.certificate.serial_number)).decode()
    await world.ok("POST", "auth/cert/crls/root", {"crl": crl})
    for _ in range(50):
        fresh = await world.other()
        assert (await login(fresh, bad))[0] == 400  # before anything else is asked of it
        assert (await login(fresh, good))[0] == 200


async def test_sec_cve_2026_59818_a_revoked_certificate_is_refused_by_every_listener() -> None:
    """Over TLS and by a proxy's word; gRPC and others come with their doors."""
    import ipaddress
    from urllib.parse import quote

    from strongroom.server.http_settings import DoorSettings, Proxies

    world = await vault()
    good, bad = ROOT.sign("good"), ROOT.sign("bad")
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem})
    crl = base64.b64encode(ROOT.crl(bad.certificate.serial_number)).decode()
    await world.ok("POST", "auth/cert/crls/root", {"crl": crl})
    assert ((await login(world, good))[0], (await login(world, bad))[0]) == (200, 400)
    here = (ipaddress.ip_network("127.0.0.0/8"),)
    world.proxies = Proxies(authorized=here, reject_not_present=False, certificate_header="x-client-cert")
    world.settings = DoorSettings(kept_headers=DoorSettings().kept_headers | {"x-client-cert"})
    for who, status in ((good, 200), (bad, 400)):
        headers = {"X-Client-Cert": quote(who.pem)}
        assert await world.status("POST", "auth/cert/login", {}, token="", headers=headers) == status


async def test_sec_cve_2026_59818_a_strangers_header_is_no_certificate() -> None:
    import ipaddress
    from urllib.parse import quote

    from strongroom.server.http_settings import DoorSettings, Proxies

    world = await vault()
    good = ROOT.sign("good")
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem})
    proxy = Proxies(
        authorized=(ipaddress.ip_network("10.0.0.1/32"),),
        reject_not_present=False,
        reject_not_authorized=False,
        certificate_header="x-client-cert",
    )
    world.settings = DoorSettings(kept_headers=DoorSettings().kept_headers | {"x-client-cert"})
    headers = {"X-Client-Cert": quote(good.pem)}
    assert await world.status("POST", "auth/cert/login", {}, token="", headers=headers) == 400  # nobody may tell
    world.proxies = proxy
    assert await world.status("POST", "auth/cert/login", {}, token="", headers=headers) == 400
    world.peer = ("10.0.0.1", 1)
    assert await world.status("POST", "auth/cert/login", {}, token="", headers=headers) == 200


async def test_sec_cve_2024_2660_an_answer_of_a_responder_is_checked() -> None:
    """Wrong signer, wrong serial, expired, unknown: refused, and let in only where the role says so (fail open)."""
    from cryptography.x509 import ocsp

    from strongroom.auth.cert import Cert
    from strongroom.sdk.outside import Fetched

    web, stranger = ROOT.sign("web"), make("root", ca=True)
    said: list[bytes] = []

    async def fetch(method: str, url: str, **more: Any) -> Fetched:
        return Fetched(200, {}, said[0])

    def reaching(mount: Any) -> Any:
        return Cert(msgspec.structs.replace(mount, fetch=fetch))

    world = await vault()
    world.made.kinds.auth["reaching"] = reaching
    await world.ok("POST", "sys/auth/ocsp", {"type": "reaching"})
    role = {"certificate": ROOT.pem, "ocsp_enabled": True, "ocsp_servers_override": "http://ocsp.example"}

    async def enters(answer: bytes, *, fail_open: bool = False) -> bool:
        said[:] = [answer]
        await world.ok("POST", "auth/ocsp/certs/r", {**role, "ocsp_fail_open": fail_open})
        world.certificates = (web.der,)
        status = await world.status("POST", "auth/ocsp/login", {}, token="")
        assert status in (200, 400)
        return status == 200

    assert await enters(ocsp_answer(web, ROOT))  # control
    wrong = {
        "signer": ocsp_answer(web, ROOT, signer=stranger, carry=[stranger]),
        "serial": ocsp_answer(ROOT.sign("mail"), ROOT),
        "expired": ocsp_answer(web, ROOT, since=-7200, until=-3600),
        "unknown": ocsp_answer(web, ROOT, status=ocsp.OCSPCertStatus.UNKNOWN),
    }
    assert {why: await enters(answer) for why, answer in wrong.items()} == dict.fromkeys(wrong, False)
    assert {why: await enters(answer, fail_open=True) for why, answer in wrong.items()} == dict.fromkeys(wrong, True)
    revoked = ocsp_answer(web, ROOT, status=ocsp.OCSPCertStatus.REVOKED)
    assert not await enters(revoked) and not await enters(revoked, fail_open=True)
