"""Answers of responders: what is believed, and what follows from silence."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from certificates import OCSP_SIGNING, Made, make, ocsp_answer, responder_at
from contracts.login_harness import Door
from strongroom.auth.cert import Cert
from strongroom.errors import BadRequest, Unreachable
from strongroom.sdk.outside import Fetched

ONE, TWO = "http://one.example/ocsp", "http://two.example/ocsp"
REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
ROOT = make("root", ca=True)
WEB = ROOT.sign("web", extensions=[responder_at(ONE)])
TRY_LATER = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)


class Responders:
    """What answers at each URL; None does not answer at all."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.asked: list[str] = []

    async def __call__(self, method: str, url: str, *, body: bytes = b"", **more: Any) -> Fetched:
        self.asked.append(url)
        assert method == "POST" and ocsp.load_der_ocsp_request(body).serial_number
        assert more["headers"]["content-type"] == "application/ocsp-request"
        answer = self.answers.get(url)
        if answer is None:
            raise Unreachable("no answer")
        return Fetched(200, {}, answer)


async def enters(answers: dict[str, bytes | None], *, who: Made = WEB, **fields: Any) -> tuple[bool, list[str]]:
    web = Responders()
    web.answers = answers
    door = Door(Cert, kind="cert", fetch=web)
    await door.write("certs/r", {"certificate": ROOT.pem, "ocsp_enabled": True, **fields})
    try:
        return (await door.write("login", {}, certificate=who.der)).auth is not None, web.asked
    except BadRequest:
        return False, web.asked


async def test_good_and_revoked() -> None:
    assert await enters({ONE: ocsp_answer(WEB, ROOT)}) == (True, [ONE])
    assert await enters({ONE: ocsp_answer(WEB, ROOT, status=REVOKED)}) == (False, [ONE])
    assert await enters({ONE: ocsp_answer(WEB, ROOT, status=REVOKED)}, ocsp_fail_open=True) == (False, [ONE])
    assert await enters({}, ocsp_enabled=False) == (True, [])


DELEGATE = ROOT.sign("responder", usage=[OCSP_SIGNING])
FOREIGN = make("root", ca=True)


@pytest.mark.parametrize(
    "answer",
    [
        ocsp_answer(WEB, ROOT, signer=FOREIGN),
        ocsp_answer(WEB, ROOT, signer=FOREIGN, carry=[FOREIGN]),
        ocsp_answer(WEB, ROOT, signer=(plain := ROOT.sign("plain")), carry=[plain]),
        ocsp_answer(WEB, ROOT, signer=(theirs := FOREIGN.sign("r", usage=[OCSP_SIGNING])), carry=[theirs]),
        ocsp_answer(ROOT.sign("mail"), ROOT),
        ocsp_answer(WEB, FOREIGN, signer=ROOT),
        ocsp_answer(WEB, ROOT, since=-7200, until=-1),
        ocsp_answer(WEB, ROOT, since=3600, until=7200),
        ocsp_answer(WEB, ROOT, since=-7200, until=None),
        ocsp_answer(WEB, ROOT, status=UNKNOWN),
        TRY_LATER,
        b"nonsense",
        None,
    ],
    ids=[
        "stranger", "stranger with certificate", "no delegate", "delegate of another", "another serial",
        "another issuer",
        "expired", "from the future", "old, without end", "unknown", "try later", "nonsense", "silence",
    ],
)  # fmt: skip
async def test_what_proves_nothing_refuses_unless_fail_open(answer: bytes | None) -> None:
    assert (await enters({ONE: answer}))[0] is False
    assert (await enters({ONE: answer}, ocsp_fail_open=True))[0] is True


async def test_who_may_sign() -> None:
    assert (await enters({ONE: ocsp_answer(WEB, ROOT, signer=DELEGATE, carry=[DELEGATE])}))[0]
    named = make("named")
    assert (await enters({ONE: ocsp_answer(WEB, ROOT, signer=named)}, ocsp_ca_certificates=named.pem))[0]


async def test_no_end_holds_for_now_only() -> None:
    assert (await enters({ONE: ocsp_answer(WEB, ROOT, since=-60, until=None)}))[0]
    recent = ocsp_answer(WEB, ROOT, since=-600)
    assert (await enters({ONE: recent}, ocsp_this_update_max_age="15m"))[0]
    assert not (await enters({ONE: recent}, ocsp_this_update_max_age="5m"))[0]


async def test_several_responders() -> None:
    good, revoked = ocsp_answer(WEB, ROOT), ocsp_answer(WEB, ROOT, status=REVOKED)
    both = {"ocsp_servers_override": [ONE, TWO]}
    assert await enters({ONE: good, TWO: revoked}, **both) == (True, [ONE])
    assert await enters({ONE: None, TWO: good}, **both) == (True, [ONE, TWO])
    assert await enters({ONE: None, TWO: revoked}, ocsp_fail_open=True, **both) == (False, [ONE, TWO])
    every = {**both, "ocsp_query_all_servers": True}
    assert await enters({ONE: good, TWO: revoked}, **every) == (False, [ONE, TWO])
    assert await enters({ONE: good, TWO: good}, **every) == (True, [ONE, TWO])
    assert await enters({ONE: good, TWO: None}, **every) == (False, [ONE, TWO])
    assert await enters({ONE: good, TWO: None}, ocsp_fail_open=True, **every) == (True, [ONE, TWO])


async def test_nobody_to_ask_and_a_pinned_certificate() -> None:
    silent = ROOT.sign("silent")
    assert await enters({}, who=silent) == (False, [])
    assert await enters({}, who=silent, ocsp_fail_open=True) == (True, [])
    pinned = {"certificate": WEB.pem}
    assert await enters({ONE: ocsp_answer(WEB, ROOT)}, **pinned) == (False, [])  # its issuer is not known
    assert await enters({ONE: ocsp_answer(WEB, ROOT)}, ocsp_ca_certificates=ROOT.pem, **pinned) == (True, [ONE])


def test_a_responder_in_the_certificate_is_found_by_its_kind() -> None:
    from strongroom.auth.cert.ocsp import _places

    assert _places(WEB.certificate) == [ONE]
    for url in (
        "ldap://x",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http:///x",
        "http://[",
    ):
        assert _places(make("x", extensions=[responder_at(url)]).certificate) == [], url
    issuers = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(ONE))
    assert _places(make("x", extensions=[(x509.AuthorityInformationAccess([issuers]), False)]).certificate) == []
