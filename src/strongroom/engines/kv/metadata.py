"""The settings of a secret and of its mount: their fields, their limits, and how a write changes them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.engines.kv.secret import Config, Edit, Secret, Version, new_secret, rfc3339
from strongroom.errors import BadRequest
from strongroom.sdk.fields import UNSET, AnyMap, Duration, Flag, SignedDuration, UnsetType, go_duration

MAX_CUSTOM = 64  # entries of custom_metadata
MAX_CUSTOM_KEY = 128  # bytes of UTF-8
MAX_CUSTOM_VALUE = 512  # bytes of UTF-8
MAX_VERSIONS = 2**32 - 1
PATCHABLE = frozenset(
    {"max_versions", "cas_required", "delete_version_after", "custom_metadata", "metadata_cas_required"}
)
CAS_IGNORED = '"cas_required" set to false, but is mandated by backend config. This value will be ignored.'


class ConfigArgs(msgspec.Struct, frozen=True):
    max_versions: int | UnsetType = UNSET
    cas_required: Flag | UnsetType = UNSET
    delete_version_after: SignedDuration | UnsetType = UNSET
    metadata_cas_required: Flag | UnsetType = UNSET


class MetadataArgs(msgspec.Struct, frozen=True):
    path: str = ""
    max_versions: int | UnsetType = UNSET
    cas_required: Flag | UnsetType = UNSET
    delete_version_after: Duration | UnsetType = UNSET
    custom_metadata: AnyMap | UnsetType = UNSET
    metadata_cas: int | UnsetType = UNSET
    metadata_cas_required: Flag | UnsetType = UNSET
    after: str = ""
    limit: int = 0

    def says_nothing(self) -> bool:
        fields = (self.max_versions, self.cas_required, self.delete_version_after, self.custom_metadata)
        return all(field is UNSET for field in (*fields, self.metadata_cas_required))


def config_view(config: Config) -> dict[str, Any]:
    """The mount's settings as ``config`` answers them."""
    return {
        "cas_required": config.cas_required,
        "delete_version_after": go_duration(config.delete_version_after),
        "max_versions": config.max_versions,
        "metadata_cas_required": config.metadata_cas_required,
    }


def apply_config(config: Config, args: ConfigArgs) -> None:
    """Set what ``args`` names. Raises BadRequest."""
    if args.max_versions is not UNSET:
        config.max_versions = _count(args.max_versions)
    if args.cas_required is not UNSET:
        config.cas_required = bool(args.cas_required)
    if args.metadata_cas_required is not UNSET:
        config.metadata_cas_required = bool(args.metadata_cas_required)
    if args.delete_version_after is not UNSET:
        config.delete_version_after = max(-1, int(args.delete_version_after))


def version_view(number: int, version: Version, secret: Secret) -> dict[str, Any]:
    """One version's metadata as reads and writes of data answer it."""
    return {
        "created_time": rfc3339(version.created),
        "custom_metadata": secret.custom,
        "deletion_time": rfc3339(version.deleted),
        "destroyed": version.destroyed,
        "version": number,
    }


def metadata_view(secret: Secret) -> dict[str, Any]:
    """All metadata of a secret as ``metadata/`` answers it."""
    return {
        "cas_required": secret.cas_required,
        "created_time": rfc3339(secret.created),
        "current_metadata_version": secret.metadata_version,
        "current_version": secret.current,
        "custom_metadata": secret.custom,
        "delete_version_after": go_duration(secret.delete_version_after),
        "max_versions": secret.max_versions,
        "metadata_cas_required": secret.metadata_cas_required,
        "oldest_version": secret.oldest,
        "updated_time": rfc3339(secret.updated),
        "versions": {
            str(number): {
                "created_time": rfc3339(version.created),
                "deletion_time": rfc3339(version.deleted),
                "destroyed": version.destroyed,
            }
            for number, version in secret.versions().items()
        },
    }


def metadata_write(args: MetadataArgs, now: Callable[[], int]) -> Callable[[Config, Secret | None], Edit]:
    """The change that POST metadata asks for; it makes the secret, without versions, if there is none.

    Raises:
        BadRequest: at once for a bad field; from the change for a check-and-set that does not hold.
    """
    custom = UNSET if args.custom_metadata is UNSET else check_custom(_texts(args.custom_metadata))

    def change(config: Config, secret: Secret | None) -> Edit:
        at = now()
        secret = secret or new_secret(at)
        _check_cas(args, config, secret)
        _set_fields(secret, args)
        if custom is not UNSET:
            secret.custom = custom or None
        return _touched(secret, at)

    return change


def metadata_patch(
    args: MetadataArgs, document: Mapping[str, Any], now: Callable[[], int]
) -> Callable[[Config, Secret], Edit | None]:
    """The change that a merge patch (RFC 7396) asks for: null clears a field, custom_metadata merges key by key.

    Raises:
        BadRequest: as ``metadata_write``.
    """
    cleared = frozenset(key for key in PATCHABLE if key in document and document[key] is None)
    patch: dict[str, Any] = {} if args.custom_metadata is UNSET else dict(args.custom_metadata)
    check_custom(_texts({key: value for key, value in patch.items() if value is not None}))

    def change(config: Config, secret: Secret) -> Edit | None:
        if args.says_nothing() and not cleared:
            return None
        _check_cas(args, config, secret)
        _set_fields(secret, args)
        if "max_versions" in cleared:
            secret.max_versions = 0
        if "cas_required" in cleared:
            secret.cas_required = False
        if "delete_version_after" in cleared:
            secret.delete_version_after = 0
        if "metadata_cas_required" in cleared:
            secret.metadata_cas_required = False
        merged: dict[str, Any] = {} if "custom_metadata" in cleared else {**(secret.custom or {}), **patch}
        secret.custom = check_custom(_texts({k: v for k, v in merged.items() if v is not None})) or None
        return _touched(secret, now())

    return change


def _set_fields(secret: Secret, args: MetadataArgs) -> None:
    if args.max_versions is not UNSET:
        secret.max_versions = _count(args.max_versions)
    if args.cas_required is not UNSET:
        secret.cas_required = bool(args.cas_required)
    if args.delete_version_after is not UNSET:
        secret.delete_version_after = int(args.delete_version_after)
    if args.metadata_cas_required is not UNSET:
        secret.metadata_cas_required = bool(args.metadata_cas_required)


def _touched(secret: Secret, now: int) -> Edit:
    secret.updated = now
    secret.metadata_version += 1
    return Edit(secret, grows=True)


def _check_cas(args: MetadataArgs, config: Config, secret: Secret) -> None:
    if args.metadata_cas is UNSET:
        if config.metadata_cas_required or secret.metadata_cas_required:
            raise BadRequest("metadata check-and-set parameter required for this call")
    elif args.metadata_cas != secret.metadata_version:
        raise BadRequest("metadata check-and-set parameter does not match the current version")


def _count(value: int) -> int:
    if not 0 <= value <= MAX_VERSIONS:
        raise BadRequest("max_versions is out of range")
    return value


def _texts(raw: Mapping[str, Any]) -> dict[str, str]:
    """Values as text, the way Vault's weak decoding makes them."""
    out: dict[str, str] = {}
    for key, value in raw.items():
        if value is None:
            out[key] = ""
        elif isinstance(value, bool):
            out[key] = "1" if value else "0"
        elif isinstance(value, str | int | float):
            out[key] = str(value)
        else:
            raise BadRequest(f"custom_metadata validation failed: value for key {_quoted(key)} is not text")
    return out


def check_custom(custom: dict[str, str]) -> dict[str, str]:
    """``custom`` itself. Raises BadRequest with every entry that is over the limits or not printable, as Vault does."""
    faults: list[str] = []
    if len(custom) > MAX_CUSTOM:
        faults.append(f"payload must contain at most {MAX_CUSTOM} keys, provided {len(custom)}")
        custom = {}
    for key, value in custom.items():
        name, size = _quoted(key), len(key.encode())
        if not 0 < size <= MAX_CUSTOM_KEY:
            faults.append(f"length of key {name} is {size} but must be 0 < len(key) <= {MAX_CUSTOM_KEY}")
        size = len(value.encode())
        if not 0 < size <= MAX_CUSTOM_VALUE:
            faults.append(f"length of value for key {name} is {size} but must be 0 < len(value) <= {MAX_CUSTOM_VALUE}")
        if not key.isprintable():
            faults.append(f"key {name} contains unprintable characters")
        if not value.isprintable():
            faults.append(f"value for key {name} contains unprintable characters")
    if faults:
        count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
        lines = "".join(f"\t* custom_metadata validation failed: {fault}\n" for fault in faults)
        raise BadRequest(f"{count} occurred:\n{lines}\n")
    return custom


def _quoted(key: str) -> str:
    return json.dumps(key if len(key) <= MAX_CUSTOM_KEY else key[:MAX_CUSTOM_KEY] + "...", ensure_ascii=False)
