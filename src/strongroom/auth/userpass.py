"""User names and passwords.

Passwords are kept as Argon2id hashes in PHC form. Every spelling of a user name counts as one name: for the look-up,
for the alias and for the lockout. A login that fails says the same, and costs one Argon2 computation, whether the
user exists or not.

Keys: ``user/<name>`` holds one ``_User`` as JSON.
"""

import base64
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied, VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import UNSET, StrList, Text, UnsetType
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Write
from strongroom.sdk.token_fields import AliasedTokenArgs, TokenParams

# The second recommended option of RFC 9106 section 4 (3 passes over 64 MiB) with one lane instead of four: a server
# finds its parallelism in many logins at once, and with one lane an attacker cannot finish a guess any sooner.
HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=1, hash_len=32, salt_len=16)
MAX_NAME = 256  # characters
MAX_PASSWORD = 4096  # bytes of UTF-8
_REFUSED = "invalid username or password"
_ATTEMPTS = 8  # of a read-modify-write that meets another writer
# What an imported hash may cost, so that nobody stores one that takes a worker's memory or minutes.
_PHC = re.compile(r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}")
_MIN_MEMORY, _MAX_MEMORY, _MAX_TIME, _MAX_LANES = 7168, 262144, 16, 8  # KiB, KiB, passes, lanes


class _User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as stored. ``uid`` tells a user from a later one of the same name."""

    uid: str
    password: str  # PHC string
    token: TokenParams = TokenParams()

    def __repr__(self) -> str:
        return f"_User(uid={self.uid!r})"


class _Login(msgspec.Struct, frozen=True):
    password: Text = Text("")

    def __repr__(self) -> str:
        return "_Login()"


class _Password(msgspec.Struct, frozen=True, kw_only=True):
    password: Text | UnsetType = UNSET
    password_hash: Text | UnsetType = UNSET

    def __repr__(self) -> str:
        return "_Password()"


class _UserArgs(AliasedTokenArgs, frozen=True, kw_only=True):
    password: Text | UnsetType = UNSET
    password_hash: Text | UnsetType = UNSET

    def __repr__(self) -> str:
        return "_UserArgs()"


class _Policies(msgspec.Struct, frozen=True, kw_only=True):
    token_policies: StrList | UnsetType = UNSET
    policies: StrList | UnsetType = UNSET


class Userpass:
    """The auth method ``userpass``.

    Args:
        mount: where it is mounted.
        hasher: Argon2id with the parameters for new hashes; hashes with others are renewed at the next login.
    """

    def __init__(self, mount: Mount, *, hasher: PasswordHasher = HASHER) -> None:
        self._mount = mount
        self._storage = mount.storage
        self._hasher = hasher
        self._dummy = _unmatchable(hasher)

    def routes(self) -> Sequence[Route]:
        """Login, users, and the two single fields that have paths of their own."""
        write = {Op.CREATE: self._write, Op.UPDATE: self._write}
        return (
            Route(
                pattern="login/{username}",
                args=_Login,
                ops={Op.UPDATE: self._login, Op.CREATE: self._login},
                login=True,
                fold=("username",),
                facts=self._login_facts,
                help="Log in with a user name and a password.",
            ),
            Route(pattern="users/", args=Page, ops={Op.LIST: self._list}, help="The names of all users."),
            Route(
                pattern="users/{username}",
                args=_UserArgs,
                ops={Op.READ: self._read, **write, Op.DELETE: self._delete},
                fold=("username",),
                exists=self._exists,
                help="A user: the password, and what the user's tokens may do.",
            ),
            Route(
                pattern="users/{username}/password",
                args=_Password,
                ops={Op.UPDATE: self._set_password},
                fold=("username",),
                help="Set the password of a user.",
            ),
            Route(
                pattern="users/{username}/policies",
                args=_Policies,
                ops={Op.UPDATE: self._set_policies},
                fold=("username",),
                help="Set the policies of a user.",
            ),
        )

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew(self, auth: Auth) -> Auth:
        """Today's TTLs for a token of a user who still exists and still has the policies of the login.

        Raises:
            PermissionDenied: the user is gone (one of the same name created since does not count), or has
                other policies.
        """
        found = await self._find(str(auth.private.get("username", "")))
        if found is None or found[0].uid != auth.private.get("uid"):
            raise PermissionDenied("the user of this token no longer exists")
        user = found[0]
        if list(user.token.token_policies) != list(auth.private.get("policies", ())):
            raise PermissionDenied("policies have changed, not renewing")
        return user.token.renewed(auth)

    # -- login

    async def _login_facts(self, call: Call, args: _Login) -> Mapping[str, Any]:
        return {"login_alias": canonical_name(call.match.params["username"])}

    async def _login(self, call: Call, args: _Login) -> Response:
        name = canonical_name(call.match.params["username"])
        found = await self._find(name) if _is_user_name(name) else None
        hashed = found[0].password if found is not None else self._dummy
        right = await self._verify(hashed, args.password)
        if found is None or not right:
            raise BadRequest(_REFUSED)
        user, revision = found
        auth = user.token.grant(
            remote=call.request.remote,
            alias=name,
            display_name=name,
            metadata={"username": name},
            private={"username": name, "uid": user.uid, "policies": list(user.token.token_policies)},
        )
        if self._hasher.check_needs_rehash(user.password):
            await self._rehash(name, user, revision, args.password)
        return Response(auth=auth)

    async def _verify(self, hashed: str, password: str) -> bool:
        if len(password.encode()) > MAX_PASSWORD:  # never stored, so it is wrong for everybody
            return False

        def work() -> bool:
            try:
                return self._hasher.verify(hashed, password)
            except (Argon2Error, InvalidHashError):
                return False

        return bool(await self._mount.offload(work))

    async def _rehash(self, name: str, user: _User, revision: int, password: str) -> None:
        """Bring the stored hash to today's parameters. A login does not fail because this could not be done."""
        try:
            hashed = await self._hash(password)
            await self._put(name, msgspec.structs.replace(user, password=hashed), revision)
        except VaultError:
            return

    async def _hash(self, password: str) -> str:
        return str(await self._mount.offload(lambda: self._hasher.hash(password)))

    # -- users

    async def _exists(self, call: Call) -> bool:
        return await self._storage.get(_key(call.match.params["username"])) is not None

    async def _list(self, call: Call, args: Page) -> Response:
        return await answer_names(self._storage, "user/", args)

    async def _read(self, call: Call, args: NoArgs) -> Response:
        found = await self._find(_user_name(call))
        if found is None:
            raise NotFound
        return Response(data=found[0].token.answer())

    async def _write(self, call: Call, args: _UserArgs) -> Response:
        name = _user_name(call)
        hashed = await self._new_hash(args)
        for _ in range(_ATTEMPTS):
            found = await self._find(name)
            if found is None:
                if hashed is None:
                    raise BadRequest("missing password")
                user, revision = _User(uid=os.urandom(8).hex(), password=hashed), 0
            else:
                user, revision = found
            user = msgspec.structs.replace(user, password=hashed or user.password, token=user.token.updated(args))
            try:
                await self._put(name, user, revision)
            except Conflict:
                continue
            return Response(warnings=user.token.warnings(self._mount.max_lease_ttl))
        raise Conflict("the user is being changed by others; try again")

    async def _set_password(self, call: Call, args: _Password) -> Response:
        name = _user_name(call)
        hashed = await self._new_hash(args)
        if hashed is None:
            raise BadRequest("missing password")
        await self._change(name, lambda user: msgspec.structs.replace(user, password=hashed))
        return Response()

    async def _set_policies(self, call: Call, args: _Policies) -> Response:
        if args.policies is UNSET and args.token_policies is UNSET:
            raise BadRequest("missing token_policies")
        await self._change(_user_name(call), lambda user: msgspec.structs.replace(user, token=user.token.updated(args)))
        return Response()

    async def _delete(self, call: Call, args: NoArgs) -> Response:
        await self._storage.commit([Write(_key(_user_name(call)), None)])
        return Response()

    # -- storage

    async def _find(self, name: str) -> tuple[_User, int] | None:
        entry = await self._storage.get(_key(name)) if name else None
        return None if entry is None else (msgspec.json.decode(entry.value, type=_User), entry.revision)

    async def _put(self, name: str, user: _User, revision: int) -> None:
        await self._storage.commit([Write(_key(name), msgspec.json.encode(user))], expect={_key(name): revision})

    async def _change(self, name: str, change: Any) -> None:
        for _ in range(_ATTEMPTS):
            found = await self._find(name)
            if found is None:
                raise BadRequest("username does not exist")
            try:
                await self._put(name, change(found[0]), found[1])
            except Conflict:
                continue
            return
        raise Conflict("the user is being changed by others; try again")

    async def _new_hash(self, args: _Password | _UserArgs) -> str | None:
        """The PHC string for a password or an imported hash in ``args``; None if it has neither."""
        password, imported = args.password or None, args.password_hash or None
        if password is not None and imported is not None:
            raise BadRequest("give password or password_hash, not both")
        if imported is not None:
            return check_imported_hash(imported)
        if password is None:
            return None
        if len(password.encode()) > MAX_PASSWORD:
            raise BadRequest(f"the password is longer than {MAX_PASSWORD} bytes")
        return await self._hash(password)


def canonical_name(name: str) -> str:
    """The one spelling of a user name: compatibility forms, case and outer blanks do not count.

    NFKC, case-folded, NFC (UAX 15, Unicode 3.13), then stripped.
    """
    if name.isascii():
        return name.strip().lower()
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", folded)).strip()


def check_imported_hash(text: str) -> str:
    """A PHC string that was made elsewhere, if it is Argon2id (version 19) at a reasonable cost.

    Raises:
        BadRequest: another algorithm, a malformed string, or parameters that are too weak or too dear.
    """
    phc = _PHC.fullmatch(text)
    if phc is None:
        raise BadRequest("password_hash must be an argon2id PHC string (bcrypt and others are not taken)")
    memory, passes, lanes = int(phc[1]), int(phc[2]), int(phc[3])
    if not (_MIN_MEMORY <= memory <= _MAX_MEMORY and 1 <= passes <= _MAX_TIME and 1 <= lanes <= _MAX_LANES):
        raise BadRequest(
            f"password_hash must have m={_MIN_MEMORY}..{_MAX_MEMORY}, t=1..{_MAX_TIME} and p=1..{_MAX_LANES}"
        )
    return str(text)


def _unmatchable(hasher: PasswordHasher) -> str:
    """A PHC string with ``hasher``'s parameters and a random tag: checking against it costs as much and never holds."""
    salt, tag = os.urandom(hasher.salt_len), os.urandom(hasher.hash_len)
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${_b64(salt)}${_b64(tag)}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _is_user_name(name: str) -> bool:
    return (
        0 < len(name) <= MAX_NAME
        and name not in (".", "..")
        and not any(c in "/\\" or unicodedata.category(c)[0] == "C" for c in name)
    )


def _user_name(call: Call) -> str:
    """The user name of a path that policies decide on: only in its one spelling, so that no rule is passed by."""
    name = call.match.params["username"]
    if canonical_name(name) != name or not _is_user_name(name):
        raise BadRequest("write the user name in its plain form: no outer blanks, no compatibility letters")
    return name


def _key(name: str) -> str:
    return f"user/{name}"
