"""What went wrong with policies elsewhere, each with a control that the same thing works when it should.

Rows of the threat table that policies alone decide; those that need a server are in other files of this folder.
"""

import pytest

from strongroom.errors import BadRequest
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy, policy_name
from strongroom.policy.defaults import DEFAULT_POLICY
from strongroom.policy.templating import render
from strongroom.sdk.policy import Decision, Question
from strongroom.sdk.request import Caller, Op
from unit.policy import acl_model

CALLER = Caller(accessor="acc", policies=("p",))


def rules(text: str) -> Acl:
    return Acl([parse_policy("p", text)])


def ask(acl: Acl, op: Op, path: str, **more: object) -> Decision:
    return acl.decide(Question(caller=CALLER, op=op, path=path, **more))  # type: ignore[arg-type]


# --- A2: paths and policies


@pytest.mark.parametrize("op", [Op.LIST, Op.SCAN])
@pytest.mark.parametrize(
    "path", ["secret/metadata/restricted", "secret/metadata/restricted/", "secret/metadata/restricted/x/"]
)
def test_sec_ghsa_xp3c_list_obeys_a_deny_below(op: Op, path: str) -> None:
    acl = rules(
        'path "secret/metadata/*" { capabilities = ["list", "scan"] } '
        'path "secret/metadata/restricted/*" { capabilities = ["deny"] }'
    )
    assert not ask(acl, op, path).allowed
    assert ask(acl, op, "secret/metadata/open/").allowed


@pytest.mark.parametrize(
    "restriction", ["x/restricted", "x/restricted/", "x/restricted*", "x/restricted/*", "x/+/", "x/+/*"]
)
@pytest.mark.parametrize("op", [op for op in Op if op not in (Op.HELP, Op.UNKNOWN)])
def test_sec_ghsa_xp3c_verb_by_policy_table(op: Op, restriction: str) -> None:
    """Each verb on ``x/restricted`` with and without slash, for each way to write the deny, is what the model says."""
    words = [word.value for word in Op if word not in (Op.HELP, Op.UNKNOWN)]
    quoted = ", ".join(f'"{word}"' for word in words)
    acl = rules(f'path "x/*" {{ capabilities = [{quoted}] }} path "{restriction}" {{ capabilities = ["deny"] }}')
    flat = [("x/*", frozenset(words)), (restriction, frozenset({"deny"}))]
    for path in ("x/restricted", "x/restricted/", "x/open", "x/restricted/y", "x/restricted/y/"):
        asked = path + "/" if op in (Op.LIST, Op.SCAN) and not path.endswith("/") else path
        assert ask(acl, op, asked).allowed is acl_model.allowed(flat, op.value, asked), asked
    assert ask(acl, Op.READ, "x/free").allowed


@pytest.mark.parametrize(
    "name", ["*", "+", "a/b", "a,b", "{{identity.entity.id}}", "{{", "}}", "%2f", "a\nb", "a*", "..", "a\\b", "\0"]
)
@pytest.mark.parametrize("words", ['"read"', '"deny"'])
def test_sec_cve_2026_71543_a_template_value_never_widens_a_pattern(name: str, words: str) -> None:
    policy = parse_policy(
        "p",
        f'path "secret/{{{{identity.entity.name}}}}/*" {{ capabilities = [{words}] }} '
        'path "auth/token/lookup-self" { capabilities = ["read"] }',
    )
    acl = Acl([render(policy, {"entity": {"id": "e", "name": name}})])
    for path in ("secret/a/b", "secret/other/b", f"secret/{name}/b", "auth/token/lookup-self"):
        decision = ask(acl, Op.READ, path)
        assert not decision.allowed and "policy p: an identity value is not fit for a path" in decision.reason
        assert name not in decision.reason or name in "+*"
    control = Acl([render(policy, {"entity": {"id": "e", "name": "alice"}})])
    assert ask(control, Op.READ, "secret/alice/b").allowed is (words == '"read"')
    assert ask(control, Op.READ, "auth/token/lookup-self").allowed


def test_sec_ghsa_hr5j_a_deny_that_cannot_be_rendered_denies_everything() -> None:
    policy = parse_policy(
        "p",
        'path "secret/*" { capabilities = ["read"] } '
        'path "secret/{{identity.entity.metadata.team}}/*" { capabilities = ["deny"] }',
    )
    other = parse_policy("other", 'path "kv/*" { capabilities = ["read"] }')
    for identity in ({}, {"entity": {"id": "e", "metadata": {}}}, {"entity": {"id": "e", "metadata": {"team": ""}}}):
        acl = Acl([other, render(policy, identity)])
        for path in ("secret/a", "secret/red/a", "kv/a"):
            decision = ask(acl, Op.READ, path)
            assert not decision.allowed and "missing" in decision.reason
        assert acl.capabilities("kv/a") == ["deny"] and not acl.may_any("kv/")
    control = Acl([other, render(policy, {"entity": {"metadata": {"team": "red"}}})])
    assert ask(control, Op.READ, "secret/a").allowed and ask(control, Op.READ, "kv/a").allowed
    assert not ask(control, Op.READ, "secret/red/a").allowed


def test_sec_ghsa_hr5j_a_policy_nobody_rendered_denies_everything() -> None:
    policy = parse_policy("default", DEFAULT_POLICY)
    assert not ask(Acl([policy]), Op.READ, "auth/token/lookup-self").allowed
    assert ask(Acl([render(policy, {})]), Op.READ, "auth/token/lookup-self").allowed


@pytest.mark.parametrize("name", ["a/../b", "..", "a//b", "/a", "a/", "a\0b", "a\\..\\b", "%2e%2e"])
def test_sec_ghsa_mjch_a_policy_name_is_no_path_trick(name: str) -> None:
    with pytest.raises(BadRequest):
        policy_name(name)
    assert policy_name("a/b") == "a/b"


def test_sec_cve_2021_43998_a_template_goes_by_accessor_alone() -> None:
    identity = {
        "entity": {
            "aliases": {
                "acc_ldap": {"id": "1", "name": "bob", "metadata": {"team": "red"}},
                "acc_jwt": {"id": "2", "name": "bob", "metadata": {"team": "blue"}},
            }
        }
    }
    text = 'path "secret/{{identity.entity.aliases.acc_jwt.metadata.team}}/*" { capabilities = ["read"] }'
    acl = Acl([render(parse_policy("p", text), identity)])
    assert ask(acl, Op.READ, "secret/blue/a").allowed and not ask(acl, Op.READ, "secret/red/a").allowed
    by_name = 'path "secret/{{identity.entity.aliases.ldap.metadata.team}}/*" { capabilities = ["read"] }'
    assert not ask(Acl([render(parse_policy("p", by_name), identity)]), Op.READ, "secret/red/a").allowed


def test_sec_cve_2020_10661_a_plus_stays_in_its_segment() -> None:
    acl = rules('path "+/secret/*" { capabilities = ["read"] } path "ns1/*" { capabilities = ["read"] }')
    assert ask(acl, Op.READ, "a/secret/x").allowed and ask(acl, Op.READ, "ns1/x").allowed
    for path in ("a/b/secret/x", "secret/x", "ns1x/x", "ns0/x", "a/secrets/x"):
        assert not ask(acl, Op.READ, path).allowed, path


def test_sec_fg5x_a_leading_slash_or_another_spelling_gets_nothing_by_a_wider_rule() -> None:
    acl = rules('path "*" { capabilities = ["read"] } path "secret/caf\u00e9" { capabilities = ["deny"] }')
    decomposed = rules('path "*" { capabilities = ["read"] } path "/secret/cafe\u0301" { capabilities = ["deny"] }')
    for authorizer in (acl, decomposed):
        assert not ask(authorizer, Op.READ, "secret/caf\u00e9").allowed
        assert not ask(authorizer, Op.READ, "/secret/caf\u00e9").allowed
        assert ask(authorizer, Op.READ, "secret/tea").allowed


# --- A3: privilege


@pytest.mark.parametrize("name", ["root", "ROOT", "Root"])
def test_sec_cve_2025_5999_root_cannot_be_written(name: str) -> None:
    with pytest.raises(BadRequest, match="root"):
        parse_policy(name, 'path "*" { capabilities = ["sudo", "read"] }')
    assert parse_policy("roots", 'path "*" { capabilities = ["read"] }').name == "roots"


@pytest.mark.parametrize("name", [" root", "root\t", "r\u043e\u043et", "root,", "root\0", "\uff52oot", "root\u200b"])
def test_sec_cve_2025_5999_nothing_that_looks_like_root_is_a_name(name: str) -> None:
    with pytest.raises(BadRequest):
        policy_name(name)
    assert policy_name("ROOT") == "root"


def test_sec_cve_2025_5999_the_name_root_alone_gives_nothing() -> None:
    born = parse_policy("p", 'path "*" { capabilities = ["read"] }')
    fake = type(born)(name="root", rules=born.rules)
    caller = Caller(accessor="acc", policies=("root",))
    assert not Acl([fake]).decide(Question(caller=caller, op=Op.READ, path="a")).allowed
    real = Caller(accessor="acc", policies=("root",), root=True)
    assert Acl([]).decide(Question(caller=real, op=Op.READ, path="a", sudo=True)).allowed
    assert Acl([born]).decide(Question(caller=caller, op=Op.READ, path="a")).allowed


EVIL = [
    "{{x.__class__}}",
    "{{identity.entity.__class__}}",
    "{{identity.entity.metadata}}",
    "{{identity.entity.aliases.a.b.c}}",
    "{{}}",
]


@pytest.mark.parametrize("template", EVIL)
def test_sec_conjur_2025_49828_templates_are_a_table_and_not_a_language(template: str) -> None:
    with pytest.raises(BadRequest, match="template"):
        parse_policy("p", f'path "secret/{template}" {{ capabilities = ["read"] }}')
    inert = parse_policy("p", 'path "secret/${a.__class__}/{0.__class__}/!include" { capabilities = ["read"] }')
    assert inert.rules[0].pattern == "secret/${a.__class__}/{0.__class__}/!include" and not inert.templated


def test_sec_conjur_2025_49828_metadata_keys_are_looked_up_and_never_followed() -> None:
    policy = parse_policy("p", 'path "s/{{identity.entity.metadata.__class__}}" { capabilities = ["read"] }')
    assert render(policy, {"entity": {"metadata": {}}}).rules == ()
    assert render(policy, {"entity": {"metadata": {"__class__": "v"}}}).rules[0].pattern == "s/v"


@pytest.mark.parametrize("key", ["control_group", "mfa_methods", "expiration", "pagination_limit", "allowed_params"])
def test_sec_a_restriction_that_is_not_enforced_is_never_skipped(key: str) -> None:
    with pytest.raises(BadRequest, match="failed to parse policy"):
        parse_policy("p", f'path "a" {{ capabilities = ["read"] {key} = {{ }} }}')
    assert parse_policy("p", 'path "a" { capabilities = ["read"] allowed_parameters = { } }').rules
