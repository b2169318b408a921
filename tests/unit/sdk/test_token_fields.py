"""The rules about policy names, addresses and partial updates."""

import pytest

from strongroom.errors import BadRequest
from strongroom.sdk.fields import convert
from strongroom.sdk.token_fields import (
    AliasedTokenArgs,
    TokenParams,
    address_within,
    check_cidrs,
    cidrs_within,
    normalize_policies,
)


def test_policies_are_lower_case_sorted_and_single() -> None:
    assert normalize_policies(["b", "A", "a", "", "größe", "team/x", "rooted", "r00t", "ops-root"]) == (
        "a", "b", "größe", "ops-root", "r00t", "rooted", "team/x",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["root", "ROOT", "rооt", "ｒoot", "r\u03bf\u03bft", "röot"])
def test_nothing_drawn_like_root_is_a_policy(name: str) -> None:
    with pytest.raises(BadRequest, match="root policy"):
        normalize_policies([name])


@pytest.mark.parametrize(
    "name", [" odd", "odd ", "o dd", "odd\t", "odd\u00a0", "od,d", "odd\x00", "o\u200bdd", "x" * 513]
)
def test_odd_names_are_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        normalize_policies([name])
    assert "odd" not in str(caught.value)


def test_too_many_policies() -> None:
    with pytest.raises(BadRequest):
        normalize_policies(str(n) for n in range(1025))


@pytest.mark.parametrize(
    ("remote", "blocks", "inside"),
    [
        ("10.0.0.1", ["10.0.0.0/8"], True),
        ("10.0.0.1", ["10.0.0.1"], True),
        ("10.0.0.1", ["192.0.2.0/24", "10.0.0.1/32"], True),
        ("::ffff:10.0.0.1", ["10.0.0.0/8"], True),
        ("10.0.0.1", ["::ffff:10.0.0.0/104"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("10.0.0.1", ["::/0"], False),
        ("::1", ["0.0.0.0/0"], False),
        ("::10.0.0.1", ["10.0.0.0/8"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("10.0.0.1", [], False),
        ("10.0.0.1/8", ["10.0.0.0/8"], False),
        ("010.0.0.1", ["10.0.0.0/8"], False),
        ("167772161", ["10.0.0.0/8"], False),
    ],
)
def test_address_within(remote: str, blocks: list[str], inside: bool) -> None:
    assert address_within(remote, blocks) is inside


def test_cidrs_within() -> None:
    assert cidrs_within(["10.1.0.0/16", "10.2.0.1"], ["10.0.0.0/8"])
    assert cidrs_within(["10.1.0.0/16"], [])
    assert cidrs_within([], ["10.0.0.0/8"])
    assert not cidrs_within(["10.0.0.0/7"], ["10.0.0.0/8"])
    assert not cidrs_within(["::/0"], ["0.0.0.0/0"])
    assert not cidrs_within(["0.0.0.0/0"], ["::/0"])


def test_cidrs_stay_as_they_were_written() -> None:
    assert check_cidrs([" 10.1.2.3/8", "", "2001:DB8::1"], name="x") == ("10.1.2.3/8", "2001:DB8::1")
    for bad in ("10.0.0.0/33", "host", "10.0.0", "1.2.3.4/255.0.0.255", "10.0.0.1-2"):
        with pytest.raises(BadRequest, match="token_bound_cidrs"):
            check_cidrs([bad], name="token_bound_cidrs")


def test_an_update_without_fields_is_no_change() -> None:
    params = TokenParams(token_ttl=5, aliases=("ttl",))
    assert params.updated(AliasedTokenArgs()) is params


def test_everything_may_come_as_text() -> None:
    given = {
        "token_ttl": "60", "token_max_ttl": "2m", "token_num_uses": "3", "token_no_default_policy": "true",
        "token_strictly_bind_ip": "0", "token_type": "", "token_period": "", "period": "1h",
    }  # fmt: skip
    params = TokenParams().updated(convert(given, AliasedTokenArgs))
    assert params == TokenParams(token_ttl=60, token_max_ttl=120, token_num_uses=3, token_no_default_policy=True)


def test_reset_forgets_the_alias() -> None:
    params = TokenParams().updated(convert({"policies": "a", "ttl": 5}, AliasedTokenArgs))
    assert params.aliases == ("policies", "ttl")
    assert params.reset("token_policies") == TokenParams(token_ttl=5, aliases=("ttl",))
