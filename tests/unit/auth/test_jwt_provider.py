"""Keys that a provider publishes: discovery, rotation, how often it is asked, and what happens while it is away."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.login_harness import Clock, Door
from oidc_provider import MockProvider, ec_key, public, rsa_key, signed
from outside_peer import Authority
from strongroom.auth.jwt import Jwt
from strongroom.auth.jwt.provider import may_lead
from strongroom.errors import BadRequest, Unreachable
from strongroom.sdk.engine import run_inline
from strongroom.vault.outside import Outside

ROLE = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[MockProvider]:
    with MockProvider(now=clock) as one:
        yield one


async def ready(provider: MockProvider, clock: Clock, **config: Any) -> Door:
    door = Door(Jwt, kind="jwt", fetch=Outside(run_inline))
    door.clock = clock
    door.mount = door.mount.__class__(
        **{**{f: getattr(door.mount, f) for f in door.mount.__struct_fields__}, "now": clock}
    )
    door.restart()
    await door.write("config", config or {"oidc_discovery_url": provider.url})
    await door.write("role/r", ROLE)
    return door


async def login(door: Door, token: str) -> str:
    response = await door.write("login", {"role": "r", "jwt": token})
    assert response.auth is not None
    return response.auth.alias


async def refused(door: Door, token: str) -> None:
    with pytest.raises(BadRequest, match="invalid role or token"):
        await login(door, token)


async def test_discovery_and_jwks_url(provider: MockProvider, clock: Clock) -> None:
    for config in ({"oidc_discovery_url": f"{provider.url}/"}, {"jwks_url": f"{provider.url}/keys"}):
        door = await ready(provider, clock, **config)
        assert await login(door, provider.token()) == "alice"
        door.restart()  # another process: the keys are in the store
        before = len(provider.peer.asked)
        assert await login(door, provider.token()) == "alice"
        assert len(provider.peer.asked) == before


async def test_discovery_binds_the_issuer(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    await login(door, provider.token())
    for iss in (None, "https://other", f"{provider.url}/", ""):
        await refused(door, provider.token(iss=iss))
    door = await ready(provider, clock, oidc_discovery_url=provider.url, bound_issuer="https://other")
    await login(door, provider.token(iss="https://other"))
    await refused(door, provider.token())


async def test_a_new_key_is_found_at_once_and_a_withdrawn_one_ends(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    old = provider.token(exp=int(clock()) + 7200)
    await login(door, old)
    provider.rotate("two")
    await login(door, provider.token())
    assert provider.asked("/keys") == 2
    await refused(door, old)  # its key is no longer published


async def test_a_withdrawn_key_ends_without_anybody_naming_a_new_one(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    old = provider.token(exp=int(clock()) + 7200)
    provider.rotate("two")
    clock.tick(299)
    await login(door, old)
    clock.tick(2)
    await refused(door, old)


async def test_unknown_key_ids_ask_once_in_five_seconds_whatever_process_they_come_to(
    provider: MockProvider, clock: Clock
) -> None:
    door = await ready(provider, clock)
    start = provider.asked("/keys")
    forged = [signed(rsa_key(f"made-up-{n}", 3), {"sub": "x", "aud": "vault", "iss": provider.url}) for n in range(20)]
    for n, token in enumerate(forged):
        if n % 5 == 0:
            door.restart()
        await refused(door, token)
    assert provider.asked("/keys") == start + 1
    provider.rotate("two")
    await refused(door, provider.token())  # too soon
    clock.tick(4.9)
    await refused(door, provider.token())
    assert provider.asked("/keys") == start + 1
    clock.tick(0.2)
    assert await login(door, provider.token()) == "alice"
    assert provider.asked("/keys") == start + 2


async def test_parallel_logins_after_a_rotation_ask_once_and_all_succeed(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    provider.rotate("two")
    start = provider.asked("/keys")
    assert await asyncio.gather(*(login(door, provider.token()) for _ in range(6))) == ["alice"] * 6
    assert provider.asked("/keys") == start + 1


async def test_while_the_provider_is_away_known_keys_count_for_an_hour(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    token = provider.token(exp=int(clock()) + 7200)
    provider.down = True
    clock.tick(1000)
    await login(door, token)
    asked = len(provider.peer.asked)
    await login(door, token)
    assert len(provider.peer.asked) == asked  # not again within five seconds
    clock.tick(2601)
    with pytest.raises(Unreachable):
        await login(door, token)
    provider.down = False
    with pytest.raises(Unreachable):  # a failure is remembered for five seconds
        await login(door, token)
    clock.tick(5)
    await login(door, token)  # and no longer


async def test_a_crash_while_asking_holds_nobody_up(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    provider.rotate("two")
    engine = door.engine._provider

    async def die(config: Any) -> Any:
        raise KeyboardInterrupt

    puts = []
    real_put, engine._fetch = engine._put, die

    async def put(keyset: Any, revision: int) -> int:
        puts.append(keyset.asking)
        return await real_put(keyset, revision) if keyset.asking else 0  # the process is gone before the result

    engine._put = put
    with pytest.raises(KeyboardInterrupt):
        await login(door, provider.token())
    assert puts == [True, False]
    door.restart()
    clock.tick(16)
    assert await login(door, provider.token()) == "alice"


async def test_a_missing_key_id_is_fine_where_one_key_fits(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    claims = {"sub": "alice", "aud": "vault", "iss": provider.url, "iat": int(clock())}
    await login(door, signed(provider.key, claims, kid=None))
    provider.published.append(public(ec_key("curve")))
    clock.tick(301)
    claims["iat"] = int(clock())
    await login(door, signed(provider.key, claims, kid=None))  # the other is of another kind
    provider.published.append(public(rsa_key("second", 1)))
    clock.tick(301)
    claims["iat"] = int(clock())
    await refused(door, signed(provider.key, claims, kid=None))
    await login(door, signed(provider.key, claims))


async def test_a_provider_that_says_nonsense_cannot_be_configured(provider: MockProvider, clock: Clock) -> None:
    good = {"oidc_discovery_url": provider.url}
    door = await ready(provider, clock)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"issuer": "https://other"}, "another issuer"),
        ({"issuer": ""}, "no discovery document"),
        ({"issuer": 7}, "no discovery document"),
        ({"jwks_uri": ""}, "no discovery document"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
        ({"jwks_uri": "http://169.254.169.254/latest"}, "jwks_uri"),
        ({"token_endpoint": "http://10.0.0.1/"}, "token_endpoint"),
        ({"jwks_uri": f"{provider.url}/nothing"}, "no usable keys"),
    ]
    for document, why in cases:
        provider.document = document
        with pytest.raises(BadRequest, match=why):
            await door.write("config", good)
    provider.document, provider.published = {}, [{"kty": "oct", "k": "AAAA"}]
    with pytest.raises(BadRequest, match="no usable keys"):
        await door.write("config", good)
    provider.published, provider.down = [public(provider.key)], True
    with pytest.raises(BadRequest, match="error checking oidc discovery URL"):
        await door.write("config", good)
    with pytest.raises(BadRequest, match="error checking jwks URL"):
        await door.write("config", {"jwks_url": f"{provider.url}/keys"})
    provider.down = False
    await login(door, provider.token())  # the old configuration stands


async def test_a_provider_with_a_certificate_of_its_own(clock: Clock) -> None:
    authority = Authority()
    with MockProvider(now=clock, tls=authority) as provider:
        door = await ready(provider, clock, oidc_discovery_url=provider.url, oidc_discovery_ca_pem=authority.pem)
        await login(door, provider.token())
        for ca in ("", Authority().pem, "nonsense"):
            with pytest.raises(BadRequest, match="error checking"):
                await door.write("config", {"oidc_discovery_url": provider.url, "oidc_discovery_ca_pem": ca})


def test_where_a_discovery_document_may_lead() -> None:
    good = [
        ("https://a", "https://b/x"),
        ("http://10.0.0.1", "http://10.0.0.1:8/x"),
        ("https://a", ""),
        ("http://a", "https://b/"),
    ]
    bad = [
        ("https://a", "http://b/"), ("https://a", "https://127.0.0.1/"), ("https://a", "https://[::1]/"),
        ("https://a", "ftp://b/"),
        ("http://10.0.0.1", "http://10.0.0.2/"), ("https://a", "https://u@b/"), ("https://a", "//b/"),
        ("https://a", "https://b/#x y"),
    ]  # fmt: skip
    assert [may_lead(*pair) for pair in good] == [True] * len(good)
    assert [may_lead(*pair) for pair in bad] == [False] * len(bad)
