"""Decisions: the published examples, errors that deny, what may be remembered, and the index against the whole set."""

import itertools
import random
from collections.abc import Callable

import cedarpy
import pytest

from strongroom.policy.cedar import decide
from strongroom.policy.cedar.decide import build
from strongroom.policy.cedar.entities import entities_of
from strongroom.policy.cedar.index import Index
from strongroom.policy.cedar.policy import read
from strongroom.policy.cedar.schema import ACTIONS
from strongroom.sdk.policy import Principal
from unit.policy.cedar.cedar_world import BOB, CI, EXAMPLES, ask, context

OPEN = "permit(principal, action, resource)"


def test_the_published_examples_decide_as_they_read():
    assert ask(EXAMPLES, BOB, "read", "database/dev/app").policies == ("p#1",)
    assert ask(EXAMPLES, BOB, "read", "database/dev").effect == "permit"
    assert ask(EXAMPLES, BOB, "read", "database/prod/app").effect == "forbid"
    assert ask(EXAMPLES, BOB, "read", "database/developers").effect == "none"
    assert ask(EXAMPLES, BOB, "write", "database/dev/app").effect == "none"
    assert ask(EXAMPLES, Principal("User", "eve"), "read", "database/dev/app").effect == "none"
    for ttl, effect in ((1, "permit"), (3600, "permit"), (3601, "none")):
        assert ask(EXAMPLES, CI, "generate", "database/dynamic/creds/app", ttl=ttl).effect == effect
    assert ask(EXAMPLES, Principal("User", "github-actions"), "generate", "database/dynamic/x", ttl=1).effect == "none"


def test_a_forbid_is_what_decides_beside_a_permit():
    verdict = ask(f'@id("all") {OPEN};\n@id("not") forbid(principal, action, resource);', BOB, "read", "a/b")
    assert (verdict.effect, verdict.policies) == ("forbid", ("not",))


def test_a_policy_that_fails_denies_although_the_engine_would_skip_it():
    text = f'{OPEN};\n@id("odd") forbid(principal, action, resource) when {{ context.none == 1 }};'
    verdict = ask(text, BOB, "read", "a/b")
    assert (verdict.effect, verdict.policies, verdict.lasting) == ("forbid", ("odd",), False)
    assert verdict.errors == ("odd: record does not have the attribute `none`",)
    assert ask(OPEN + ";", BOB, "read", "a/b").effect == "permit"


@pytest.mark.parametrize(
    ("condition", "lasting"),
    [
        ("context.mfa", True),
        ('context.auth_method == "userpass" && context.operation == "read"', True),
        ("context has mfa && context.mfa", True),
        ('"context.now" == "x"', True),
        ('context.now < datetime("2030-01-01")', False),
        ("context.ip.isLoopback()", False),
        ('context["ip"].isLoopback()', False),
        ("context has ttl", False),
        ("context == {}", False),
        ('{c: context}.c.namespace == "root"', False),
    ],
)
def test_what_reads_time_address_or_ttl_is_not_remembered(condition: str, lasting: bool):
    text = f"{OPEN} when {{ {condition} }};"
    (statement,) = read("p", text)
    assert statement.lasting is lasting
    assert ask(text, BOB, "read", "a/b").lasting is lasting


def test_a_policy_that_is_not_in_play_does_not_stop_a_decision_from_being_remembered():
    text = f'{OPEN};\nforbid(principal, action == Action::"write", resource) when {{ context.ip.isLoopback() }};'
    assert ask(text, BOB, "read", "a/b").lasting
    assert not ask(text, BOB, "write", "a/b").lasting


def test_time_and_address_are_the_servers():
    text = f'{OPEN} when {{ context.now >= datetime("2030-01-01") && context.ip.isInRange(ip("10.0.0.0/8")) }};'
    assert ask(text, BOB, "read", "a", now=1_893_456_000.0, ip="10.1.2.3").effect == "permit"
    assert ask(text, BOB, "read", "a", now=1_893_455_999.0, ip="10.1.2.3").effect == "none"
    assert ask(text, BOB, "read", "a", now=1_893_456_000.0, ip="11.1.2.3").effect == "none"
    assert ask(f"{OPEN} when {{ context.ip.isLoopback() }};", BOB, "read", "a", ip="").effect == "permit"
    assert ask(f"{OPEN} when {{ context.ip.isIpv6() }};", BOB, "read", "a", ip="fe80::1%eth0").effect == "permit"


def test_a_stored_policy_that_cannot_be_read_denies_everything():
    made = build({"good": OPEN + ";", "old": "permit(nobody);"})
    verdict = made.decide(BOB, "read", "a", context())
    assert (verdict.effect, verdict.policies) == ("forbid", ("old",))


def test_a_change_parses_only_what_changed(monkeypatch: pytest.MonkeyPatch):
    first = build({"a": OPEN + ";", "b": OPEN + ";"})
    seen: list[str] = []
    monkeypatch.setattr(decide, "read", lambda name, text: seen.append(name) or read(name, text))
    second = build({"a": OPEN + ";", "b": 'permit(principal, action, resource in Secret::"x");'}, first)
    assert seen == ["b"]
    assert second.decide(BOB, "read", "y", context()).policies == ("a#1",)


def test_of_a_thousand_policies_the_few_that_can_apply_go_to_the_engine():
    texts = {f"p{n}": f'permit(principal in Group::"g{n}", action, resource in Secret::"a/t{n}");' for n in range(1000)}
    index = build(texts).index
    found = index.find(Principal("User", "u", ("g7", "g8")), "read", "a/t7/x")
    assert [index.statements[number].policy for number in found] == ["p7"]
    assert index.find(Principal("User", "u"), "read", "a/t7/x") == ()


def _scopes(draw: Callable[[list[str]], str]) -> str:
    who = draw(
        ["principal", "principal is User", "principal is Service", 'principal == User::"u1"', 'principal == User::"u2"',
         'principal == Service::"s1"', 'principal in Group::"g1"', 'principal in Group::"g2"',
         'principal is User in Group::"g1"', 'principal is Service in Group::"g2"', 'principal in User::"u1"']
    )  # fmt: skip
    what = draw(
        ["resource", "resource is Secret", 'resource == Secret::"a"', 'resource == Secret::"a/b"',
         'resource in Secret::"a"', 'resource in Secret::"a/b"', 'resource is Secret in Secret::"a/b/c"',
         'resource in Secret::"x"']
    )  # fmt: skip
    action = draw(
        ["action", 'action == Action::"read"',
         'action in [Action::"read", Action::"list"]', 'action in Action::"write"',
         "action in []"]
    )  # fmt: skip
    when = draw(
        ["", "", "", "when { context.mfa }", "unless { context.mfa }", "when { context.none }",
         'when { resource in Secret::"a/b" }', 'when { principal in Group::"g1" }', "when { context.ip.isLoopback() }"]
    )  # fmt: skip
    return f"{draw(['permit', 'permit', 'forbid'])}({who}, {action}, {what}) {when};"


@pytest.mark.parametrize("seed", range(8))
def test_decisions_through_the_index_are_those_of_the_engine_on_the_whole_set(seed: int):
    """The engine on all policies is the reference: same decision, same deciding policies, same failures."""
    rng = random.Random(seed)
    principals = [
        Principal(kind, name, groups)
        for kind, name in (("User", "u1"), ("User", "u3"), ("Service", "s1"), ("Service", "u1"))
        for groups in ((), ("g1",), ("g1", "g2"), ("g3",))
    ]
    paths = ["a", "a/b", "a/b/c", "a/b/c/d", "a/bc", "x", "x/a/b", "b"]
    cases = failures = 0
    for _ in range(12):
        texts = {f"p{n}": "\n".join(_scopes(rng.choice) for _ in range(rng.randint(1, 3))) for n in range(8)}
        made = build(texts)
        whole = cedarpy.PolicySet.from_str("\n".join(texts[name] for name in sorted(texts)))
        ids = [statement.id for statement in made.index.statements]
        for who, path in itertools.product(rng.sample(principals, 5), rng.sample(paths, 5)):
            action, mfa = rng.choice(["read", "write", "list", "manage"]), rng.random() < 0.5
            asked = context(mfa=mfa, ip=rng.choice(["127.0.0.1", "10.0.0.1"]))
            request = {
                "principal": {"type": who.kind, "id": who.name},
                "action": {"type": "Action", "id": action},
                "resource": {"type": "Secret", "id": path},
                "context": decide._context(asked, action),
            }
            answer = cedarpy.is_authorized(request, whole, entities_of(who, path))
            verdict = made.decide(who, action, path, asked)
            deciding = {ids[int(reason.removeprefix("policy"))] for reason in answer.diagnostics.reasons}
            assert len(verdict.errors) == len(answer.diagnostics.errors)
            if verdict.errors:
                failing = {error.partition(": ")[0] for error in verdict.errors}
                assert verdict.effect == "forbid"
                assert set(verdict.policies) == failing | (set() if answer.allowed else deciding)
                failures += 1
            else:
                assert (verdict.effect == "permit") is answer.allowed
                assert set(verdict.policies) == deciding
            cases += 1
    assert cases == 300 and failures


def test_the_index_knows_every_action_of_the_schema():
    index = Index(read("p", "\n".join(f'permit(principal, action == Action::"{a}", resource);' for a in ACTIONS)))
    for number, action in enumerate(ACTIONS):
        assert index.find(BOB, action, "a") == (number,)
