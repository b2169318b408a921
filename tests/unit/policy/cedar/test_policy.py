"""Cedar text: its statements, their scopes and ids, and where an error is."""

import subprocess
import sys

import pytest

from strongroom.errors import BadRequest
from strongroom.policy.cedar.policy import Scope, check, read
from strongroom.policy.cedar.statements import MAX_DEPTH, MAX_STATEMENTS, MAX_TEXT, MAX_TOKENS, cut
from unit.policy.cedar.cedar_world import EXAMPLES

OPEN = "permit(principal, action, resource)"


def test_the_published_examples_fit_the_schema():
    first, second, third = check("p", EXAMPLES)
    assert [(s.id, s.line, s.forbids) for s in (first, second, third)] == [
        ("p#1", 2, False),
        ("p#2", 7, True),
        ("p#3", 13, False),
    ]
    assert first.principal == Scope("in", ("Group", "developers"))
    assert first.actions == {"read"}
    assert third.principal == Scope("==", ("Service", "github-actions"))
    assert (first.lasting, third.lasting) == (True, False)


def test_every_form_of_a_scope():
    (s,) = read("p", 'permit(principal is User in Group::"a", action in [Action::"read", Action::"list"], resource);')
    assert (s.principal, s.actions, s.resource) == (Scope("in", ("Group", "a"), "User"), {"read", "list"}, Scope())
    (s,) = read("p", 'forbid(principal is Service, action in Action::"x", resource == Secret::"a/\\"b\\u{e9}");')
    assert (s.principal, s.actions, s.resource) == (
        Scope(kind="Service"),
        {"x"},
        Scope("==", ("Secret", 'a/"b\u00e9')),
    )


def test_an_id_comes_from_the_annotation_or_from_the_place():
    text = f'@id("no-prod") @why("a ) ; b") {OPEN};\n{OPEN};\n@id {OPEN};'
    assert [s.id for s in read("p", text)] == ["no-prod", "p#2", "p#3"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"{OPEN};\n\n// a comment; with a semicolon\npermit(principal, action resource);", "p#2 (line 4): unexpected"),
        (f"{OPEN};\n{OPEN} when {{ context.mfa & true }};\n{OPEN};", "p#2 (line 2): "),
        (f"{OPEN}\n\n{OPEN};", "p#1 (line 1): "),
        (f"{OPEN};\n\n{OPEN}", "p#2 (line 3): the statement does not end in a semicolon"),
        (f'{OPEN};\n{OPEN} when {{ "a;b', "p#2 (line 2): a string has no end"),
        (f"\n\n{OPEN} when {{ context.ttl <= 1 }};", "p#1 (line 3): attribute `ttl`"),
        (f"{OPEN};\npermit(principal, action == Action::\"fly\", resource);", "p#2 (line 2): "),
        (f"{OPEN};\npermit(principal == Group::\"x\", action, resource);", "p#2 (line 2): "),
        ("permit(principal == ?principal, action, resource);", "p#1 (line 1): templates"),
        (f'@id("a") {OPEN};\n@id("a") {OPEN};', "p#2 (line 2): its id is that of p#1 (line 1)"),
        (f'@id("p#2") {OPEN};\n{OPEN};', "p#2 (line 2): its id is that of p#1"),
        (f'@id("{"x" * 129}") {OPEN};', "p#1 (line 1): an @id has"),
        ("// nothing\n", "p: there is no statement in it"),
        (";", "p#1 (line 1): "),
        (f"{OPEN};;", "p#2 (line 1): "),
    ],
)  # fmt: skip
def test_an_error_names_the_statement_and_its_first_line(text: str, where: str):
    with pytest.raises(BadRequest) as caught:
        check("p", text)
    assert where in str(caught.value)


@pytest.mark.parametrize("action", ["read", "write", "manage", "revoke"])
def test_ttl_is_in_the_context_of_generate_and_renew_alone(action: str):
    policy = 'permit(principal, action == Action::"{}", resource) when {{ context.ttl < duration("1h") }};'
    with pytest.raises(BadRequest, match="ttl"):
        check("p", policy.format(action))
    assert check("p", policy.format("generate")) and check("p", policy.format("renew"))


def test_a_comment_ends_where_the_engine_ends_it():
    assert len(read("p", f"// one\r{OPEN};\r// two\n")) == 1
    assert [piece.line for piece in cut("p", f"{OPEN};\n// x\n\n{OPEN};")] == [1, 4]


def test_what_would_overflow_the_engine_is_refused_before_it():
    deep = f"{OPEN} when {{ {'(' * MAX_DEPTH}true{')' * MAX_DEPTH} }};"
    with pytest.raises(BadRequest, match="nest deeper"):
        read("p", deep)
    with pytest.raises(BadRequest, match="tokens"):
        read("p", f"{OPEN} when {{ true{' && true' * MAX_TOKENS} }};")
    with pytest.raises(BadRequest, match="longer than"):
        read("p", f"{OPEN};" + " " * MAX_TEXT)
    with pytest.raises(BadRequest, match="statements"):
        read("p", f"{OPEN};" * (MAX_STATEMENTS + 2))


@pytest.mark.parametrize(
    ("start", "link", "end"),
    [
        ("true", " && true", ""),
        ("1", " + 1", " == 1"),
        ("context", ".a", ""),
        ("context", '["a"]', ""),
        ("if true then true else ", "if true then true else ", "true"),
        ("", "true || ", "false"),
    ],
)
def test_the_longest_statement_that_is_let_through_does_not_kill_the_process(start: str, link: str, end: str):
    """The engine overflows its stack without a trace, so it is tried in a process of its own."""
    tokens = {" && true": 3, '["a"]': 3, "true || ": 3, ".a": 2, " + 1": 2}.get(link, 5)
    body = start + link * ((MAX_TOKENS - 30) // tokens) + end
    program = (
        "import sys\n"
        "from strongroom.errors import BadRequest\n"
        "from strongroom.policy.cedar.policy import check\n"
        "from strongroom.policy.cedar.decide import build\n"
        "from strongroom.sdk.policy import Circumstances, Principal\n"
        "text = sys.stdin.read()\n"
        "try:\n    check('p', text)\nexcept BadRequest as error:\n    print('refused', str(error)[:80])\n"
        "context = Circumstances(now=1.9e9, ip='', namespace='', operation='read', auth_method='x')\n"
        "print(build({'p': text}).decide(Principal('User', 'u'), 'read', 'a/b', context).effect)\n"
    )
    text = f"{OPEN} when {{ {body} }};"
    done = subprocess.run([sys.executable, "-c", program], input=text, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.returncode, done.stderr[-200:])
    assert done.stdout.strip().splitlines()[-1] in ("permit", "none", "forbid")
