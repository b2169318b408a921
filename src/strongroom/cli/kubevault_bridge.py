"""The commands ``kubevault push`` and ``pull``: between a vault folder and a KV mount of a server."""

from typing import TYPE_CHECKING

from strongroom.cli import output, terminal
from strongroom.cli.argv import BadFlag
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Failed
from strongroom.cli.kubevault_vault import CHANGES, Decryptor, folder_of, make, source_of, vault_flags, warn
from strongroom.cli.session import Session
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.client.messages import Answer, Call
    from strongroom.kubevault.bridge import Place

_WHERE = (
    value("mount", "Path of the KV version 2 mount; secret when not given."),
    value("prefix", "Folder in the mount below which the vault lies."),
    value("policy-prefix", "What the names of the users' policies begin with; kubevault- when not given."),
)


class _Plain:
    """The session as the bridge asks it: no answer is wrapped, as VAULT_WRAP_TTL may want; it would look empty."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def call(self, call: "Call") -> "Answer":
        return self._session.call(_unwrapped(call))

    def read(self, call: "Call") -> "Answer | None":
        return self._session.read(_unwrapped(call))


def _unwrapped(call: "Call") -> "Call":
    return call._replace(headers={**call.headers, "X-Vault-Wrap-TTL": ""})


def _place(mount: str | None, prefix: str | None, policy_prefix: str | None) -> "Place":
    """Where on the server, by the flags alone."""
    from strongroom.kubevault.bridge import place_of

    if mount == "":
        raise BadFlag("--mount is empty")
    try:
        return place_of(mount or "secret", prefix or "", "kubevault-" if policy_prefix is None else policy_prefix)
    except BadRequest as error:
        raise BadFlag(str(error)) from None


def _check_mount(session: Session, place: "Place") -> None:
    """Ask the server whether the mount is there and keeps versions."""
    from strongroom.cli.kv_mount import find
    from strongroom.client.messages import Refused

    enable = f"make one: strongroom secrets enable -path={place.mount} -version=2 kv"
    try:
        found = find(session, "", place.mount)
    except Refused as refusal:
        if refusal.code in (400, 403) and not refusal.without_token:
            text = f"there is no mount {place.mount}/ on the server, or this token may not use it"
            raise Failed(text, enable, code=1) from None
        raise
    if found.mount.strip("/") != place.mount:
        raise Failed(f"the mount is {found.mount}", f"use --mount {found.mount} --prefix {found.key}", code=1)
    if not found.versioned:
        raise Failed(f"{place.mount}/ is no KV mount of version 2", enable, code=1)


@command(
    "push",
    *vault_flags(),
    switch("b64-suffix", "Keys that end in .b64 hold base64 and lose the ending."),
    *_WHERE,
    switch("dry-run", "Show what would be done, and do nothing."),
    switch("prune", "Remove what an earlier push put there and the vault does not have any more."),
    switch("adopt", "Replace secrets and policies of others that are in the way."),
)
def push(
    session: Session,
    vault_dir: str | None,
    rev: str | None,
    b64_suffix: bool | None,
    mount: str | None,
    prefix: str | None,
    policy_prefix: str | None,
    dry_run: bool | None,
    prune: bool | None,
    adopt: bool | None,
) -> int:
    """Load a vault into a KV mount of a server, with a policy for each user. Only what differs is written."""
    from strongroom.cli.progress import Progress
    from strongroom.kubevault import bridge_push
    from strongroom.kubevault.making import Wanted

    place = _place(mount, prefix, policy_prefix)
    made = make(source_of(vault_dir, rev), Wanted(b64=bool(b64_suffix)))
    warn(made.warnings)
    secrets, policies = bridge_push.wishes(made.tree, made.contents, place)
    _check_mount(session, place)
    server = _Plain(session)
    progress = Progress("secrets compared", after=1.0)
    writing = Progress("changes written", after=1.0)
    try:
        plan = bridge_push.plan(server, place, secrets, policies, prune=bool(prune), adopt=bool(adopt), step=progress)
        progress.done()
        if not dry_run:
            bridge_push.carry_out(server, plan, writing)
    finally:
        progress.done()
        writing.done()
    _show(session, [(change.sign, change.what, change.path) for change in plan.shown()])
    count = len(plan.shown())
    terminal.note(f"{count} {'change' if count == 1 else 'changes'}{' to make' if dry_run else ''}.")
    return 0


@command(
    "pull",
    argument("vault_dir", "VAULT_DIR", required=False),
    *_WHERE,
    switch("force", "Replace files that differ."),
)
def pull(
    session: Session,
    vault_dir: str | None,
    mount: str | None,
    prefix: str | None,
    policy_prefix: str | None,
    force: bool | None,
) -> int:
    """Write what is in a KV mount of a server into a vault folder, in clear, with a user for each of its policies."""
    from strongroom.cli.progress import Progress
    from strongroom.kubevault import bridge_pull
    from strongroom.kubevault.scaffold import make_vault

    folder = folder_of(vault_dir)
    place = _place(mount, prefix, policy_prefix)
    _check_mount(session, place)
    progress = Progress("secrets read", after=1.0)
    try:
        pulled = bridge_pull.fetch(_Plain(session), place, step=progress)
        progress.done()
        warn(pulled.warnings)
        writes = bridge_pull.differing(folder, pulled.files, Decryptor(), force=bool(force))
        make_vault(folder)  # with a .gitignore that keeps clear text out of git
        bridge_pull.write(folder, writes)
    finally:
        progress.done()
    _warn_of_the_whole(folder)
    _show(session, [(sign, "file", f"{file.room}/{file.path}") for sign, file in writes])
    terminal.note(f"{len(writes)} {'file' if len(writes) == 1 else 'files'} written to {folder}.")
    return 0


def _warn_of_the_whole(folder: str) -> None:
    """What was pulled is right by itself; together with files that were there already it may not be."""
    from strongroom.kubevault.folder import Folder
    from strongroom.kubevault.making import NAMESPACE
    from strongroom.kubevault.tree import examine

    warn(examine(Folder(folder), NAMESPACE)[1])


def _show(session: Session, rows: list[tuple[str, str, str]]) -> None:
    if session.form in ("json", "yaml"):
        shown = [{"change": CHANGES[sign], "what": what, "path": path} for sign, what, path in rows]
        terminal.say(output.render({"changes": shown}, session.form))
        return
    for sign, what, path in rows:
        terminal.say(f"{sign} {what} {path}")
