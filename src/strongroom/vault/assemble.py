"""Puts a vault together from names: the one place that knows all parts."""

import functools
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core.core import Core, CoreConfig
from strongroom.core.identity.engine import IdentityEngine
from strongroom.core.lease_tallies import Tallies
from strongroom.core.lockout import Counters, Lockout, LockoutConfig, LockoutRecheck
from strongroom.core.mounts import Kinds
from strongroom.core.rate_windows import Windows
from strongroom.core.sys import System
from strongroom.core.token_engine import TokenEngine
from strongroom.policy import hcl
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy, parse_stored
from strongroom.policy.below import rebased
from strongroom.policy.cedar.language import CedarLanguage
from strongroom.policy.defaults import DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY
from strongroom.policy.expectations import failures, parse_expectations
from strongroom.policy.explain import explain
from strongroom.policy.lint import lint
from strongroom.policy.templating import render
from strongroom.sdk.engine import Call, Engine, Mount, run_inline
from strongroom.sdk.policy import Question
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Backend
from strongroom.vault import plugins
from strongroom.vault.audit_switch import AuditSwitch
from strongroom.vault.config import VaultConfig, read_config
from strongroom.vault.databases import AsyncpgDatabases
from strongroom.vault.outside import Outside
from strongroom.vault.stores import WholeStore, open_backend

__all__ = ["Assembled", "VaultConfig", "assemble", "open_backend", "read_config"]

Offload = Callable[[Callable[[], Any]], Awaitable[Any]]


class Language:
    """``strongroom.policy`` as the core wants it."""

    default_policy = DEFAULT_POLICY
    response_wrapping_policy = RESPONSE_WRAPPING_POLICY
    cedar = CedarLanguage()

    def parse(self, name: str, text: str) -> Any:
        return parse_policy(name, text)

    def parse_stored(self, name: str, text: str) -> Any:
        return parse_stored(name, text)

    def plain(self, text: str, what: str) -> Mapping[str, Any]:
        return hcl.to_plain(hcl.parse(text, what=what), what=what)

    def compile(self, policies: Sequence[Any], identity: Mapping[str, Any], below: str = "") -> Acl:
        filled = [render(policy, identity) for policy in policies]
        return Acl([rebased(policy, below) for policy in filled] if below else filled)

    def explain(self, policies: Sequence[Any], identity: Mapping[str, Any], question: Question) -> dict[str, Any]:
        return explain([render(policy, identity) for policy in policies], question)

    def check(self, policy: Any, tests: str) -> list[str]:
        return failures([render(policy, {})], parse_expectations(tests))

    def lint(self, policy: Any, mounts: Mapping[str, str]) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(finding) for finding in lint(policy, mounts)]


class Assembled(msgspec.Struct, frozen=True):
    """A vault's parts."""

    core: Core
    audit: AuditSwitch
    lockout: Lockout
    kinds: Kinds

    def __repr__(self) -> str:
        return "Assembled()"


def assemble(
    backend: Backend,
    config: VaultConfig,
    *,
    now: Callable[[], float] = time.time,
    offload: Offload = run_inline,
    outward: Offload | None = None,
    handlers: Sequence[Any] = (),
    counters: Counters | None = None,
    windows: Windows | None = None,
    tallies: Tallies | None = None,
) -> Assembled:
    """A vault over ``backend``, sealed.

    Args:
        backend: the store.
        config: see VaultConfig.
        now: seconds since the Unix epoch.
        offload: runs CPU-heavy work (password hashes) where it does not hold up other requests.
        outward: runs what waits for others outside, which must not hold up the hashes; None = ``offload``.
        handlers: added behind the built-in checks.
        counters: where failed logins are counted; workers of one server share them.
        windows: where rate limits count requests; likewise.
        tallies: where lease-count quotas keep their numbers; likewise.
    """
    spaces: dict[str, Core] = {}

    def space(namespace: str) -> Any:
        return spaces["core"].space(namespace)

    shared: list[System] = []  # it keeps nothing of a namespace, so one serves all but the root's

    def system(mount: Mount) -> Engine:
        if mount.namespace == ROOT_NAMESPACE:
            return System(spaces["core"], mount)
        if not shared:
            shared.append(System(spaces["core"], mount))
        return shared[0]

    def token(mount: Mount) -> Engine:
        return TokenEngine(mount, space)

    def identity(mount: Mount) -> Engine:
        return IdentityEngine(mount, space, lambda: spaces["core"].config.api_addr)

    engines = {**plugins.factories("engines"), "system": system, "identity": identity}
    kinds = Kinds(engines, {**plugins.factories("auth"), "token": token})
    audit_dir = config.audit_dir or os.getcwd()
    audit = AuditSwitch(
        backend,
        open_sink=lambda kind, options: plugins.load("audit", kind)(options, audit_dir=audit_dir, offload=offload),
        configured=config.audit,
        required=config.audit_required,
        now=now,
        space_of=space,
    )
    lockout = Lockout(now, counters=counters, config_of=functools.partial(_lockout_of, space))
    fields = {f: getattr(config, f) for f in CoreConfig.__struct_fields__}
    core = Core(
        backend,
        CoreConfig(**fields),
        kinds=kinds,
        language=Language(),
        audit=audit,
        system=System,
        handlers=list(handlers),
        guards=[WholeStore(backend), lockout, LockoutRecheck(lockout)],
        now=now,
        offload=offload,
        fetch=Outside(outward or offload, config.allowed_private_hosts),
        windows=windows,
        databases=AsyncpgDatabases(),
        tallies=tallies,
    )
    core.lockout = lockout
    spaces["core"] = core
    return Assembled(core, audit, lockout, kinds)


def _lockout_of(space: Callable[[str], Any], call: Call) -> LockoutConfig | None:
    """The lockout settings that ``tune`` gave a mount."""
    entry = space(call.request.namespace).mounts.entries.get(call.match.mount_path)
    if entry is None or not entry.config.user_lockout:
        return None
    return LockoutConfig().merged(entry.config.user_lockout)
