"""The table of verbs: every route of every engine that comes with the house has its row."""

import pytest

from strongroom.core.router import Router, mounted
from strongroom.policy.cedar.schema import ACTIONS
from strongroom.policy.cedar.verbs import OWN, TABLE, asked, shape
from strongroom.sdk.engine import Mount
from strongroom.sdk.request import Op
from strongroom.sdk.storage import NoStorage
from strongroom.vault import plugins


def router(kind: str, path: str, **options: str) -> Router:
    mount = Mount(path=path, storage=NoStorage(), now=lambda: 0.0, options=options, type=kind)
    engine = plugins.factories("engines")[kind](mount)
    return Router([mounted(path, engine, kind=kind, accessor="", uuid="", mount_class="secret")])


def ask(made: Router, op: Op, path: str) -> tuple[str, str] | None:
    match, path = made.match(op, path)
    found = asked(match, op, path)
    return None if found is None else (found.action, found.path)


@pytest.mark.parametrize(
    ("op", "path", "action", "secret"),
    [
        (Op.READ, "secret/data/app/db", "read", "secret/app/db"),
        (Op.CREATE, "secret/data/app/db", "write", "secret/app/db"),
        (Op.UPDATE, "secret/data/app/db", "write", "secret/app/db"),
        (Op.PATCH, "secret/data/app/db", "write", "secret/app/db"),
        (Op.DELETE, "secret/data/app/db", "delete", "secret/app/db"),
        (Op.READ, "secret/metadata/app/db", "read", "secret/app/db"),
        (Op.UPDATE, "secret/metadata/app/db", "write", "secret/app/db"),
        (Op.DELETE, "secret/metadata/app/db", "delete", "secret/app/db"),
        (Op.LIST, "secret/metadata/app/", "list", "secret/app"),
        (Op.LIST, "secret/metadata/", "list", "secret"),
        (Op.SCAN, "secret/metadata/app/", "list", "secret/app"),
        (Op.LIST, "secret/detailed-metadata/app/", "list", "secret/app"),
        (Op.READ, "secret/subkeys/app/db", "read", "secret/app/db"),
        (Op.UPDATE, "secret/delete/app/db", "delete", "secret/app/db"),
        (Op.UPDATE, "secret/undelete/app/db", "write", "secret/app/db"),
        (Op.UPDATE, "secret/destroy/app/db", "delete", "secret/app/db"),
        (Op.READ, "secret/config", "manage", "secret"),
        (Op.UPDATE, "secret/config", "manage", "secret"),
        (Op.READ, "secret/data/data/x", "read", "secret/data/x"),
    ],
)
def test_versioned_secrets(op: Op, path: str, action: str, secret: str):
    assert ask(router("kv", "secret/", version="2"), op, path) == (action, secret)


@pytest.mark.parametrize(
    ("op", "path", "action", "secret"),
    [
        (Op.READ, "team/kv/data/x", "read", "team/kv/data/x"),
        (Op.UPDATE, "team/kv/x", "write", "team/kv/x"),
        (Op.DELETE, "team/kv/x", "delete", "team/kv/x"),
        (Op.LIST, "team/kv/", "list", "team/kv"),
    ],
)
def test_plain_secrets_under_a_mount_of_two_folders(op: Op, path: str, action: str, secret: str):
    assert ask(router("kv", "team/kv/"), op, path) == (action, secret)


def test_a_cubbyhole_and_what_leads_nowhere_are_not_cedars():
    assert ask(router("cubbyhole", "cubbyhole/"), Op.READ, "cubbyhole/x") is None
    assert ask(router("kv", "secret/", version="2"), Op.READ, "none/x") is None


@pytest.mark.parametrize("kind", sorted(set(plugins.factories("engines")) - OWN))
def test_every_route_of_an_engine_has_a_row_and_every_row_a_route(kind: str):
    routes = [
        shape(route.pattern)
        for options in ({}, {"version": "2"})
        for mount in router(kind, "x/", **options).mounts.values()
        for _, route in mount.routes
    ]
    assert set(routes) - set(TABLE[kind]) == set()
    assert set(TABLE[kind]) - set(routes) == set()


def test_the_table_speaks_of_actions_that_the_schema_has():
    assert {action for rows in TABLE.values() for row in rows.values() for action in row.actions.values()} <= set(
        ACTIONS
    )
