"""The whole vault: what its files become, who its users are, and everything that is wrong with it, at once.

``names_of`` looks at names only (what ``can-read`` needs); ``load`` reads the secrets too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from strongroom.errors import VaultError
from strongroom.kubevault.found import Found, Problem
from strongroom.kubevault.names import BadName, check_namespace, check_user, secret_name, token_name
from strongroom.kubevault.rules import Index, Rule, parse_rules
from strongroom.kubevault.settings import Settings, missing_keys, not_json
from strongroom.kubevault.values import BadFile, read_values

MAX_SECRET = 1 << 20  # bytes of all values of a Secret
APPLY_LIMIT = 256 * 1024  # bytes of the annotation in which a client-side apply keeps a copy
Step = Callable[[int, int], object]
Decrypt = Callable[[bytes, str, str], bytes]  # (data, path, where) -> YAML in clear


class Source(Protocol):
    """Where a vault is read from: a folder, or a revision of it."""

    def files(self, room: str) -> tuple[list[Found], list[Problem]]:
        """Files in order of their path, part by part, and what is wrong."""


class Invalid(VaultError):
    """The vault cannot be used; ``problems`` lists all that is wrong with it, ``notes`` what is odd."""

    status = 400

    def __init__(self, problems: Sequence[Problem], notes: Sequence[Problem] = ()) -> None:
        super().__init__(*map(str, problems))
        self.problems, self.notes = list(problems), list(notes)


class SecretFile(NamedTuple):
    """A file of kvstore and the Secret it becomes."""

    path: str
    where: str
    name: str
    namespace: str
    read: Callable[[], bytes]


class User(NamedTuple):
    """A file of access_control: the user's name is the file's own, without its folder."""

    name: str
    path: str
    where: str
    rules: list[Rule]


class Content(NamedTuple):
    """What a Secret is made of."""

    entries: dict[str, str | bytes]
    settings: Settings


class Tree:
    """A vault without its secrets' values: files by path, users by name."""

    def __init__(self, secrets: list[SecretFile], users: list[User]) -> None:
        self.secrets = secrets  # in order of the path, part by part
        self.users = sorted(users, key=lambda user: user.name)
        self.index = Index([secret.path for secret in secrets])

    def user(self, name: str) -> User | None:
        """The user of that name, also when given as the path of its file."""
        return next((user for user in self.users if name in (user.name, user.path)), None)

    def secret(self, name: str) -> SecretFile | None:
        """The file with that path, or that becomes the Secret of that name."""
        exact = next((secret for secret in self.secrets if secret.path == name), None)
        return exact or next((secret for secret in self.secrets if secret.name == name), None)

    def allowed(self, user: User) -> list[SecretFile]:
        """The secrets that ``user`` may read, in order of their paths."""
        return [self.secrets[at] for at in self.index.allowed(user.rules)]


def names_of(source: Source, namespace: str, *, by_folder: bool = False) -> Tree:
    """The names of a vault. ``by_folder``: the first folder of a path is its namespace.

    Raises:
        Invalid: names that cannot be, that collide, users twice, rules that deny nothing because they are malformed.
    """
    tree, problems = examine(source, namespace, by_folder=by_folder)
    if problems:
        raise Invalid(problems)
    return tree


def examine(source: Source, namespace: str, *, by_folder: bool = False) -> tuple[Tree, list[Problem]]:
    """As ``names_of``, with the problems beside what could be used."""
    found, problems = source.files("kvstore")
    people, more = source.files("access_control")
    problems += more
    secrets = list(_secrets(found, namespace, by_folder, problems))
    users = list(_users(people, problems))
    _collisions(secrets, users, problems)
    return Tree(secrets, users), problems


def _secrets(found: Iterable[Found], namespace: str, by_folder: bool, problems: list[Problem]) -> Iterable[SecretFile]:
    checked: dict[str, str] = {}
    for path, where, read in found:
        try:
            name = secret_name(path)
        except BadName as error:
            problems.append(Problem(where, 0, str(error), "secret-name"))
            continue
        home = namespace
        if by_folder and "/" in path:
            folder = path.partition("/")[0]
            if folder not in checked:
                checked[folder] = folder.lower()
                try:
                    check_namespace(checked[folder])
                except BadName as error:
                    problems.append(Problem(where, 0, str(error), "namespace"))
            home = checked[folder]
        yield SecretFile(path, where, name, home, read)


def _users(found: Iterable[Found], problems: list[Problem]) -> Iterable[User]:
    for path, where, read in found:
        name = path.rpartition("/")[2]
        try:
            check_user(name)
            rules = parse_rules(read().decode("utf-8-sig"))
        except BadName as error:
            problems.append(Problem(where, 0, str(error), "user-name"))
            continue
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.append(Problem(where, line, "is not UTF-8", "not-utf-8"))
            continue
        except OSError as error:
            problems.append(Problem(where, 0, f"cannot be read: {error.strerror}", "unreadable"))
            continue
        problems += [
            Problem(where, rule.line, f"!{rule.text.removeprefix('!')} denies nothing: {rule.wrong}", "malformed")
            for rule in rules
            if rule.denies and rule.wrong
        ]
        yield User(name, path, where, rules)


def _collisions(secrets: list[SecretFile], users: list[User], problems: list[Problem]) -> None:
    by_name: dict[str, list[SecretFile]] = defaultdict(list)
    for secret in secrets:
        by_name[secret.name].append(secret)
    for name, same in by_name.items():
        for secret in same[1:]:
            text = f"becomes the Secret {name}, as {same[0].where} does: rename one of them"
            problems.append(Problem(secret.where, 0, text, "collision"))
    seen: dict[str, User] = {}
    for user in users:
        if user.name in seen:
            text = f"is a second user {user.name}, beside {seen[user.name].where}"
            problems.append(Problem(user.where, 0, text, "collision"))
        seen.setdefault(user.name, user)
        for secret in by_name.get(token_name(user.name), ()):
            text = f"becomes the Secret {secret.name}, which is to hold the token of {user.name} ({user.where})"
            problems.append(Problem(secret.where, 0, text, "token-collision"))


def load(
    tree: Tree,
    decrypt: Decrypt,
    *,
    b64: bool = False,
    before: Sequence[Problem] = (),
    step: Step = lambda done, total: None,
) -> tuple[list[Content], list[Problem]]:
    """The contents of the tree's secrets in their order, and warnings, also about its rules.

    Args:
        tree: of ``examine``.
        decrypt: turns the bytes of a file encrypted with SOPS into YAML, and returns others as they are.
        b64: keys that end in ``.b64`` hold base64.
        before: problems found before; raised together with those found here.
        step: called now and then with how many files are read, and of how many.

    Raises:
        Invalid: with every problem of every file.
    """
    problems, warnings = list(before), []
    contents = []
    for number, secret in enumerate(tree.secrets):
        if number % 64 == 0:
            step(number, len(tree.secrets))
        try:
            data = decrypt(secret.read(), secret.path, secret.where)
            entries, settings, warned = read_values(data, secret.where, b64=b64)
        except BadFile as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(secret.where, 0, f"cannot be read: {error.strerror}", "unreadable"))
        except VaultError as error:
            problems.append(Problem(secret.where, 0, str(error), "encrypted", getattr(error, "hint", "")))
        else:
            if warned:
                warnings += warned
            problems += _limits(secret, entries, settings, warnings)
            contents.append(Content(entries, settings))
    warnings += reviewed(tree)
    if problems:
        raise Invalid(problems, warnings)
    return contents, warnings


def _limits(
    secret: SecretFile, entries: dict[str, str | bytes], settings: Settings, warnings: list[Problem]
) -> Iterable[Problem]:
    size = sum(map(_size, entries.values()))
    if size > MAX_SECRET:
        yield Problem(secret.where, 0, f"holds {size} bytes of values; a Secret takes {MAX_SECRET}", "size")
    elif size * 4 // 3 > APPLY_LIMIT:
        text = "is too large for kubectl apply, which keeps a copy in an annotation: use kubectl apply --server-side"
        warnings.append(Problem(secret.where, 0, text, "apply-size"))
    for key in missing_keys(settings, entries):
        yield Problem(secret.where, 0, f"a Secret of type {settings.type} needs the key {key}", "type")
    if key := not_json(settings, entries):
        yield Problem(secret.where, 0, f"in a Secret of type {settings.type}, {key} must be a JSON object", "type")


def _size(value: str | bytes) -> int:
    return len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())


def reviewed(tree: Tree) -> list[Problem]:
    """Warnings about the rules: those that match nothing or have no effect, users who may read nothing."""
    found = []
    for user in tree.users:
        found += [Problem(user.where, rule.line, text, code) for rule, code, text in tree.index.review(user.rules)]
        if not tree.index.allowed(user.rules):
            found.append(Problem(user.where, 0, f"{user.name} may read nothing", "empty-grant"))
    return found
