"""The rules of the house, each a test: sizes, docstrings, floors, forbidden calls, help, settings, paths."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "strongroom"
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 600
MAX_FUNCTION = 60
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Where bytes from outside become values, and where keys are handled: every public name says what it takes and raises.
DOCUMENTED = ("crypto/*.py", "policy/*.py", "server/http_*.py", "server/config*.py", "sdk/*.py", "core/parse.py")

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_ATTRIBUTES = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "marshal.loads"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "jinja2", "random", "telnetlib"}
IMPORTED = {"client/transport.py": ["random"]}  # how long to wait before a second try

# Names that hold something secret or something that proves knowledge of it. Two of these are compared with
# hmac.compare_digest; a comparison with a constant ("" or None) tells nobody anything.
GUARDED = re.compile(
    r"(^|_)(token|tokens|secret|secret_id|password|mac|hmac|otp|nonce|share|unseal_key|root_key|digest|key_hash)$"
)
COMPARED = {  # file, line's text: why the plain comparison is right
    "storage/file_journal.py": {
        "digest"
    },  # a checksum against torn writes; whoever can write the file knows both sides
    "crypto/selftest.py": {"secret"},  # made up for the test
    "core/shares.py": {
        "unseal_key",
        "share",
    },  # SecretBytes compares itself with hmac.compare_digest
}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines of the body, docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def forbidden(tree: ast.AST) -> list[str]:
    """Calls and imports that turn data into code, and a shell."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_IMPORTS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_IMPORTS:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in FORBIDDEN_CALLS | FORBIDDEN_ATTRIBUTES:
                found.append(name)
            found += [
                "shell=True"
                for word in node.keywords
                if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value)
            ]
    return found


def plain_comparisons(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """``==`` and ``!=`` between two values of which one is named like a secret."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops) or any(map(constant, sides)):
            continue
        for side in sides:
            last = dotted(side).rpartition(".")[2]
            if GUARDED.search(last):
                yield node.lineno, last


def constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_says_what_it_is_for_and_calls_nothing_forbidden(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = parse(path)
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree), "no docstring"
    long = [f"{f.name}: {length(f)} lines" for f in functions(tree) if length(f) > MAX_FUNCTION]
    assert not long
    assert [name for name in forbidden(tree) if name not in IMPORTED.get(name_of(path), [])] == []
    allowed = COMPARED.get(name_of(path), set())
    compared = [f"line {line}: {name}" for line, name in plain_comparisons(tree) if name not in allowed]
    assert not compared, "use hmac.compare_digest"
    if not name_of(path).startswith("cli/"):
        assert not [f for f in ast.walk(tree) if isinstance(f, ast.Call) and dotted(f.func) == "print"]


def test_the_checks_above_see_what_they_look_for() -> None:
    bad = ast.parse("import pickle\neval('1')\nrun(x, shell=True)\nyaml.load(x)")
    assert forbidden(bad) == ["pickle", "eval", "shell=True", "yaml.load"] or len(forbidden(bad)) == 4
    assert list(plain_comparisons(ast.parse("a.token == given"))) == [(1, "token")]
    assert not list(plain_comparisons(ast.parse("a.token == ''\nhmac.compare_digest(a.token, b)")))
    long = ast.parse("def f():\n    'doc'\n" + "    x = 1\n" * 61)
    assert [length(f) for f in functions(long)] == [61]


def public(path: Path) -> Iterator[Function]:
    """A module's public functions, and in ``crypto`` the public methods too."""
    nodes = list(parse(path).body)
    if path.parent.name == "crypto":
        classes = [node for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        nodes += [inner for node in classes for inner in node.body]
    return (node for node in nodes if isinstance(node, Function) and not node.name.startswith("_") and not simple(node))


def simple(function: Function) -> bool:
    return any(dotted(d) in {"property", "overload"} for d in function.decorator_list)


def test_public_names_of_cryptography_and_parsers_have_docstrings() -> None:
    paths = sorted({path for pattern in DOCUMENTED for path in SOURCE.glob(pattern)})
    silent = [
        f"{name_of(path)}: {function.name}"
        for path in paths
        for function in public(path)
        if not ast.get_docstring(function)
    ]
    assert not silent, "\n".join(silent)


def test_the_floors_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_every_route_has_help() -> None:
    from strongroom import SealConfig, Vault

    with Vault({"memory": {}}) as vault:
        made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        for kind in ("kv", "userpass", "approle"):
            vault.mount(kind if kind == "kv" else f"auth/{kind}", kind)
        vault.mount("kv2", "kv", options={"version": "2"})
        routers = [space.mounts.router for space in vault._core.spaces.values()]
        routes = [
            (mount.path, route) for router in routers for mount in router.mounts.values() for _, route in mount.routes
        ]
        assert len(routes) > 100
        assert not [f"{path}{route.pattern}" for path, route in routes if not route.help.strip()]


def test_every_setting_is_documented() -> None:
    from strongroom.server.config import ServerConfig
    from strongroom.server.config_listener import Listener

    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    inner = {"listeners", "warnings", "kind", "settings", "tls", "limits"}  # made from other settings
    names = {f.name for kind in (ServerConfig, Listener) for f in msgspec.structs.fields(kind)} - inner
    assert not sorted(name for name in names if not re.search(rf"[`_]{name}`", page))


# What the tree must not hold: paths of one machine, or an address to download from.
LOCAL = re.compile(r"(?<![\w.~}-])/(home|Users|root|work)/\w|index.url|registry *= *.http")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_speaks_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.name == "LICENSE" or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in LOCAL.finditer(text)]
    assert not found
    assert LOCAL.search("see /home/someone") and not LOCAL.search("~/home/x and kv/root/x")
