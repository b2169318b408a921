"""What the engine keeps, and the fields of its routes."""

from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType

PLUGIN = "postgresql-database-plugin"
MAX_TTL = 10 * 365 * 24 * 3600  # seconds
MAX_STATEMENTS = 64 * 1024  # characters of one role's statements
_SECRET = frozenset({"password", "private_key"})
_DETAILS = ("connection_url", "username", "password", "tls_ca")
_NUMBERS = ("max_open_connections", "max_idle_connections")
_STATEMENTS = ("creation_statements", "revocation_statements", "renew_statements", "rollback_statements")


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as a client may send it."""

    name: str
    plugin_name: Text | UnsetType = UNSET
    allowed_roles: StrList | UnsetType = UNSET
    verify_connection: Flag | UnsetType = UNSET
    connection_url: Text | UnsetType = UNSET
    username: Text | UnsetType = UNSET
    password: Text | UnsetType = UNSET
    tls_ca: Text | UnsetType = UNSET
    max_open_connections: int | UnsetType = UNSET
    max_idle_connections: int | UnsetType = UNSET
    max_connection_lifetime: Duration | UnsetType = UNSET
    password_policy: Text | UnsetType = UNSET
    plugin_version: Text = Text("")  # there is one version of each kind
    root_rotation_statements: StrList | UnsetType = UNSET
    username_template: Text = Text("")


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A connection as stored."""

    plugin: str = PLUGIN
    details: dict[str, Any] = {}
    allowed_roles: tuple[str, ...] = ()
    password_policy: str = ""
    root_rotation_statements: tuple[str, ...] = ()
    verify_connection: bool = True

    def __repr__(self) -> str:
        return f"Config({self.plugin!r})"

    def updated(self, args: ConfigArgs) -> "Config":
        """This connection with the fields that ``args`` has set. Raises BadRequest."""
        if args.username_template:
            raise BadRequest("username_template is not supported; names are v-<display name>-<role>-<random>-<time>")
        details = dict(self.details)
        for name in _DETAILS:
            if (value := getattr(args, name)) is not UNSET:
                details[name] = str(value)
        for name in _NUMBERS:
            if (number := getattr(args, name)) is not UNSET:
                if not -1 <= number <= 1000:
                    raise BadRequest(f"{name} must be at most 1000")
                details[name] = max(int(number), 0)
        if args.max_connection_lifetime is not UNSET:
            details["max_connection_lifetime"] = int(args.max_connection_lifetime)
        changes: dict[str, Any] = {"details": details}
        if args.plugin_name is not UNSET:
            changes["plugin"] = str(args.plugin_name)
        if args.password_policy is not UNSET:
            changes["password_policy"] = str(args.password_policy)
        if args.verify_connection is not UNSET:
            changes["verify_connection"] = bool(args.verify_connection)
        for name in ("allowed_roles", "root_rotation_statements"):
            if (items := getattr(args, name)) is not UNSET:
                changes[name] = tuple(map(str, items))
        return msgspec.structs.replace(self, **changes)

    def allows(self, role: str) -> bool:
        """Whether ``role`` may use the connection: it is named, by itself or with a leading or trailing ``*``."""
        for glob in self.allowed_roles:
            middle = glob.strip("*")
            if glob == "*" or role == glob:
                return True
            if glob.endswith("*") and role.startswith(middle) and not glob.startswith("*"):
                return True
            if glob.startswith("*") and role.endswith(middle) and not glob.endswith("*"):
                return True
            if glob.startswith("*") and glob.endswith("*") and middle in role:
                return True
        return False

    def answer(self, shown_url: str) -> dict[str, Any]:
        """As a read shows it: no password, ever."""
        details = {key: value for key, value in self.details.items() if key not in _SECRET}
        details["connection_url"] = shown_url
        return {
            "allowed_roles": list(self.allowed_roles),
            "connection_details": details,
            "password_policy": self.password_policy,
            "plugin_name": self.plugin,
            "plugin_version": "",
            "root_credentials_rotate_statements": list(self.root_rotation_statements),
            "verify_connection": self.verify_connection,
        }


class RoleArgs(msgspec.Struct, frozen=True, kw_only=True):
    """A role as a client may send it."""

    name: str
    db_name: Text | UnsetType = UNSET
    creation_statements: StrList | UnsetType = UNSET
    revocation_statements: StrList | UnsetType = UNSET
    renew_statements: StrList | UnsetType = UNSET
    rollback_statements: StrList | UnsetType = UNSET
    default_ttl: Duration | UnsetType = UNSET
    max_ttl: Duration | UnsetType = UNSET
    credential_type: Text = Text("password")


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored. TTLs in seconds, 0 = the mount's."""

    db_name: str = ""
    creation_statements: tuple[str, ...] = ()
    revocation_statements: tuple[str, ...] = ()
    renew_statements: tuple[str, ...] = ()
    rollback_statements: tuple[str, ...] = ()
    default_ttl: int = 0
    max_ttl: int = 0

    def updated(self, args: RoleArgs, raw: dict[str, Any]) -> "Role":
        """This role with the fields that ``args`` has set; a statement given as text is one, commas and all.

        Raises:
            BadRequest: no connection named, another type of credentials, TTLs out of range or in the wrong order.
        """
        if args.credential_type != "password":
            raise BadRequest('the only credential_type is "password"')
        changes: dict[str, Any] = {}
        for name in _STATEMENTS:
            if (given := getattr(args, name)) is not UNSET:
                texts = (raw[name],) if isinstance(raw.get(name), str) else tuple(map(str, given))
                if sum(map(len, texts)) > MAX_STATEMENTS:
                    raise BadRequest(f"{name} are longer than {MAX_STATEMENTS} characters")
                changes[name] = tuple(text for text in texts if text.strip())
        for name in ("default_ttl", "max_ttl"):
            if (ttl := getattr(args, name)) is not UNSET:
                if ttl > MAX_TTL:
                    raise BadRequest(f"{name} is longer than ten years")
                changes[name] = int(ttl)
        if args.db_name is not UNSET:
            changes["db_name"] = str(args.db_name)
        role = msgspec.structs.replace(self, **changes)
        if not role.db_name:
            raise BadRequest("empty database name attribute")
        if role.max_ttl and role.default_ttl > role.max_ttl:
            raise BadRequest("default_ttl cannot be greater than max_ttl")
        return role

    def answer(self) -> dict[str, Any]:
        """As a read shows it."""
        return {
            "creation_statements": list(self.creation_statements),
            "credential_config": None,
            "credential_type": "password",
            "db_name": self.db_name,
            "default_ttl": self.default_ttl,
            "max_ttl": self.max_ttl,
            "renew_statements": list(self.renew_statements),
            "revocation_statements": list(self.revocation_statements),
            "rollback_statements": list(self.rollback_statements),
        }


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user is about to be made; removed together with the note when a lease is stored, or undone later."""

    db_name: str
    user: str
    statements: tuple[str, ...] = ()
    made: float  # seconds since the Unix epoch
    tries: int = 0
    due: float = 0.0  # not before


class Named(msgspec.Struct, frozen=True):
    name: str
