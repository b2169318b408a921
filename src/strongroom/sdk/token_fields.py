"""The ``token_*`` fields that every auth method shares: what a token of a user or role may do and how long it lives.

One place for their names, their deprecated aliases, their limits, and for the two rules that decide over power:
which policy names an auth method may hand out (threat A3: never root, in no spelling) and whether an address lies in
a list of CIDR blocks.
"""

import ipaddress
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType
from strongroom.sdk.request import Auth

MAX_NAME = 512  # characters of a policy name
MAX_USES = 2**31 - 1
MAX_ITEMS = 1024  # policies, or CIDR blocks, of one user or role
# What stored names and answers call "default" leaves the choice to the mount.
_TYPES = {
    "": "",
    "default": "",
    "service": "service",
    "default-service": "service",
    "batch": "batch",
    "default-batch": "batch",
}
# Letters that are drawn like those of "root" in other scripts (Cyrillic, Greek, Armenian, small capitals).
_LOOKALIKES = str.maketrans("гᴦʀоοօᴏσтτᴛ", "rrrooooottt")
_ALIASES = {
    "ttl": "token_ttl",
    "max_ttl": "token_max_ttl",
    "policies": "token_policies",
    "period": "token_period",
    "bound_cidrs": "token_bound_cidrs",
}


class TokenArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields as a client may send them; inherit from it for the ``args`` of a user's or role's route."""

    token_ttl: Duration | UnsetType = UNSET
    token_max_ttl: Duration | UnsetType = UNSET
    token_policies: StrList | UnsetType = UNSET
    token_bound_cidrs: StrList | UnsetType = UNSET
    token_explicit_max_ttl: Duration | UnsetType = UNSET
    token_no_default_policy: Flag | UnsetType = UNSET
    token_num_uses: int | UnsetType = UNSET
    token_period: Duration | UnsetType = UNSET
    token_strictly_bind_ip: Flag | UnsetType = UNSET
    token_type: Text | UnsetType = UNSET


class AliasedTokenArgs(TokenArgs, frozen=True, kw_only=True):
    """``TokenArgs`` with all the deprecated names. A new name wins over its alias in the same request."""

    ttl: Duration | UnsetType = UNSET
    max_ttl: Duration | UnsetType = UNSET
    policies: StrList | UnsetType = UNSET
    period: Duration | UnsetType = UNSET
    bound_cidrs: StrList | UnsetType = UNSET


class TokenParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields as they are stored; ``updated`` makes anew. TTLs in seconds, 0 = the default of the mount."""

    token_ttl: int = 0
    token_max_ttl: int = 0
    token_policies: tuple[str, ...] = ()
    token_bound_cidrs: tuple[str, ...] = ()
    token_explicit_max_ttl: int = 0
    token_no_default_policy: bool = False
    token_num_uses: int = 0
    token_period: int = 0
    token_strictly_bind_ip: bool = False
    token_type: str = "default"
    aliases: tuple[str, ...] = ()  # the deprecated names last written: answers repeat them

    def updated(self, args: msgspec.Struct) -> "TokenParams":
        """These parameters with the fields that ``args`` has set; the others stay.

        Args:
            args: any struct; fields named as here, or as a deprecated alias, count unless they are ``UNSET``.

        Raises:
            BadRequest: a policy, CIDR block, type or number is not allowed, or the fields contradict each other.
        """
        changes: dict[str, Any] = {}
        aliases = set(self.aliases)
        for alias, name in _ALIASES.items():
            value = getattr(args, alias, UNSET)
            if value is not UNSET:
                changes[name] = value
                aliases.add(alias)
            if getattr(args, name, UNSET) is not UNSET:
                aliases.discard(alias)
        for name in _FIELDS:
            value = getattr(args, name, UNSET)
            if value is not UNSET:
                changes[name] = value
        if not changes:
            return self
        made = msgspec.structs.replace(self, **_plain(changes), aliases=tuple(sorted(aliases)))
        _check(made)
        return made

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them (golden: lists never null, TTLs as whole seconds)."""
        data: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        data["token_policies"] = list(self.token_policies)
        data["token_bound_cidrs"] = list(self.token_bound_cidrs)
        for alias in self.aliases:
            data[alias] = data[_ALIASES[alias]]
        return data

    def warnings(self, most: int) -> tuple[str, ...]:
        """What an operator should know about TTLs over the mount's maximum of ``most`` seconds."""
        if max(self.token_ttl, self.token_max_ttl) <= most:
            return ()
        return (f"a token TTL is longer than the mount allows; tokens will live at most {most} seconds",)

    def bound_to(self, remote: str) -> tuple[str, ...]:
        """The CIDR blocks of a token for a login from ``remote``.

        Raises:
            PermissionDenied: ``remote`` lies in none of the blocks, or must be bound and is no IP address.
        """
        if self.token_bound_cidrs and not address_within(remote, self.token_bound_cidrs):
            raise PermissionDenied
        if not self.token_strictly_bind_ip:
            return self.token_bound_cidrs
        address = _address(remote)
        if address is None:
            raise PermissionDenied
        return (str(ipaddress.ip_network(address)),)

    def grant(
        self,
        *,
        remote: str,
        alias: str,
        display_name: str,
        metadata: Mapping[str, str],
        private: dict[str, Any],
    ) -> Auth:
        """The outcome of a login that these parameters describe.

        Args:
            remote: the client's address.
            alias: the one spelling of the name that this login is known by at its mount.
            display_name: for people; the core puts the mount before it.
            metadata: shown with the token.
            private: what the method wants back in ``renew``.

        Raises:
            PermissionDenied: the address may not log in.
        """
        return Auth(
            policies=self.token_policies,
            metadata=metadata,
            display_name=display_name,
            alias=alias,
            ttl=self.token_ttl,
            max_ttl=self.token_max_ttl,
            explicit_max_ttl=self.token_explicit_max_ttl,
            period=self.token_period,
            num_uses=self.token_num_uses,
            no_default_policy=self.token_no_default_policy,
            bound_cidrs=self.bound_to(remote),
            token_type=_TYPES[self.token_type],
            private=private,
        )

    def reset(self, *names: str) -> "TokenParams":
        """These parameters with the fields ``names`` as they are for a new user or role."""
        fresh = {name: getattr(_FRESH, name) for name in names}
        aliases = tuple(alias for alias in self.aliases if _ALIASES[alias] not in names)
        return msgspec.structs.replace(self, **fresh, aliases=aliases)

    def renewed(self, auth: Auth) -> Auth:
        """``auth`` with today's TTLs. Policies, address and the explicit maximum stay as they were at the login."""
        return msgspec.structs.replace(auth, ttl=self.token_ttl, max_ttl=self.token_max_ttl, period=self.token_period)


_FRESH = TokenParams()
_FIELDS = tuple(name for name in TokenParams.__struct_fields__ if name != "aliases")


def _plain(changes: dict[str, Any]) -> dict[str, Any]:
    """Checked values in plain types, so that a stored entry never depends on the input classes."""
    plain: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "token_policies":
            plain[name] = normalize_policies(value)
        elif name == "token_bound_cidrs":
            plain[name] = check_cidrs(value, name=name)
        elif name in ("token_no_default_policy", "token_strictly_bind_ip"):
            plain[name] = bool(value)
        elif name == "token_type":
            if value not in _TYPES:
                raise BadRequest("token_type must be one of service, batch, default, default-service, default-batch")
            plain[name] = str(value) or "default"
        else:
            plain[name] = int(value)
    return plain


def _check(made: TokenParams) -> None:
    if not 0 <= made.token_num_uses <= MAX_USES:
        raise BadRequest(f"token_num_uses must be between 0 and {MAX_USES}")
    if made.token_max_ttl and made.token_ttl > made.token_max_ttl:
        raise BadRequest("token_ttl must not be longer than token_max_ttl")
    if _TYPES[made.token_type] == "batch":
        if made.token_period:
            raise BadRequest("batch tokens cannot be periodic: unset token_period or choose another token_type")
        if made.token_num_uses:
            raise BadRequest("batch tokens cannot count uses: unset token_num_uses or choose another token_type")


def normalize_policies(names: Iterable[str]) -> tuple[str, ...]:
    """Policy names as an auth method may hand them out: lower case, sorted, each once, without empty ones.

    Raises:
        BadRequest: a name is ``root`` or is drawn like it (other case, compatibility forms, letters of other
            scripts), or holds a blank, a comma or a control character.
    """
    found = set()
    for name in names:
        if not name:
            continue
        if len(name) > MAX_NAME:
            raise BadRequest(f"a policy name is longer than {MAX_NAME} characters")
        if any(c.isspace() or c == "," or unicodedata.category(c)[0] == "C" for c in name):
            raise BadRequest("a policy name holds a blank, a comma or a control character")
        if _skeleton(name) == "root":
            raise BadRequest("the root policy cannot be granted by an auth method")
        found.add(name.lower())
    if len(found) > MAX_ITEMS:
        raise BadRequest(f"more than {MAX_ITEMS} policies")
    return tuple(sorted(found))


def _skeleton(name: str) -> str:
    """``name`` with case, accents, compatibility forms and the commonest look-alikes taken away."""
    if name.isascii():
        return name.lower()
    bare = unicodedata.normalize("NFKD", name).casefold().translate(_LOOKALIKES)
    return "".join(c for c in bare if unicodedata.category(c) not in ("Mn", "Me", "Cf")).lower()


def check_cidrs(blocks: Iterable[str], *, name: str) -> tuple[str, ...]:
    """CIDR blocks, or single addresses, as they were written, blanks and empty ones dropped.

    The text is kept: a client that compares what it wrote with what it reads must find them equal.

    Raises:
        BadRequest: an item is no CIDR block. The message names the field.
    """
    kept = tuple(text for block in blocks if (text := block.strip()))
    if len(kept) > MAX_ITEMS:
        raise BadRequest(f"{name} has more than {MAX_ITEMS} items")
    for text in kept:
        if _network(text) is None:
            raise BadRequest(f"{name} holds something that is not a CIDR block")
    return kept


def address_within(remote: str, blocks: Sequence[str]) -> bool:
    """Whether ``remote`` lies in one of ``blocks``. False for no address at all (a unix socket) and for no blocks.

    An IPv4 address in IPv6 clothes (``::ffff:10.0.0.1``, RFC 4291 section 2.5.5.2) counts as the IPv4 address.
    """
    address = _address(remote)
    if address is None:
        return False
    for block in blocks:
        network = _network(block)
        if network is not None and address in network:
            return True
    return False


def cidrs_within(blocks: Sequence[str], outer: Sequence[str]) -> bool:
    """Whether each of ``blocks`` lies inside one of ``outer``. No ``outer`` means no restriction: True."""
    if not outer:
        return True
    around = [network for text in outer if (network := _network(text)) is not None]
    for text in blocks:
        inner = _network(text)
        if inner is None or not any(_subnet(inner, network) for network in around):
            return False
    return True


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _subnet(inner: _Network, outer: _Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(text: str) -> _Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network
