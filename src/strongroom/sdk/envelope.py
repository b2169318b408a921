"""An answer's envelope: the eight keys clients know, for the door that sends it and the wrapping that keeps it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.sdk.fields import Flag
from strongroom.sdk.request import Auth


class Envelope(msgspec.Struct):
    """The eight keys, in Vault's order, always all of them."""

    request_id: str
    lease_id: str
    renewable: bool
    lease_duration: int
    data: Any
    wrap_info: Any
    warnings: tuple[str, ...] | None
    auth: Any


class WireAuth(msgspec.Struct):
    """``auth`` as the envelope shows it (wire facts B.1)."""

    client_token: str
    accessor: str
    policies: tuple[str, ...] | None
    token_policies: tuple[str, ...] | msgspec.UnsetType
    identity_policies: tuple[str, ...] | msgspec.UnsetType
    metadata: Mapping[str, str] | None
    lease_duration: int
    renewable: bool
    entity_id: str
    token_type: str
    orphan: bool
    mfa_requirement: Mapping[str, Any] | None
    num_uses: int


def plain(value: Any) -> Any:
    """The field types of ``sdk.fields`` that found their way into an answer."""
    if isinstance(value, Flag):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)  # the type only: a value may be a secret


def wire_auth(auth: Auth) -> WireAuth:
    """What an envelope says of a token; the lists of policies are left out where they are empty."""
    policies = tuple(sorted({*auth.token_policies, *auth.identity_policies})) or auth.policies
    return WireAuth(
        client_token=auth.client_token,
        accessor=auth.accessor,
        policies=policies if auth.mfa_requirement is None else None,
        token_policies=auth.token_policies or msgspec.UNSET,
        identity_policies=auth.identity_policies or msgspec.UNSET,
        metadata=auth.metadata,
        lease_duration=auth.ttl,
        renewable=auth.renewable,
        entity_id=auth.entity_id,
        token_type=auth.token_type,
        orphan=auth.orphan,
        mfa_requirement=auth.mfa_requirement,
        num_uses=auth.num_uses,
    )
