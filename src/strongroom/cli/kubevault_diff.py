"""The command ``kubevault diff``: what applying the vault would change, without a value."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from strongroom.cli import output, terminal
from strongroom.cli.argv import BadFlag
from strongroom.cli.command import command, switch, value
from strongroom.cli.kubevault import FINDINGS
from strongroom.cli.kubevault_vault import CHANGES, make, naming_flags, source_of, vault_flags, wanted_of, warn
from strongroom.cli.session import Session

if TYPE_CHECKING:
    from strongroom.kubevault.diff import Difference, State
    from strongroom.kubevault.making import Wanted

_COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "~": "\x1b[33m"}
_COMPARED = ("secret", "external-secret", "push-secret")


@command(
    "diff",
    *vault_flags(),
    *naming_flags(),
    value("against", "Compare with the manifests in this folder."),
    value("against-rev", "Compare with the vault as it is at this git revision."),
    switch("live", "Compare with a cluster, asked through kubectl."),
    value("kubeconfig", "With --live: the kubeconfig (KUBECONFIG)."),
    value("context", "With --live: its context; the current one when not given."),
    value("tokens", "Long-lived tokens for users: secret (the default) or none."),
    value("kind", "What secrets become: secret, external-secret or push-secret."),
    value("store", "Name of the store that external-secret and push-secret refer to."),
    value("store-kind", "Its kind: ClusterSecretStore (the default) or SecretStore."),
    switch("exit-code", "Exit with 3 when something differs."),
    http=False,
)
def diff(
    session: Session,
    vault_dir: str | None,
    rev: str | None,
    against: str | None,
    against_rev: str | None,
    live: bool | None,
    **flags: Any,
) -> int:
    """Show what applying the vault would change, and who could read what afterwards. No value is shown."""
    from strongroom.kubevault.diff import compare, state_of

    _one_side(against, against_rev, live, flags)
    wanted = wanted_of(flags)
    if wanted.kind not in _COMPARED:
        raise BadFlag("sealed values differ each time they are made: compare --kind secret")
    key = os.urandom(32)
    made = make(source_of(vault_dir, rev), wanted)
    warn(made.warnings)
    new = state_of(made.objects(), key)
    if against_rev is not None:
        if not against_rev:
            raise BadFlag("--against-rev is empty")
        old = state_of(make(source_of(vault_dir, against_rev), wanted).objects(), key)
    else:
        old = state_of(_others(against, new, wanted, flags), key, wanted.namespace)
    found = compare(old, new)
    if session.form in ("json", "yaml"):
        terminal.say(output.render(_data(found), session.form))
    else:
        _show(found)
    return FINDINGS if found and flags["exit_code"] else 0


def _one_side(against: str | None, against_rev: str | None, live: bool | None, flags: Mapping[str, Any]) -> None:
    if (against is not None) + (against_rev is not None) + bool(live) != 1:
        raise BadFlag("diff needs one of --against FOLDER, --against-rev REVISION and --live")
    if against == "":
        raise BadFlag("--against is empty")
    if not live and (flags["kubeconfig"] or flags["context"]):
        raise BadFlag("--kubeconfig and --context are for --live")
    if live and flags["kind"] not in (None, "secret"):
        raise BadFlag("--live compares what --kind secret makes")


def _others(
    against: str | None, new: "State", wanted: "Wanted", flags: Mapping[str, Any]
) -> Iterable[Mapping[str, Any]]:
    from strongroom.kubevault.diff import ours
    from strongroom.kubevault.kubectl import Cluster
    from strongroom.kubevault.manifest_files import folder_objects, live_objects

    if against is not None:
        return folder_objects(against)
    namespaces = sorted({wanted.namespace, *(ref.namespace for ref in new.things)})
    cluster = Cluster(flags["kubeconfig"] or "", flags["context"] or "")
    return ours(list(live_objects(cluster, namespaces)), new)


def _show(found: "Difference") -> None:
    from strongroom.kubevault.diff import EVERYTHING

    lines = []
    for change in found.changes:
        lines.append((change.sign, f"{change.sign} {change.ref}"))
        lines += [(sign, f"    {sign} {text}") for sign, text in (*change.keys, *change.names, *change.fields)]
        lines += [(sign, f"    {sign} rule {text}") for sign, text in change.rules]
    if found.access:
        lines.append(("", "access:"))
    for user, sign, namespace, name in found.access:
        verb = "may read" if sign == "+" else "may no longer read"
        what = f"every secret of {namespace}" if name == EVERYTHING else f"{namespace}/{name}"
        lines.append((sign, f"    {sign} {user} {verb} {what}"))
    if not lines:
        terminal.note("Nothing differs.")
        return
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for sign, text in lines:
        shown = output.visible(text)  # names and rules may come from a cluster
        sys.stdout.write(f"{_COLOURS.get(sign, '')}{shown}\x1b[0m\n" if colours else f"{shown}\n")


def _data(found: "Difference") -> dict[str, Any]:

    def rows(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"change": CHANGES[sign], "text": text} for sign, text in pairs]

    return {
        "objects": [
            {
                "change": CHANGES[change.sign],
                "kind": change.ref.kind,
                "namespace": change.ref.namespace,
                "name": change.ref.name,
                "keys": rows(change.keys),
                "names": rows(change.names),
                "rules": rows(change.rules),
                "fields": rows(change.fields),
            }
            for change in found.changes
        ],
        "access": [
            {"user": user, "change": CHANGES[sign], "namespace": namespace, "secret": name}
            for user, sign, namespace, name in found.access
        ],
    }
