"""The tool that measures conformance measures rightly; and every listed route of a built area is routed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.__main__ import last, reached
from conformance.areas import AREAS, BUILT, KV2, MOUNTS, TOKEN, area_of
from conformance.replay import Entry, Outcome, Replay, entry
from conformance.report import BEGIN, END, Listed, Report, into_page, percent
from conformance.routes import from_openapi, operation, own_list
from conformance.wire import MAPS, Answer, differences
from strongroom import SealConfig, Vault
from strongroom.core.router import Router
from strongroom.sdk.request import Op

OPS = {"GET": Op.READ, "LIST": Op.LIST, "POST": Op.UPDATE, "PUT": Op.UPDATE, "DELETE": Op.DELETE, "PATCH": Op.PATCH}


@pytest.mark.parametrize(
    ("want", "got", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": 1}, {"a": "1"}, [".a: number, not string"]),
        ({"a": None}, {"a": {}}, [".a: null, not object"]),
        ({"a": True}, {"a": 1}, [".a: bool, not number"]),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, [".b: missing", ".c: not in the corpus"]),
        ({"k": [{"x": ""}]}, {"k": []}, []),
        ({"k": [{"x": ""}]}, {"k": [{"x": 1}]}, [".k[0].x: string, not number"]),
        (None, {"errors": []}, ["body: null, not object"]),
        ({"b7264658-11fb-495e-8068-f5cc19297f95": 1}, {"d4915c3e-6055-31d4-6fa7-ab6ad0310981": 2}, []),
    ],
)
def test_differences_are_of_keys_and_types(want: Any, got: Any, found: list[str]) -> None:
    assert differences(want, got) == found


def outcome(status: int, got: Any, want: Any, path: str = "sys/mounts") -> Outcome:
    shape = tuple(differences(want, got, names=MAPS.get(path))) if status == 200 else ()
    return Outcome(Entry("GET", path, None, 200, want), MOUNTS, Answer(status, got), False, shape)


@pytest.mark.parametrize(
    ("status", "got", "held", "same"),
    [
        (200, {"a": 1, "b": [{"c": ""}]}, True, True),
        (200, {"a": 1, "b": [{"c": "", "more": 1}], "more": None}, True, False),
        (200, {"a": 1, "more": 1}, False, False),
        (200, {"a": "1", "b": [{"c": ""}], "more": 1}, False, False),
        (200, {"a": 1, "b": [{"more": ""}]}, False, False),
        (200, {"a": 1, "b": None}, False, False),
        (201, {"a": 1, "b": [{"c": ""}]}, False, False),
    ],
)
def test_more_keys_hold_what_was_recorded_and_are_not_the_same(status: int, got: Any, held: bool, same: bool) -> None:
    one = outcome(status, got, {"a": 1, "b": [{"c": ""}]})
    assert (one.holds_recorded, one.same_shape) == (held, same)


@pytest.mark.parametrize(
    ("path", "got", "same"),
    [
        ("sys/loggers", {"data": {"ours": "warn"}}, True),
        ("sys/loggers", {"data": {"ours": 1}}, False),
        ("sys/loggers", {"data": {}}, False),
        ("sys/loggers", {"other": {"theirs": "info"}}, False),
        ("sys/mounts", {"data": {"ours": "warn"}}, False),
    ],
)
def test_names_are_no_keys_where_a_map_is_listed(path: str, got: Any, same: bool) -> None:
    assert outcome(200, got, {"data": {"theirs": "info", "and": "info"}}, path).same_shape is same


def test_a_percentage_is_never_rounded_up() -> None:
    assert [percent(274, 275), percent(2749, 2750), percent(1, 2), percent(2, 3), percent(4, 4)] == [
        "99.6",
        "99.9",
        "50",
        "66.6",
        "100",
    ]


def test_a_route_is_served_unless_the_answer_says_that_there_is_none() -> None:
    assert Answer(404, {"errors": []}, '{"errors":[]}').served
    assert Answer(400, None).served and Answer(403, None).served
    assert not Answer(405, {"errors": []}).served
    assert not Answer(404, None, '{"errors":["1 error occurred:\\n\\t* unsupported path\\n\\n"]}').served
    assert not Answer(404, None, '{"errors":["no handler for route \\"x\\". route entry not found."]}').served


def test_areas_go_by_the_longest_prefix() -> None:
    assert (
        area_of("sys/mounts/x/tune") == MOUNTS
        and area_of("kv-v2/data/x") == KV2
        and area_of("auth/token/create") == TOKEN
    )
    assert area_of("sys/policies/password/x") == "sys: password policies"
    assert area_of("sys/license/status") == "sys: Enterprise and others"
    assert set(BUILT) <= set(AREAS.values())


def test_operations_of_an_openapi_document() -> None:
    document = {
        "paths": {
            "/{kv_v2_mount_path}/data/{path}": {"get": {}, "post": {}},
            "/auth/{approle_mount_path}/role/{role_name}": {"delete": {}},
            "/{pki_mount_path}/certs": {"get": {"parameters": [{"name": "list", "required": True}]}},
            "/sys/seal": {"post": {}},
        }
    }
    found = list(from_openapi(document))
    assert [(one.method, one.path, one.mount, one.type) for one in found] == [
        ("GET", "secret/data/conformance", "secret", "kv-v2"),
        ("POST", "secret/data/conformance", "secret", "kv-v2"),
        ("DELETE", "auth/approle/role/conformance", "auth/approle", "approle"),
        ("GET", "pki/certs?list=true", "pki", "pki"),
        ("POST", "sys/seal", "", ""),
    ]
    assert [one.destructive for one in found] == [False] * 4 + [True]


def test_what_ends_the_server_comes_last() -> None:
    paths = ("/sys/seal", "/sys/seal-status", "/auth/token/revoke-self", "/sys/init", "/sys/rekey/init")
    order = [one.path for one in last([operation("POST", path) for path in paths])]
    assert "sys/seal-status" not in order and order[-1] == "sys/seal" and order[-2] == "auth/token/revoke-self"


class Recorder:
    """Answers from a list, and remembers what was asked."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers, self.asked = iter(answers), []

    def __call__(self, address: str, method: str, path: str, body: Any, token: str, headers: Any) -> Answer:
        self.asked.append((path, body, token))
        return next(self.answers)


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def run(
        rows: list[dict[str, Any]], answers: list[tuple[int, Any]], root: str = ""
    ) -> tuple[Recorder, list[Outcome]]:
        recorder = Recorder([Answer(status, body, json.dumps(body)) for status, body in answers])
        monkeypatch.setattr("conformance.replay.send", recorder)
        entries = [entry({"note": "", "body": None, "method": "PUT", **row}) for row in rows]
        return recorder, list(Replay("http://nowhere", root).run(entries))

    yield run


def test_shares_and_tokens_are_carried_on(replay: Any) -> None:
    theirs = {"keys": ["a" * 66, "b" * 66], "root_token": "s.theirsOfTheRecording"}
    ours = {"keys": ["c" * 66, "d" * 66], "root_token": "hvs.oursOfThisServer"}
    rows = [
        {"path": "sys/init", "status": 200, "json": theirs},
        {"path": "sys/unseal", "body": {"key": "b" * 66}, "status": 200, "json": {}},
        {"path": "sys/seal", "status": 403, "json": {}, "note": "no token"},
        {"path": "sys/seal", "status": 204, "json": None},
    ]
    recorder, outcomes = replay(rows, [(200, ours), (200, {}), (403, {}), (204, None)])
    assert [asked[1:] for asked in recorder.asked] == [
        (None, ""),
        ({"key": "d" * 66}, "hvs.oursOfThisServer"),
        (None, ""),
        (None, "hvs.oursOfThisServer"),
    ]
    assert all(one.same_shape for one in outcomes)


def test_what_hangs_on_an_absent_engine_is_absent(replay: Any) -> None:
    rows = [
        {"path": "sys/mounts/transit", "body": {"type": "transit"}, "status": 204},
        {"path": "transit/keys/k", "status": 200, "json": {}},
        {"path": "secret/data/x", "status": 200, "json": {"a": 1}},
        {"path": "sys/quotas/config", "status": 200, "json": {}},
    ]
    gone = {"errors": ["plugin not found in the catalog: transit"]}
    nowhere = {"errors": ["no handler for route. route entry not found."]}
    _, outcomes = replay(rows, [(400, gone), (404, nowhere), (200, {"a": ""}), (404, nowhere)], root="root")
    assert [(one.absent, one.same_status, one.same_shape) for one in outcomes] == [
        (True, False, False),
        (True, False, False),
        (False, True, False),
        (True, False, False),
    ]
    assert [one.area for one in outcomes[:3]] == ["engine: transit", "engine: transit", KV2]


@pytest.mark.parametrize("built", [False, True])
def test_what_an_entity_gave_a_login_is_absent_without_identity(replay: Any, built: bool) -> None:
    auth = {"client_token": "hvs.x", "identity_policies": ["p"]}
    rows = [
        {"path": "identity/entity", "status": 204},
        {"path": "auth/userpass/login/a", "status": 200, "json": {"auth": auth}},
        {"path": "auth/userpass/login/b", "status": 200, "json": {"auth": {"client_token": ""}}},
    ]
    made = (204, None) if built else (404, {"errors": ["no handler for route. route entry not found."]})
    login = (200, {"auth": {"client_token": "hvs.y"}})
    _, outcomes = replay(rows, [made, login, login], root="root")
    assert [one.absent for one in outcomes] == [not built, not built, False]
    assert outcomes[1].shape == (".auth.identity_policies: missing",) and outcomes[2].same_shape


def test_the_report_counts_and_the_page_takes_the_table() -> None:
    report = Report()
    served, gone = Answer(200, {}), Answer(405, {})
    report.routes([(operation("GET", "/sys/mounts"), served), (operation("GET", "/sys/mounts/{path}"), gone)])
    report.replay(
        "golden",
        [
            Outcome(Entry("GET", "sys/mounts", None, 200, {}), MOUNTS, served, False, (".x: missing",)),
            outcome(200, {"more": 1}, {}),
            outcome(200, {}, {}),
            outcome(405, {}, {}),
        ],
    )
    row = report.rows[MOUNTS]
    assert (row.routes, row.answered, row.entries, row.status, row.held, row.shape) == (2, 1, 4, 3, 2, 1)
    assert "| 3 of 4 (75 %) | 2 of 4 (50 %) | 1 of 4 (25 %) |" in report.table()
    assert "Of the 3 answers" in report.table() and "2 (66.6 %) have every recorded" in report.table()
    assert "1 (33.3 %) have exactly" in report.table() and ".x: missing" in report.details()
    assert f"did not happen: {len(report.listed.lines)}" in report.details()
    assert "did not happen: 0" in Report().details()  # nothing was replayed, so nothing is said
    assert reached(report, 50, 0) == 0 and reached(report, 51, 0) == 1 and reached(report, 0, 26) == 1
    assert into_page(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="has no"):
        into_page("no marks", "new")


def test_listed_differences_cover_what_they_say_and_tell_when_they_are_idle() -> None:
    listed = Listed([("GET a/.*", r"\.x: missing", "A"), ("GET b", ".*", "B")])
    assert listed.covers("GET a/1", [".x: missing"]) and listed.unused() == ["GET b"]
    assert not listed.covers("GET a/1", [".x: missing", ".y: missing"])
    assert not listed.covers("GET c", [".x: missing"])


def test_every_listed_difference_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "differs-from-vault.md").read_text(encoding="utf-8")
    headings = {line.lstrip("# ").strip() for line in page.splitlines() if line.startswith("#")}
    assert not {why for _, _, why in Listed.read().lines} - headings


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    with Vault({"memory": {}}) as vault:
        made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.mount("secret", "kv", options={"version": "2"})
        vault.mount("kv1", "kv", options={"version": "1"})
        vault.mount("auth/userpass", "userpass")
        for kind in ("approle", "cert", "kubernetes"):
            vault.mount(f"auth/{kind}", kind)
        yield vault._core.router("root")


def test_every_listed_route_of_a_built_area_is_routed(router: Router) -> None:
    lost = []
    for one in own_list():
        if one.area not in BUILT or one.method not in OPS or one.path.startswith("sys/internal/inspect/"):
            continue
        if one.path.endswith(("/delete-sealed", "/seal-status")):  # a seal of a namespace's own: not built
            continue
        path = one.path + "/" * (one.method == "LIST" and not one.path.endswith("/"))
        match, _ = router.match(OPS[one.method], path)
        if match.refusal is not None:
            lost.append(f"{one.method} {one.pattern}: {match.refusal}")
    assert not lost, "\n".join(lost)
