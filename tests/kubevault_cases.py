"""Vault folders on which the original kubevault and ours are compared, each with what ours does otherwise, if anything.

The original's answers are recorded in vectors/kubevault. ``differs`` names a row of docs/kubevault/differs.md; ``ours``
says what comes out instead: ``Refused`` with words of the message, ``Paths`` of secrets, or the values of ``probe``.
"""

from pathlib import Path
from typing import NamedTuple

Files = dict[str, "str | bytes | Link"]


class Link(NamedTuple):
    """A symbolic link to ``target``."""

    target: str


class Refused(NamedTuple):
    """Exit code 1, nothing on standard output, and these words on standard error."""

    words: str


class Paths(NamedTuple):
    """The paths of the secrets that are made, and of those that the user may read."""

    made: tuple[str, ...]
    allowed: tuple[str, ...] = ()


Ours = Refused | Paths | dict[str, str | bytes] | None


class Case(NamedTuple):
    """One vault folder. ``users``: whose ``can-read`` is compared; ``asked``: the commands that are."""

    name: str
    kvstore: Files
    access: Files = {}
    users: tuple[str, ...] = ()
    args: tuple[str, ...] = ("--namespace", "team")
    differs: str = ""
    ours: Ours = None
    asked: tuple[str, ...] = ("generate", "can-read", "can-read --show-only-allowed")


def write_vault(folder: Path, case: Case) -> Path:
    """The case's vault as ``folder``/vault."""
    for room, files in (("kvstore", case.kvstore), ("access_control", case.access)):
        (folder / "vault" / room).mkdir(parents=True)
        for path, content in files.items():
            place = folder / "vault" / room / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                place.symlink_to(content.target)
            else:
                place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "vault"


# One file of values each.


def _value(name: str, content: str | bytes, differs: str = "", ours: Ours = None) -> Case:
    return Case(f"value {name}", {"probe": content}, differs=differs, ours=ours)


NESTED, NO_MAP, KEY = Refused("values are plain text"), Refused("must be a map"), Refused("is not allowed in a Secret")
_ODD_WORDS = (
    "yes", "no", "on", "off", "y", "n", "Yes", "NO", "On", "OFF", "true", "False", "null", "Null", "~", "0x1F", "0o17",
    "007", "1_000", "0b101", "1.50", "1e3", "+1", "-0", ".5", ".inf", "-.INF", ".nan", "190:20:30", "2024-01-02",
    "2024-01-02T03:04:05Z", "=", "1.2.3.4", "0", "0.0", "12e03", "0x_1", "0b1_0", "1_0.5",
)  # fmt: skip
VALUES = [
    *(_value(f"word {word}", f"k: {word}\n") for word in _ODD_WORDS),
    _value("quoted words", "a: 'yes'\nb: \"no\"\nc: '0x1F'\nd: ''\ne: \"\"\n"),
    _value("nothing", "k:\n"),
    _value("nothing, then another", "k:\nl: x\n"),
    _value("spaces around", "k:    x y  \n"),
    _value("quoted spaces", "k: '  x  '\n"),
    _value("hash inside", "k: a#b\nl: a #b\n"),
    _value("colon inside", "k: http://x.example:80/a\n"),
    _value("several lines folded", "k: one\n  two\n\n  three\n"),
    _value("quoted over lines", 'k: "one\n  two\\\n  three"\n'),
    _value("literal block", "k: |\n  one\n  two\n\nl: x\n"),
    _value("literal block, stripped", "k: |-\n  one\n  two\n"),
    _value("literal block, kept", "k: |+\n  one\n\n\nl: x\n"),
    _value("literal block, indented", "k: |2\n    one\n  two\n"),
    _value("folded block", "k: >\n  one\n  two\n\n  three\n   four\n  five\n"),
    _value("folded block, stripped", "k: >-\n  one\n  two\n"),
    _value("folded block, kept", "k: >+\n  one\n\n"),
    _value("escapes", 'k: "\\x00\\a\\b\\e\\t\\n\\r\\\\\\"\\u00e9\\U0001F511"\n'),
    _value("controls escaped", 'k: "\\x01\\x7f\\x85\\u2028\\ufeff"\n'),
    _value("non-characters", 'k: "\\ufffe\\uffff\\U0001ffff"\n'),
    _value("unicode", "k: gr\u00fc\u00dfe \u65e5\u672c \U0001f510\n"),
    _value("next line in quotes", "k: 'a\u0085b\u2028c'\n"),
    _value("tab inside", "k: a\tb\n"),
    _value("json", '{"k": "v", "n": 1, "t": true, "z": null}\n'),
    _value("json over lines", '{\n  "k": "v",\n  "l": "w"\n}\n'),
    _value("flow, comma at the end", "{k: v, }\n"),
    _value("flow, key only", "{k}\n"),
    _value("explicit key", "? k\n: v\n"),
    _value("many keys", "".join(f"key{n}: value {n}\n" for n in (10, 9, 1, 2, 11))),
    _value("comments", "# head\nk: v # behind\n# end\n"),
    _value("comment only", "# nothing here\n"),
    _value("empty", ""),
    _value("blank", " \n\n"),
    _value("start mark only", "---\n"),
    _value("start and end marks", "---\nk: v\n...\n"),
    _value("empty map", "{}\n"),
    _value("crlf", "k: v\r\nl: |\r\n  a\r\n  b\r\n"),
    _value("bom", "\ufeffk: v\n"),
    _value("no newline", "k: v"),
    _value("yaml 1.1", "%YAML 1.1\n---\nk: yes\n"),
    _value("yaml 1.2", "%YAML 1.2\n---\nk: yes\n"),
    _value("yaml 1.3", "%YAML 1.3\n---\nk: v\n", ours=Refused("is not YAML")),
    _value("tag directive", "%TAG ! tag:x.example,2000:\n---\nk: !a v\n"),
    _value("anchor", "a: &x one\nb: *x\n"),
    _value("anchor on a key", "&x a: one\nb: *x\n"),
    _value("alias as key", "a: &x one\n*x : two\n"),
    _value("undefined alias", "a: *nobody\n", ours=Refused("*nobody is not defined above")),
    _value("tag str", "k: !!str 12\n"),
    _value("tag int", "k: !!int '12'\n"),
    _value("tag of its own", "k: !mine v\n"),
    _value("tag binary", "k: !!binary aGVsbG8=\n", "binary", {"k": b"hello"}),
    _value("duplicate", "k: a\nl: b\nk: c\n"),
    _value("map", "k: {a: b}\n", ours=NESTED),
    _value("map below", "k:\n  a: b\n", ours=NESTED),
    _value("list", "k: [a, b]\n", ours=NESTED),
    _value("list below", "k:\n  - a\n", ours=NESTED),
    _value("empty map as value", "k: {}\n", ours=NESTED),
    _value("merge", "a: &m {x: y}\n<<: *m\n", ours=NESTED),
    _value("merge of text", "a: &m text\n<<: *m\n", "keys", KEY),
    _value("root list", "- a\n- b\n", ours=NO_MAP),
    _value("root text", "text\n", ours=NO_MAP),
    _value("root number", "12\n", ours=NO_MAP),
    _value("root null", "null\n", ours=NO_MAP),
    _value("env file", "KEY=value\nOTHER=value\n", ours=NO_MAP),
    _value("ansible vault", "$ANSIBLE_VAULT;1.1;AES256\n61626364\n65666768\n", ours=NO_MAP),
    _value("two documents", "k: v\n---\nl: w\n", ours=Refused("more than one document")),
    _value("two start marks", "---\n---\nk: v\n", ours=Refused("more than one document")),
    _value("start mark at the end", "k: v\n---\n", ours=Refused("more than one document")),
    _value("key yes", "yes: v\nno: w\n1: x\n1_0: y\nnull: z\n"),
    _value("key with dots", "tls.crt: v\n.hidden: w\na-b_c.D: x\n"),
    _value("key with slash", "a/b: v\n", "keys", KEY),
    _value("key with space", "a b: v\n", "keys", KEY),
    _value("key tilde", "~: v\n", "keys", KEY),
    _value("key empty", '"": v\n', "keys", KEY),
    _value("key of nothing", ": v\n", ours=Refused("is not YAML")),
    _value("key umlaut", "\u00fc: v\n", "keys", KEY),
    _value("key two dots", "..: v\n", "keys", KEY),
    _value("key dots in front", "..a: v\n", "keys", KEY),
    _value("key of 254", f"{'k' * 254}: v\n", "keys", Refused("253 are allowed")),
    _value("key list", "[a]: v\n", ours=Refused("a key must be plain text")),
    _value("key map", "{a: b}: v\n", ours=Refused("a key must be plain text")),
    _value("bad indent", "k: v\n l: w\n", ours=Refused("is not YAML")),
    _value("tab indent", "k:\n\tl: w\n", ours=Refused("is not YAML")),
    _value("unclosed quote", "k: 'v\n", ours=Refused("is not YAML")),
    _value("unclosed flow", "{k: v\n", ours=Refused("is not YAML")),
    _value("at sign", "k: @v\n", ours=Refused("is not YAML")),
    _value("percent", "k: %v\n", ours=Refused("is not YAML")),
    _value("backtick", "k: `v`\n", ours=Refused("is not YAML")),
    _value("star", "k: *\n", ours=Refused("is not YAML")),
    _value("colon twice", "k: a: b\n", ours=Refused("is not YAML")),
    _value("bad escape", 'k: "\\q"\n', ours=Refused("is not YAML")),
    _value("raw control", "k: a\x01b\n", ours=Refused("is not YAML")),
    _value("raw nul", "k: a\0b\n", ours=Refused("is not YAML")),
    _value("latin-1", "k: gr\xfc\xdfe\n".encode("latin-1"), ours=Refused("is not UTF-8")),
    _value("utf-16", "k: v\n".encode("utf-16"), ours=Refused("is not UTF-8")),
    _value("binary file", bytes(range(256)), ours=Refused("is not UTF-8")),
    _value("deep", "k: " + "[" * 200 + "]" * 200 + "\n", ours=NESTED),
    _value("large", f"k: {'v' * 70_000}\n"),
    _value("sops map", "k: v\nsops:\n  mac: y\n", ours=Refused("sops")),
]


# Names of files and of users.


def _names(name: str, *paths: str, differs: str = "", ours: Ours = None) -> Case:
    return Case(f"name {name}", dict.fromkeys(paths, "k: v\n"), differs=differs, ours=ours)


BEGIN, END = Refused("must begin with a letter"), Refused("must end with a letter")
NAMES = [
    _names("plain", "a", "b/c", "b/d/e"),
    _names("capitals", "fooBAR", "Production/AppB/PostgreSQL"),
    _names("endings", "db.yaml", "db.json", "a.b.c"),
    _names("odd inside", "a b", "c__d", "e@f", "g+h", "i/_j", "k/.env", "l/1x"),
    _names("umlaut inside", "caf\u00e9s", "a\u65e5b", "a\U0001f511z"),
    _names("dots inside", "a..b", "c/..d"),
    _names("end digit", "a1", "b/2"),
    _names("end underscore", "foo_", ours=END),
    _names("end hyphen", "foo-", ours=END),
    _names("end umlaut", "caf\u00e9", ours=END),
    _names("begin digit", "1x", ours=BEGIN),
    _names("begin underscore", "_x", ours=BEGIN),
    _names("begin umlaut", "\u00e9t\u00e9s", ours=BEGIN),
    _names("hidden", ".env", ours=BEGIN),
    _names("in a hidden folder", ".d/x", ours=BEGIN),
    _names("gitkeep", ".gitkeep", "a", differs="skipped", ours=Paths(("a",))),
    _names("gitkeep below", "a/.gitkeep", "a/b", differs="skipped", ours=Paths(("a/b",))),
    _names("sops configuration", ".sops.yaml", "a", differs="skipped", ours=Paths(("a",))),
    _names("kelvin sign", "\u212aey", "x"),
    _names("dotted capital i", "a\u0130b"),
    _names("newline", "a\nb"),
    _names("quotes", "a\"b'c"),
    _names("backslash", "a\\b", differs="source", ours=Paths(("a\\b",))),
    _names("collision hyphen", "a/b", "a-b", differs="collisions", ours=Refused("becomes the Secret a-b")),
    _names("collision underscore", "a_b", "a-b", differs="collisions", ours=Refused("becomes the Secret a-b")),
    _names("collision capitals", "A/b", "a/b", differs="collisions", ours=Refused("becomes the Secret a-b")),
    _names("254 characters", "a/" + "b" * 252, differs="lengths", ours=Refused("253 are allowed")),
    _names("253 characters", "a/" + "b" * 251),
    Case("name empty store", {}),
    Case("name link to a file", {"a": "k: v\n", "b": Link("a")}, differs="links", ours=Paths(("a", "b"))),
    Case("name link to a folder", {"a/x": "k: v\n", "b": Link("a")}, differs="links", ours=Paths(("a/x", "b/x"))),
    Case("name broken link", {"a": "k: v\n", "b": Link("c")}, differs="links", ours=Refused("leads nowhere")),
    Case("name link outside", {"a": "k: v\n", "b": Link("/etc/hostname")}, differs="links", ours=Refused("leaves")),
]

_SMALL: Files = {"a/b": "k: v\n", "c": "k: v\n"}


def _user(path: str, differs: str = "", ours: Ours = None, access: Files | None = None) -> Case:
    name = path.rpartition("/")[2]
    return Case(
        f"user {path}",
        _SMALL,
        access or {path: "**\n"},
        users=() if isinstance(ours, Refused) else (name,),
        differs=differs,
        ours=ours,
    )


USERS = [
    _user("alice"),
    _user("team.alice"),
    _user("1a"),
    _user("a-1"),
    _user("team/alice", "nested-user", Paths(("a/b", "c"), ("a/b", "c"))),
    _user("Alice", "user-names", Refused("becomes a ServiceAccount's")),
    _user("a_b", "user-names", Refused("becomes a ServiceAccount's")),
    _user("a b", "user-names", Refused("becomes a ServiceAccount's")),
    _user("-a", "user-names", Refused("becomes a ServiceAccount's")),
    _user("a..b", "user-names", Refused("becomes a ServiceAccount's")),
    _user(".hidden", "user-names", Refused("becomes a ServiceAccount's")),
    _user("\u00fcser", "user-names", Refused("becomes a ServiceAccount's")),
    _user("default", "user-default", Refused("'default'")),
    _user("u" * 248, "lengths", Refused("longer than 253")),
    _user("x/alice", "collisions", Refused("second user"), {"x/alice": "**\n", "y/alice": "a/*\n"}),
    Case("user two", _SMALL, {"bob": "c\n", "alice": "a/*\n"}, users=("alice", "bob")),
    Case("user gitkeep", _SMALL, {".gitkeep": "", "al": "c\n"}, users=("al",), differs="skipped", ours=Paths(("a/b",
    "c"), ("c",))),
    Case("user name of a secret", {"alice": "k: v\n", "b": "k: v\n"}, {"alice": "b\n"}, users=("alice",)),
    Case(
        "user token of a secret", {"alice-token": "k: v\n"}, {"alice": "x\n"},
        differs="token-names", ours=Refused("is to hold the token of alice"),
    ),
    Case("user link", _SMALL, {"al": "c\n", "bo": Link("al")}, users=("al", "bo"), differs="links", ours=Paths(("a/b",
    "c"), ("c",))),
    Case("user not utf-8", _SMALL, {"al": b"c\n\xff\n"}, ours=Refused("is not UTF-8")),
]  # fmt: skip


# Rules, each asked of one tree.

STORE = [
    "prod/api/db_key", "prod/api/db", "prod/api/token", "prod/db_password", "prod/x", "prod/web/tls", "prod/.env",
    "staging/api/db_key", "staging/api/db", "staging/x", "Dev/Api", "dev-b", "api_v1/db_key", "x/y/c", "top", "topb",
    "shared", "team-a/db-prod", "a.b", "sp ace", "caf\u00e9s", "foobuzz", "z/h#sh",
]  # fmt: skip
TREE: Files = dict.fromkeys(STORE, "k: v\n")


def _rules(text: str, differs: str = "", ours: Ours = None) -> Case:
    return Case(f"rules {text!r}", TREE, {"al": text}, ("al",), differs=differs, ours=ours, asked=("can-read",))


def _allowed(*allowed: str, deny: bool = False) -> Paths:
    return Paths((), tuple(path for path in STORE if (path in allowed) is not deny))


_PATTERNS = (
    "**", "*", "*/*", "prod/**", "prod/*", "prod/*/*", "prod", "prod/", "prod/**/", "**/", "**/db", "**/db_key",
    "prod/**/db",
    "**/*", "**/api/*", "staging/**/x", "**/x", "*b", "top?", "to[op]", "to[!p]", "to[^p]", "to[a-z]", "to[z-a]", "[",
    "to[",
    "Dev/*", "dev/*", "Dev/Api", "dev-api", "/prod/**", "./prod/**", "prod//x", "../x", "{top,shared}", "{top,shared",
    "prod/{x,db_password}",
    "{prod,staging}/x", "top{,b}", "to{p,pb}", "\\top", "t\\op", "a.b", "a?b", "a*b", "sp ace", "caf?s", "caf*s",
    "caf\u00e9s", "caf??s",
    "prod/.*", "prod/.env", "*.env", "**/.env", "prod**", "prod/a**", "**db", "z/h#sh", "z/h\\#sh", "***", "**/**",
    "x/**/c", "x/**/y/**/c",
    "nothing/here", "!", "!!", "! top", "!top", "#top", " #top", "top #", " top", "top ", "\ttop\t", "prod/[a-z]",
    "prod/[!a-w]",
    "prod/a[!z]i/db", "prod[/]x", "*/api/db*", "prod/*_password", "**/*_key", "**/*password*", "**/*-prod", "**/*/c",
    "**/foo{bar,b*z}",
    "{**/x,shared}", "{a,b,{c,top}}", "{}", "top{}", "to\\", "[[:alpha:]]op",
)  # fmt: skip
# What the library gets wrong, and what is right: see docs/kubevault/globs.md.
CORRECTED = {
    "top{,b}": ("top", "topb"),
    "top{}": ("top",),
    "caf?s": ("caf\u00e9s",),
    "caf??s": (),
    "**/*_key": ("prod/api/db_key", "staging/api/db_key", "api_v1/db_key"),
    "**/*password*": ("prod/db_password",),
    "**/*-prod": ("team-a/db-prod",),
    "**/*/c": ("x/y/c",),
    "**/foo{bar,b*z}": ("foobuzz",),
    "{**,y}/db_key": ("prod/api/db_key", "staging/api/db_key", "api_v1/db_key"),
}
MALFORMED = {"to[z-a]", "[", "to[", "{top,shared", "to\\"}


def _granted(pattern: str) -> Case:
    if pattern in CORRECTED:
        return _rules(f"{pattern}\n", "globs", _allowed(*CORRECTED[pattern]))
    if pattern == "{top,shared":  # the library closes the braces by itself
        return _rules(f"{pattern}\n", "malformed", _allowed())
    return _rules(f"{pattern}\n")


def _denied(pattern: str) -> Case:
    text = f"**\n!{pattern}\n"
    if pattern in CORRECTED:
        return _rules(text, "globs", _allowed(*CORRECTED[pattern], deny=True))
    if pattern in MALFORMED:
        return _rules(text, "malformed", Refused("denies nothing"))
    return _rules(text)


RULES = [
    *map(_granted, (*_PATTERNS, "{**,y}/db_key")),
    *map(_denied, (*_PATTERNS, "{**,y}/db_key")),
    _rules(""),
    _rules("\n\n"),
    _rules("# a comment\n"),
    _rules("  \n"),
    _rules("top"),
    _rules("top\r\nshared\r\n"),
    _rules("top\rshared\n"),
    _rules("\ufefftop\n", "byte-order-mark", _allowed("top")),
    _rules("prod/**\n!prod/api/**\nprod/api/db\n"),
    _rules("!top\ntop\n"),
    _rules("top\n!top\n"),
    _rules("top\n!top\ntop\n"),
    _rules("top\n# between\nshared\n"),
    _rules("**\n!**/db_key\n!prod/x\n"),
    _rules("top\ntop\n"),
    _rules("*\n!t*\ntopb\n"),
    _rules("top\n\n  \nshared\n"),
    _rules("top\n\x0bshared\n"),
    _rules("top\u00a0\nshared\u2003\n"),
    _rules("\u200btop\n"),
]

# Whole trees.

TREES = [
    Case(
        "tree of three teams",
        {
            "billing/stripe/api": "key: sk_test_4\nwebhook: wh_5\n",
            "billing/stripe/live": "key: sk_live_4\nwebhook: wh_6\n",
            "billing/ledger": "dsn: postgres://ledger@db.example/ledger\npassword: l3dger\n",
            "Platform/Grafana": "admin: root\npassword: |\n  two\n  lines\n",
            "platform/tls/wildcard": "tls.crt: |\n  -----BEGIN CERTIFICATE-----\n  MIIB\ntls.key: k\n",
            "mail": "user: postmaster\nport: 587\ntls: yes\n",
        },
        {
            "ci": "# deploys\n**\n!billing/stripe/live\n",
            "grace": "billing/**\n",
            "linus": "[Pp]latform/**\nmail\n",
            "ops.night": "*\n!mail\nmail\n",
        },
        users=("ci", "grace", "linus", "ops.night"),
    ),
    Case("tree empty", {}, {}),
    Case("tree without users", {"a": "k: v\n"}),
    Case("tree without secrets", {}, {"al": "**\n"}, users=("al",)),
    Case("tree odd words", {"words": "".join(f"key{n}: {word}\n" for n, word in enumerate(_ODD_WORDS))},
    {"al": "*\n"}, ("al",)),
    Case("tree default namespace", {"a": "k: v\n"}, {"al": "a\n"}, args=()),
]  # fmt: skip

CASES = [*VALUES, *NAMES, *USERS, *RULES, *TREES]


# Command lines: exit codes, and the names of the files that are there behind them.


class Line(NamedTuple):
    """A command line in a folder with the vault of ``case``. ``code``: ours, where it differs."""

    words: tuple[str, ...]
    environment: dict[str, str] = {}
    case: Case = Case("", {"a/b": "k: v\n", "c": "k: v\n"}, {"al": "a/*\n"})
    differs: str = ""
    code: int | None = None

    @property
    def name(self) -> str:
        given = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*given, *map(repr, self.words), _SHOWN.get(id(self.case), "")]).strip()


BROKEN = Case("", {"a": "k: [v]\n"}, {"al": "a\n"})
ODD_NAME = Case("", {"a": "k: v\n", "1x": "k: v\n"}, {"al": "a\n"})
_SHOWN = {id(BROKEN): "(broken)", id(ODD_NAME): "(odd name)", id(TREES[0]): "(three teams)"}
LINES = [
    Line(()),
    Line(("nonsense",)),
    Line(("--help",)),
    Line(("-h",)),
    Line(("help",)),
    Line(("help", "generate")),
    Line(("help", "nonsense")),
    Line(("--version",)),
    Line(("-V",)),
    Line(("generate", "--help")),
    Line(("generate",)),
    Line(("generate", "--nonsense")),
    Line(("generate", "extra")),
    Line(("generate", "--namespace")),
    Line(("generate", "--namespace", "")),
    Line(("generate", "-n", "x")),
    Line(("generate", "-nx")),
    Line(("generate", "--namespace=x")),
    Line(("generate", "--namespace", "Not_A_Name"), differs="namespace", code=2),
    Line(("generate",), {"KUBEVAULT_NAMESPACE": ""}),
    Line(("generate", "-n", "x"), {"KUBEVAULT_NAMESPACE": ""}),
    Line(("generate",), {"KUBEVAULT_NAMESPACE": "x"}),
    Line(("generate", "--vault-dir", "nowhere")),
    Line(("generate", "--vault-dir", "")),
    Line(("generate", "--vault-dir", "vault/")),
    Line(("generate",), {"KUBEVAULT_DIR": "nowhere"}),
    Line(("generate", "--vault-dir", "vault"), {"KUBEVAULT_DIR": "nowhere"}),
    Line(("generate",), {"KUBEVAULT_DIR": ""}),
    Line(("generate", "--vault-dir", "vault/kvstore")),
    Line(("generate",), case=BROKEN),
    Line(("generate",), case=ODD_NAME),
    Line(("generate", "--output-dir", "nowhere")),
    Line(("generate", "--output-dir", "")),
    Line(("generate", "--output-dir", "vault/kvstore/c")),
    Line(("generate", "--output-dir", "out")),
    Line(("generate",), {"KUBEVAULT_OUTPUT_DIR": "out"}),
    Line(("generate", "--output-dir", "out"), case=BROKEN),
    Line(("generate", "--output-dir", "out"), case=TREES[0]),
    Line(("can-read",)),
    Line(("can-read", "al", "extra")),
    Line(("can-read", "")),
    Line(("can-read", "nobody")),
    Line(("can-read", "al"), {"KUBEVAULT_DIR": "nowhere"}),
    Line(("can-read", "al", "--vault-dir", "nowhere")),
    Line(("can-read", "../kvstore/c"), differs="can-read", code=1),
    Line(("can-read", "--show-only-allowed", "al")),
    Line(("can-read", "al"), case=BROKEN),
    Line(("can-read", "al"), case=ODD_NAME),
    Line(("can-read", "al", "--show-only-allowed"), case=ODD_NAME, differs="can-read", code=1),
    Line(("new", "fresh")),
    Line(("new", "fresh/deeper")),
    Line(("new",)),
    Line(("new", "")),
    Line(("new",), {"KUBEVAULT_DIR": "fresh"}),
    Line(("new", "vault/kvstore/c")),
    Line(("new", "one", "two")),
    Line(("completion", "bash")),
    Line(("completion", "zsh")),
    Line(("completion", "fish")),
    Line(("completion", "elvish"), differs="completion", code=2),
    Line(("completion", "powershell"), differs="completion", code=2),
    Line(("completion", "nonsense")),
    Line(("completion",)),
    Line(("external-secret-store",)),
    Line(("external-secret-store", "al", "--context", "nowhere"), {"KUBECONFIG": "nowhere"}),
]
