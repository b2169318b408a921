"""What doors hear of the certificates that auth methods trust."""

import pytest

from certificates import make
from strongroom.core.client_trust import client_trust
from strongroom.errors import Conflict
from strongroom.sdk.storage import Write
from vault_world import World

ROOT = make("root", ca=True)


async def test_a_cert_role_moves_the_epoch_and_every_process_sees_the_trust() -> None:
    world = await World.unsealed()
    other = await world.other()
    heard: list[frozenset[bytes]] = []

    async def told() -> None:
        heard.append(await client_trust(other.core.barrier))

    other.space.on_change.append(told)
    await world.ok("POST", "sys/auth/cert", {"type": "cert"})
    await world.ok("POST", "sys/auth/second", {"type": "cert"})
    await other.ok("GET", "sys/auth")
    assert heard[-1] == frozenset()
    await world.ok("POST", "auth/cert/certs/r", {"certificate": ROOT.pem})
    await other.ok("GET", "sys/auth")
    assert heard[-1] == {ROOT.der}
    calls = len(heard)
    await world.ok("POST", "auth/cert/certs/r", {"token_ttl": 5})
    await other.ok("GET", "sys/auth")
    assert len(heard) == calls  # nothing that doors go by
    await world.ok("DELETE", "sys/auth/cert")
    await other.ok("GET", "sys/auth")
    assert heard[-1] == frozenset()


async def test_publish_is_a_commit_with_its_expectations() -> None:
    world = await World.unsealed()
    await world.ok("POST", "sys/auth/cert", {"type": "cert"})
    entry = world.space.mounts.entries["auth/cert/"]
    mount = world.space.mounts.mount(entry)
    assert mount.publish is not None
    await mount.publish([Write("a", b"1")], {"a": 0}, {"x": [b"der"]})
    kept = await mount.storage.get("a")
    assert kept is not None and kept.value == b"1"
    with pytest.raises(Conflict):
        await mount.publish([Write("a", b"2")], {"a": 0}, {})
    with pytest.raises(Conflict):
        await mount.publish([Write("a", b"2")], {"a": kept.revision + 1}, {"x": []})
    await mount.publish([Write("a", b"3")], {"a": kept.revision}, {})
    now = await mount.storage.get("a")
    assert now is not None and now.value == b"3"
    assert await client_trust(world.core.barrier) == {b"der"}
    await mount.publish([], {}, {"x": []})
    assert await client_trust(world.core.barrier) == frozenset()


async def test_roles_in_namespaces_count_while_their_mounts_are_there() -> None:
    world = await World.unsealed()
    other = await world.other()
    inner = make("inner", ca=True)
    heard = 0

    async def told() -> None:
        nonlocal heard
        heard += 1

    other.space.on_change.append(told)
    await world.ok("POST", "sys/namespaces/team", {})
    await world.ok("POST", "team/sys/auth/cert", {"type": "cert"})
    await other.ok("GET", "sys/auth")
    before = heard
    await world.ok("POST", "team/auth/cert/certs/r", {"certificate": inner.pem})
    await other.ok("GET", "sys/auth")
    assert heard == before + 1  # the root's epoch, though nobody there entered the namespace
    assert await client_trust(other.core.barrier) == {inner.der}
    await world.ok("DELETE", "team/sys/auth/cert")
    assert await client_trust(other.core.barrier) == frozenset()
    await world.ok("POST", "team/sys/auth/cert", {"type": "cert"})
    await world.ok("POST", "team/auth/cert/certs/r", {"certificate": inner.pem})
    await world.ok("DELETE", "sys/namespaces/team")
    while await world.core.tidy():
        pass
    assert await client_trust(other.core.barrier) == frozenset()
