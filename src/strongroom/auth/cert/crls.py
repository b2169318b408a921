"""Revocation lists: given by an operator or fetched from where they are published (RFC 5280 section 5)."""

import re
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.auth.cert.chains import Chain
from strongroom.auth.cert.entries import Crl, check_url
from strongroom.auth.cert.store import Store
from strongroom.errors import BadRequest, Conflict, VaultError
from strongroom.sdk.engine import Mount

MAX_LIST = 1_000_000  # bytes of DER; an entry of the store holds 1 MiB
_RETRY = 60.0  # seconds between two tries to fetch a list that could not be had
_ARMOUR = re.compile(rb"-----BEGIN X509 CRL-----")

_Name = tuple[tuple[str, str], ...]


class _List:
    """A list read once: whose it is, and the numbers on it."""

    __slots__ = ("_signed_by", "crl", "issuer", "revision", "serials")

    def __init__(self, crl: x509.CertificateRevocationList, revision: int) -> None:
        self.crl, self.revision = crl, revision
        self.issuer = _name(crl.issuer)
        self.serials = frozenset(one.serial_number for one in crl)
        self._signed_by: dict[bytes, bool] = {}

    def signed_by(self, issuer: x509.Certificate) -> bool:
        """Whether the list carries the signature of ``issuer``."""
        whole = issuer.public_bytes(Encoding.DER)
        if whole not in self._signed_by:
            try:
                self._signed_by[whole] = self.crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
            except (TypeError, ValueError, UnsupportedAlgorithm):
                self._signed_by[whole] = False
        return self._signed_by[whole]


class Crls:
    """The lists of one mount. Every look goes by the store, so a list holds from the first login after a start
    (threat CVE-2022-41316); what is kept in memory is only what was read of them."""

    __slots__ = ("_mount", "_read", "_store", "_tried")

    def __init__(self, mount: Mount, store: Store) -> None:
        self._mount, self._store = mount, store
        self._read: dict[str, _List] = {}
        self._tried: dict[str, float] = {}  # name -> when fetching it failed last

    async def put(self, name: str, *, text: str, url: str) -> None:
        """Keep the list ``text`` (PEM or base64 DER), or the one at ``url``, as ``name``.

        Raises:
            BadRequest: neither or both are given, or what is given is no list.
            Unreachable: the list at ``url`` cannot be had.
        """
        if bool(text) == bool(url):
            raise BadRequest("give crl or url, not both" if text else "missing crl or url")
        if url:
            crl, content = await self._fetch(check_url(url, "url"))
        else:
            content = _from_text(text)
            crl = load(content)
        await self._store.put_crl(name, self._entry(crl, url), content)
        self._tried.pop(name, None)

    async def revoked(self, chain: Chain) -> bool:
        """Whether a certificate of ``chain`` (all but its root) is revoked, or a list that decides it cannot be had.

        A fetched list counts as missing once its nextUpdate is over, and where its issuer's signature does not hold.
        """
        for name, (entry, revision) in (await self._store.crls()).items():
            entry, revision = await self._renewed(name, entry, revision)
            known = await self._list(name, revision)
            if known is None:
                continue
            for place, certificate in enumerate(chain):
                if _name(certificate.issuer) != known.issuer:
                    continue
                if certificate.serial_number in known.serials:
                    return True
                issuer = chain[place + 1] if place + 1 < len(chain) else None
                if entry.expired(self._mount.now()):
                    return True
                if entry.url and issuer is not None and not known.signed_by(issuer):
                    return True
        return False

    async def answer(self, name: str) -> dict[str, Any] | None:
        """What a read shows: the serial numbers, and where the list is fetched from."""
        found = await self._store.crl(name)
        if found is None:
            return None
        known = await self._list(name, found[1])
        serials: Mapping[str, Any] = {} if known is None else {str(serial): {} for serial in sorted(known.serials)}
        entry = found[0]
        cdp = {"url": entry.url, "valid_until": entry.next_update} if entry.url else None
        return {"serials": serials, "cdp": cdp}

    async def _list(self, name: str, revision: int) -> _List | None:
        known = self._read.get(name)
        if known is None or known.revision != revision:
            content = await self._store.crl_der(name)
            if not content:
                return None
            known = self._read[name] = _List(load(content), revision)
        return known

    async def _renewed(self, name: str, entry: Crl, revision: int) -> tuple[Crl, int]:
        """The entry of the list after it was fetched again, where that is due and possible."""
        now = self._mount.now()
        if not entry.due(now) or now < self._tried.get(name, float("-inf")) + _RETRY:
            return entry, revision
        self._tried[name] = now  # others that come meanwhile do with what there is
        try:
            crl, content = await self._fetch(entry.url)
            made = self._entry(crl, entry.url)
            if made.this_update < entry.this_update:
                return entry, revision  # an older list, perhaps one from before a revocation
            await self._store.put_crl(name, made, content, revision)
        except Conflict:
            pass  # another process fetched it
        except VaultError:
            return entry, revision
        self._tried.pop(name, None)
        return await self._store.crl(name) or (entry, revision)

    async def _fetch(self, url: str) -> tuple[x509.CertificateRevocationList, bytes]:
        got = await self._mount.fetch("GET", url, limit=MAX_LIST)
        if got.status != 200:
            raise BadRequest(f"the list could not be fetched: status {got.status}")
        content = got.body
        if _ARMOUR.search(content):
            content = _from_text(content.decode("latin-1"))
        return load(content), content

    def _entry(self, crl: x509.CertificateRevocationList, url: str) -> Crl:
        ends = crl.next_update_utc
        return Crl(
            url=url,
            this_update=crl.last_update_utc.timestamp(),
            next_update=0.0 if ends is None else ends.timestamp(),
            fetched=self._mount.now(),
        )


def load(content: bytes) -> x509.CertificateRevocationList:
    """A complete revocation list from DER.

    Raises:
        BadRequest: it is none, is too large, or holds a critical extension that would change what it means
            (a delta or partial list).
    """
    if len(content) > MAX_LIST:
        raise BadRequest(f"the list is larger than {MAX_LIST} bytes")
    try:
        crl = x509.load_der_x509_crl(content)
        odd = [one for one in crl.extensions if one.critical]
        _ = crl.issuer, crl.last_update_utc, crl.next_update_utc
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise BadRequest("failed to parse crl: an X.509 revocation list (PEM or DER) is wanted") from error
    for extension in odd:
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            value = extension.value
            if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                raise BadRequest("indirect and partial revocation lists cannot be gone by")
        else:
            raise BadRequest("the list has a critical extension that is not understood (a delta list?)")
    return crl


def _from_text(text: str) -> bytes:
    """DER from PEM, or from base64 of DER. Raises BadRequest."""
    import base64
    import binascii

    if len(text) > 2 * MAX_LIST:
        raise BadRequest(f"the list is larger than {MAX_LIST} bytes")
    try:
        if _ARMOUR.search(text.encode()):
            return x509.load_pem_x509_crl(text.encode()).public_bytes(Encoding.DER)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadRequest("failed to parse crl: an X.509 revocation list (PEM or DER) is wanted") from error


def _name(name: x509.Name) -> _Name:
    """A distinguished name for comparison: encodings, case and blanks do not count (RFC 5280 section 7.1)."""
    return tuple((one.oid.dotted_string, " ".join(str(one.value).casefold().split())) for one in name)
