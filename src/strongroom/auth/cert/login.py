"""The login with a certificate, and the renewal of what it gave."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from strongroom.auth.cert.chains import Chain, chain, exact
from strongroom.auth.cert.crls import Crls
from strongroom.auth.cert.entries import Role, read_pem
from strongroom.auth.cert.names import Holder
from strongroom.auth.cert.ocsp import Standing, standing
from strongroom.auth.cert.store import Store
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Auth, Op, Request, Response

MAX_DER = 64 * 1024  # bytes of a client's certificate
_REFUSED = "invalid certificate or no client certificate supplied"


class _Login(msgspec.Struct, frozen=True):
    name: Text = Text("")  # of a role; "" tries them all


class Login:
    """The route ``login``."""

    __slots__ = ("_crls", "_mount", "_store")

    def __init__(self, mount: Mount, store: Store, crls: Crls) -> None:
        self._mount, self._store, self._crls = mount, store, crls

    def route(self) -> Route:
        """Log in; the proof is the connection's."""
        return Route(
            pattern="login",
            args=_Login,
            ops={Op.UPDATE: self._login, Op.CREATE: self._login},
            login=True,
            facts=self._facts,
            help="Log in with the TLS client certificate of this connection.",
        )

    async def _facts(self, call: Call, args: _Login) -> Mapping[str, Any]:
        """No ``login_alias``: nobody guesses a private key, and a stranger must not lock out a name."""
        return {}

    async def _login(self, call: Call, args: _Login) -> Response:
        name, role, holder = await self._accepted(call.request, str(args.name).lower())
        config = await self._store.config()
        metadata = holder.metadata(name, role)
        auth = role.token.grant(
            remote=call.request.remote,
            alias=holder.common_name,
            display_name=role.display_name,
            metadata=metadata,
            private={
                "role": name,
                "uid": role.uid,
                "policies": list(role.token.token_policies),
                "certificate": _digest(call.request.certificate),
            },
        )
        if config.enable_identity_alias_metadata:
            auth = msgspec.structs.replace(auth, alias_metadata=metadata)
        return Response(auth=auth)

    async def renewed(self, auth: Auth, request: Request) -> Auth:
        """Today's TTLs for a token whose role still exists, and would still take the certificate of the login.

        Raises:
            PermissionDenied: the role is gone or has other policies; the renewal comes over no certificate or over
                another than the login did (threat CVE-2026-39388); or the certificate would not be let in any more.
        """
        name, private = str(auth.private.get("role", "")), auth.private
        role = await self._store.role(name) if name else None
        if role is None or role.uid != private.get("uid"):
            raise PermissionDenied("the role of this token no longer exists")
        if list(role.token.token_policies) != list(private.get("policies", ())):
            raise PermissionDenied("policies have changed, not renewing")
        if not (await self._store.config()).disable_binding:
            if not hmac.compare_digest(_digest(request.certificate), str(private.get("certificate", ""))):
                raise PermissionDenied("client identity during renewal not matching client identity used during login")
            try:
                await self._accepted(request, name)
            except BadRequest:
                raise PermissionDenied("the certificate of this token is not accepted any more") from None
        return role.token.renewed(auth)

    async def _accepted(self, request: Request, name: str) -> tuple[str, Role, Holder]:
        """The first role that takes the request's certificate, of all or of the one named. Raises BadRequest."""
        roles = await self._store.roles()
        if name:
            roles = {name: roles[name]} if name in roles else {}
        now = self._mount.now()
        read = _read(request)
        found: list[tuple[str, Chain]] = []
        if read is not None and roles:
            holder, sent = read
            found = await self._mount.offload(lambda: _candidates(holder, sent, roles, now))
            for candidate, path in found:
                if await self._stands(roles[candidate], path):
                    return candidate, roles[candidate], holder
        raise BadRequest(_REFUSED)

    async def _stands(self, role: Role, path: Chain) -> bool:
        if await self._crls.revoked(path):
            return False
        if not role.ocsp_enabled:
            return True
        known = await standing(self._mount, role, path)
        return known is Standing.GOOD or (known is Standing.UNKNOWN and role.ocsp_fail_open)


def _read(request: Request) -> tuple[Holder, list[x509.Certificate]] | None:
    if not request.certificate or len(request.certificate) > MAX_DER:
        return None
    try:
        holder = Holder(x509.load_der_x509_certificate(request.certificate))
    except (ValueError, UnsupportedAlgorithm):
        return None
    sent = []
    for content in request.chain:
        try:
            sent.append(x509.load_der_x509_certificate(content))
        except ValueError:
            continue
    return holder, sent


def _candidates(
    holder: Holder, sent: Sequence[x509.Certificate], roles: Mapping[str, Role], now: float
) -> list[tuple[str, Chain]]:
    """The roles whose names fit and that trust the certificate: those that name it itself first."""
    pinned: list[tuple[str, Chain]] = []
    led: list[tuple[str, Chain]] = []
    for name, role in roles.items():
        if not holder.fits(role):
            continue
        trusted = read_pem(role.certificate, "certificate")
        if (path := exact(holder.certificate, trusted, now)) is not None:
            pinned.append((name, path))
        elif (path := chain(holder.certificate, sent, trusted, now)) is not None:
            led.append((name, path))
    return [*pinned, *led]


def _digest(certificate: bytes) -> str:
    """SHA-256 of a whole certificate, hex."""
    return hashlib.sha256(certificate).hexdigest()
