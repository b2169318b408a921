"""The commands ``lease lookup``, ``renew`` and ``revoke``."""

from strongroom.cli import terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls
from strongroom.client.settings import parse_seconds

LEASE = Group(
    "lease",
    {name: f"lease:{name}" for name in ("lookup", "renew", "revoke")},
    "Look up, renew and revoke leases.",
)


@command("lookup", argument("lease"))
def lookup(session: Session, lease: str) -> int:
    """Show what is known about a LEASE."""
    return session.show_answer(session.call(calls.lease_lookup(lease.strip())))


@command("renew", value("increment", "How much longer, as 30m.", short="i"), argument("lease"), field=True)
def renew(session: Session, lease: str, increment: str | None) -> int:
    """Give a LEASE more time."""
    seconds = int(parse_seconds(increment, "-increment")) if increment else 0
    return session.show_answer(session.call(calls.lease_renew(lease.strip(), seconds)))


@command(
    "revoke",
    switch("prefix", "The argument is a prefix of leases."),
    switch("force", "With -prefix: forget the leases even if the engine cannot undo them.", short="f"),
    switch("sync", "Wait until it is done."),
    argument("lease"),
    form=False,
)
def revoke(session: Session, lease: str, prefix: bool | None, force: bool | None, sync: bool | None) -> int:
    """Revoke a LEASE, or all leases below a prefix."""
    if force and not prefix:
        raise Misused("-force goes with -prefix only")
    path = sanitise(lease)
    call = calls.lease_revoke(path, prefix=bool(prefix), force=bool(force), sync=bool(sync))
    terminal.warn(session.call(call).warnings)
    if force:
        terminal.say(f"Success! Force revoked any leases with prefix: {lease.strip()}")
    elif not sync:
        terminal.say("All revocation operations queued successfully!")
    elif prefix:
        terminal.say(f"Success! Revoked any leases with prefix: {lease.strip()}")
    else:
        terminal.say(f"Success! Revoked lease: {path}")
    return 0
