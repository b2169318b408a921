"""identity/oidc/key: the keys that sign OIDC tokens, made here and never shown."""

import msgspec

from strongroom.core.identity.listing import listed
from strongroom.core.identity.oidc_parts import OidcParts
from strongroom.core.identity.oidc_records import DAY, NamedKey, check_name, key_data
from strongroom.core.identity.oidc_signing import ALGORITHMS
from strongroom.core.identity.oidc_store import next_at, rotated
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import UNSET, Duration, StrList, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_LEAST_PERIOD = 60  # seconds
_MOST_PERIODS = 10  # rotation periods that a key may check for after it signed
_MAX_CLIENTS = 1000


class KeyArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    name: Text
    algorithm: Text | UnsetType = UNSET
    rotation_period: Duration | UnsetType = UNSET
    verification_ttl: Duration | UnsetType = UNSET
    allowed_client_ids: StrList | UnsetType = UNSET


class RotateArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: Text
    verification_ttl: Duration | UnsetType = UNSET  # of the key that is replaced


class NamedKeyRoutes(OidcParts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        return (
            Route(pattern="oidc/key/", ops={Op.LIST: self.list_names}, help="The names of the OIDC keys."),
            # hvac repeats the name in the body and takes an answer without warnings for success.
            Route(pattern="oidc/key/{name}", args=KeyArgs, ops=one, strict=False, help="A key that signs OIDC tokens."),
            Route(
                pattern="oidc/key/{name}/rotate",
                args=RotateArgs,
                ops={Op.UPDATE: self.rotate},
                help="Let the next key sign from now on.",
            ),
        )

    async def read(self, call: Call, args: KeyArgs) -> Response:
        key = await self._oidc.key(check_name(args.name))
        if key is None:
            raise NotFound
        return Response(data=key_data(key))

    async def list_names(self, call: Call, args: NoArgs) -> Response:
        return listed(await self._oidc.names(self._oidc.keys.key))

    async def write(self, call: Call, args: KeyArgs) -> Response:
        oidc, name = self._oidc, check_name(args.name)
        known = await oidc.key(name)
        algorithm = _algorithm(args, known)
        pairs = []
        if known is None or known.algorithm != algorithm:
            pairs = [await self._pair(algorithm), await self._pair(algorithm)]

        async def make() -> list[Write]:
            old, now = await oidc.key(name), self._now()
            if _algorithm(args, old) != algorithm or (not pairs and old is None):
                raise BadRequest("the key changes too quickly")
            period = _or(args.rotation_period, old.rotation_period if old else DAY)
            ttl = _or(args.verification_ttl, old.verification_ttl if old else DAY)
            clients = old.allowed_client_ids if old else ()
            if args.allowed_client_ids is not UNSET:
                clients = tuple(args.allowed_client_ids)
            _check(period, ttl, clients)
            await self._check_references(name, ttl)
            if old is None:
                new = NamedKey(
                    name=name,
                    algorithm=algorithm,
                    rotation_period=period,
                    verification_ttl=ttl,
                    allowed_client_ids=clients,
                    signing=pairs[0],
                    following=pairs[1],
                    next_rotation=next_at(now, period),
                )
                return oidc.key_writes(new, None)
            new = old
            if old.algorithm != algorithm:
                new = rotated(msgspec.structs.replace(old, following=pairs[0], algorithm=algorithm), pairs[1], now)
            new = msgspec.structs.replace(
                new,
                rotation_period=period,
                verification_ttl=ttl,
                allowed_client_ids=clients,
                next_rotation=old.next_rotation
                if period == old.rotation_period and new is old
                else next_at(now, period),
            )
            return oidc.key_writes(new, old)

        await oidc.change(make)
        return Response()

    async def _check_references(self, name: str, verification_ttl: int) -> None:
        """No role gives tokens that outlive what checks them. Raises BadRequest."""
        if any(role.key == name and role.ttl > verification_ttl for role in (await self._oidc.roles()).values()):
            raise BadRequest(
                f"unable to update key {name!r} because it is currently referenced by one or more roles "
                f"with a token ttl greater than {verification_ttl} seconds"
            )

    async def delete(self, call: Call, args: KeyArgs) -> Response:
        oidc, name = self._oidc, check_name(args.name)

        async def make() -> list[Write]:
            users = sorted(role for role, entry in (await oidc.roles()).items() if entry.key == name)
            if users:
                raise BadRequest(
                    f"unable to delete key {name!r} because it is currently referenced by these roles: "
                    f"{', '.join(users)}"
                )
            key = await oidc.key(name)
            return [] if key is None else oidc.key_gone(key)

        await oidc.change(make)
        return Response()

    async def rotate(self, call: Call, args: RotateArgs) -> Response:
        oidc, name = self._oidc, check_name(args.name)
        algorithm = (await self._named_key(name)).algorithm
        fresh = await self._pair(algorithm)
        override = None if isinstance(args.verification_ttl, UnsetType) else int(args.verification_ttl)

        async def make() -> list[Write]:
            old = await self._named_key(name)
            if old.algorithm != algorithm:
                raise BadRequest("the key changes too quickly")
            new = rotated(old, fresh, self._now(), verification_ttl=override)
            if override:  # 0 ends trust in the key that is replaced, and says nothing of those to come
                _check(old.rotation_period, override, ())
                new = msgspec.structs.replace(new, verification_ttl=override)
            return oidc.key_writes(new, old)

        await oidc.change(make)
        return Response()


def _algorithm(args: KeyArgs, known: NamedKey | None) -> str:
    """Raises BadRequest."""
    if isinstance(args.algorithm, UnsetType):
        return known.algorithm if known is not None else ALGORITHMS[0]
    if args.algorithm not in ALGORITHMS:
        raise BadRequest(f"unknown signing algorithm; there are {', '.join(ALGORITHMS)}")
    return str(args.algorithm)


def _or(given: Duration | UnsetType, otherwise: int) -> int:
    return otherwise if isinstance(given, UnsetType) else int(given)


def _check(period: int, verification_ttl: int, clients: tuple[str, ...]) -> None:
    """Raises BadRequest."""
    if period < _LEAST_PERIOD:
        raise BadRequest("rotation_period must be at least one minute")
    if verification_ttl > _MOST_PERIODS * period:
        raise BadRequest("verification_ttl cannot be longer than 10x rotation_period")
    if len(clients) > _MAX_CLIENTS:
        raise BadRequest(f"allowed_client_ids holds more than {_MAX_CLIENTS}")
