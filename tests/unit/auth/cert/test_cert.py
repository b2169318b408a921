"""Roles, settings and the login."""

from typing import Any

import msgspec
import pytest

from certificates import Made, make, text_extension
from contracts.login_harness import Door
from strongroom.auth.cert import Cert
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied
from strongroom.sdk.request import Auth, Op, Request
from strongroom.sdk.storage import Write

ROOT = make("root", ca=True)


def door(**mount: Any) -> Door:
    return Door(Cert, kind="cert", **mount)


async def login(door: Door, who: Made, name: str = "", *sent: Made) -> Auth:
    chain = tuple(one.der for one in sent)
    auth = (await door.write("login", {"name": name} if name else {}, certificate=who.der, chain=chain)).auth
    assert auth is not None
    return auth


async def renew(door: Door, auth: Auth, who: Made | None) -> Auth:
    request = Request(id="r", op=Op.UPDATE, path="auth/token/renew-self", certificate=who.der if who else b"")
    renewed: Auth = await door.engine.renew_from(auth, request)
    return renewed


async def test_a_role_is_read_as_it_was_written() -> None:
    one = door()
    with pytest.raises(NotFound):
        await one.list("certs")
    await one.write("certs/Web", {
        "certificate": ROOT.pem, "allowed_common_names": "a*,b", "required_extensions": ["1.2.3:x"],
        "token_policies": "p", "ttl": "1m", "ocsp_enabled": "true", "ocsp_servers_override": "http://ocsp.example",
    })  # fmt: skip
    read = await one.read("certs/web")
    assert read["certificate"] == ROOT.pem and read["display_name"] == "web"
    assert (read["allowed_common_names"], read["required_extensions"]) == (["a*", "b"], ["1.2.3:x"])
    assert (read["token_policies"], read["token_ttl"], read["ttl"]) == (["p"], 60, 60)
    assert (read["ocsp_enabled"], read["ocsp_fail_open"], read["allowed_dns_sans"]) == (True, False, [])
    await one.write("certs/web", {"display_name": "W"})
    assert (await one.read("certs/web")) == {**read, "display_name": "W"}
    assert await one.list("certs") == ["web"]
    await one.delete("certs/web")
    with pytest.raises(NotFound):
        await one.read("certs/web")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"certificate": "nonsense"},
        {"certificate": ROOT.pem.replace("MII", "AAA")},
        {"certificate": ROOT.pem, "required_extensions": "x"},
        {"certificate": ROOT.pem, "allowed_metadata_extensions": "x"},
        {"certificate": ROOT.pem, "ocsp_servers_override": "file:///etc/passwd"},
        {"certificate": ROOT.pem, "ocsp_ca_certificates": "nonsense"},
        {"certificate": ROOT.pem * 65},
    ],
)
async def test_what_is_no_role_is_refused(fields: dict[str, Any]) -> None:
    one = door()
    with pytest.raises(BadRequest):
        await one.write("certs/r", fields)
    assert await one.entries() == {}


async def test_a_key_that_no_chain_can_be_checked_by_is_warned_of() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    odd = make("odd", ca=True, key=ed25519.Ed25519PrivateKey.generate())
    one = door()
    assert (await one.write("certs/r", {"certificate": odd.pem})).warnings
    assert not (await one.write("certs/s", {"certificate": ROOT.pem})).warnings


async def test_what_a_login_tells() -> None:
    one = door()
    extension = (text_extension("1.2.3.4", "blue"), False)
    web = ROOT.sign("web", extensions=[extension])
    await one.write("certs/r", {"certificate": ROOT.pem, "allowed_metadata_extensions": "1.2.3.4", "display_name": "d"})
    auth = await login(one, web)
    assert (auth.alias, auth.display_name, auth.alias_metadata) == ("web", "d", None)
    assert auth.metadata is not None and auth.metadata["cert_name"] == "r" and auth.metadata["1-2-3-4"] == "blue"
    await one.write("config", {"enable_identity_alias_metadata": True})
    assert (await login(one, web)).alias_metadata == auth.metadata
    assert await one.read("config") == {"disable_binding": False, "enable_identity_alias_metadata": True}


async def test_which_role() -> None:
    one = door()
    other, web = make("other", ca=True), ROOT.sign("web")
    await one.write("certs/a", {"certificate": other.pem})
    await one.write("certs/b", {"certificate": ROOT.pem, "allowed_common_names": "mail"})
    await one.write("certs/c", {"certificate": other.pem + ROOT.pem})
    assert (await login(one, web)).private["role"] == "c"
    await one.write("certs/z", {"certificate": web.pem})
    assert (await login(one, web)).private["role"] == "z"  # the one that names it itself
    assert (await login(one, web, "C")).private["role"] == "c"
    for name in ("a", "b", "nobody"):
        with pytest.raises(BadRequest):
            await login(one, web, name)


async def test_what_was_sent_along_counts_for_the_chain() -> None:
    one = door()
    between = ROOT.sign("between", ca=True)
    await one.write("certs/r", {"certificate": ROOT.pem})
    with pytest.raises(BadRequest):
        await login(one, between.sign("web"))
    assert (await login(one, between.sign("web"), "", between)).alias == "web"


async def test_garbage_for_a_certificate_is_refused() -> None:
    one = door()
    await one.write("certs/r", {"certificate": ROOT.pem})
    good = ROOT.sign("web").der
    for content in (b"", b"\x30", good[:-1], good + b"\0", b"\0" * 100, b"\x30" * 100_000):
        with pytest.raises(BadRequest):
            await one.write("login", {}, certificate=content)
    assert (await one.write("login", {}, certificate=good, chain=(b"junk",))).auth is not None


async def test_renewal() -> None:
    one = door()
    a, b = ROOT.sign("a"), ROOT.sign("b")
    await one.write("certs/r", {"certificate": ROOT.pem, "token_ttl": 60})
    auth = await login(one, a)
    await one.write("certs/r", {"token_ttl": 90})
    assert (await renew(one, auth, a)).ttl == 90
    for who in (b, None):
        with pytest.raises(PermissionDenied):
            await renew(one, auth, who)
    await one.write("config", {"disable_binding": True})
    assert (await renew(one, auth, None)).ttl == 90
    await one.write("config", {"disable_binding": False})
    await one.write("certs/r", {"allowed_common_names": "b"})
    with pytest.raises(PermissionDenied):
        await renew(one, auth, a)
    await one.write("certs/r", {"allowed_common_names": "", "token_policies": "more"})
    with pytest.raises(PermissionDenied):
        await renew(one, auth, a)


async def test_doors_hear_of_what_changes_the_trust_and_of_nothing_else() -> None:
    told: list[tuple[list[str], dict[str, Any]]] = []

    async def publish(writes: Any, expect: Any, trust: Any) -> None:
        told.append(([write.key for write in writes], dict(trust)))
        await one.mount.storage.commit(writes, expect=expect)

    one, other = door(publish=publish), make("a")
    await one.write("certs/r", {"certificate": ROOT.pem})
    await one.write("certs/r", {"token_ttl": 5})
    assert told == [(["certs/r"], {"r": (ROOT.der,)})]
    await one.write("certs/r", {"certificate": other.pem + ROOT.pem})
    await one.delete("certs/r")
    await one.delete("certs/r")
    assert [trust for _, trust in told[1:]] == [{"r": (other.der, ROOT.der)}, {"r": ()}]


async def test_a_change_that_meets_another_is_made_again() -> None:
    one = door()
    tries = 0

    async def publish(writes: Any, expect: Any, trust: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await one.mount.storage.commit([Write("certs/r", b'{"uid":"x","certificate":"","display_name":"first"}')])
            raise Conflict("changed")
        await one.mount.storage.commit(writes, expect=expect)

    one.mount = msgspec.structs.replace(one.mount, publish=publish)
    one.restart()
    await one.write("certs/r", {"certificate": ROOT.pem})
    assert (await one.read("certs/r"))["display_name"] == "first"
