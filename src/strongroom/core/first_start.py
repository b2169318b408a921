"""What a new vault holds from its first moment: mounts, the default policy, the root token, its secrets."""

import os
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core import layout
from strongroom.core.mounts import MountTable, default_mounts
from strongroom.core.names import new_uuid
from strongroom.core.policies import default_policies
from strongroom.core.token_entry import TokenEntry
from strongroom.core.tokens import Tokens, new_token_keys
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.core import Core


async def first_entries(core: "Core", first: Any, *, token: str = "") -> str:
    """Write them into ``first``; the root token.

    Args:
        core: for its configuration and clock.
        first: a Storage that keeps what is written for the one commit of init.
        token: a root token of one's own choice (development), "" = make one.
    """
    now, ns = core.now(), ROOT_NAMESPACE
    cluster = {"name": core.config.cluster_name or f"vault-cluster-{os.urandom(4).hex()}", "id": new_uuid()}
    mac_key = os.urandom(32)
    table = MountTable(first, ns, core.kinds, core.limits, mac_key, now=core.now, offload=core.offload)
    prefix = layout.token_prefix(ns)
    keys, keys_write = new_token_keys(prefix)
    writes = [
        Write(layout.CLUSTER, msgspec.json.encode(cluster)),
        Write(layout.config(ns, "mount-mac"), mac_key),
        Write(layout.epoch(ns), b"1"),
        keys_write,
        *(table.write(entry) for entry in default_mounts(table)),
        *default_policies(ns, now, core.language.default_policy),
    ]
    await first.commit(writes)
    tokens = Tokens(first, prefix, layout.lease_prefix(ns), keys, core.now)
    root, _ = await tokens.create(root_entry(tokens), token=token)
    return root


def root_entry(tokens: Tokens) -> TokenEntry:
    """A token that may do everything and never expires."""
    return tokens.draft(
        TokenEntry(accessor="", policies=("root",), path="auth/token/root", display_name="root", renewable=False)
    )
