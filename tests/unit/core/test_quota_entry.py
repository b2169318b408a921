"""Which quota applies: the most specific, compared with a plain reading of the rule."""

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.core.quota_entry import EXEMPT, LeaseQuota, Place, QuotaConfig, QuotaTable, RateQuota, exempt

NAMESPACES = ("", "a/", "a/b/")
MOUNTS = ("kv/", "auth/ldap/", "a/kv/", "a/b/kv/", "a/b/auth/ldap/")
RESTS = ("", "x", "x/y", "xy", "x/y/z")
ROLES = ("", "ci", "ops")

mount_paths = st.sampled_from(MOUNTS)
plain = st.builds(
    lambda mount, rest: (mount + rest).rstrip("/") if rest else mount, mount_paths, st.sampled_from(RESTS)
)
globs = st.builds(lambda mount, rest: mount + rest + "*", mount_paths, st.sampled_from(RESTS))
quotas = st.lists(
    st.one_of(
        st.tuples(st.one_of(plain, globs, st.sampled_from(NAMESPACES)), st.just(""), st.booleans()),
        st.tuples(mount_paths, st.sampled_from(ROLES), st.just(False)),
    ),
    max_size=12,
    unique_by=lambda quota: (quota[0], quota[1]),
)


def reading(rules: list[LeaseQuota], place: Place, role: str) -> LeaseQuota | None:
    """The rule, word by word: rank every quota that applies and take the highest."""

    def rank(quota: LeaseQuota) -> tuple[int, int] | None:
        path = place.path.rstrip("/")
        if quota.role:
            return (5, 0) if quota.path == place.mount and quota.role == role else None
        if quota.path.endswith("*"):
            return (3, len(quota.path)) if place.path.startswith(quota.path[:-1]) else None
        if quota.path in NAMESPACES:
            inherits = quota.path == place.namespace or (quota.inheritable and place.namespace.startswith(quota.path))
            return (1, len(quota.path)) if inherits else None
        if quota.path.endswith("/"):
            return (2, 0) if quota.path == place.mount else None
        return (4, 0) if quota.path == path else None

    ranked = [(rank(quota), quota) for quota in rules]
    best = [pair for pair in ranked if pair[0] is not None]
    return max(best, key=lambda pair: pair[0] or (0, 0))[1] if best else None


@settings(max_examples=2000, deadline=None)
@given(quotas, st.sampled_from(MOUNTS), st.sampled_from(RESTS), st.sampled_from(ROLES), st.booleans())
def test_the_most_specific_quota_applies(
    given_quotas: list[tuple[str, str, bool]], mount: str, rest: str, role: str, lists: bool
) -> None:
    rules = [
        LeaseQuota(name=str(n), path=path, role=its, inheritable=inherits, max_leases=1)
        for n, (path, its, inherits) in enumerate(given_quotas)
    ]
    namespace = next(ns for ns in reversed(NAMESPACES) if mount.startswith(ns))
    place = Place(namespace, mount, mount + rest + ("/" if lists and rest else ""))
    assert QuotaTable(rules).find(place, role) == reading(rules, place, role)


def test_what_lies_in_no_mount_is_the_namespace_s() -> None:
    everybody = RateQuota(name="all", rate=1, inheritable=True)
    table = QuotaTable([everybody, RateQuota(name="kv", path="kv/", rate=1)])
    assert table.find(Place("", "", "nowhere/at/all")) is everybody
    assert QuotaTable([RateQuota(name="kv", path="kv/", rate=1)]).find(Place("", "", "kv")) is None
    assert not QuotaTable(()) and table and not table.asks_role("kv/")


def test_exempt_paths() -> None:
    assert all(exempt(path, QuotaConfig()) for path in EXEMPT)
    assert not exempt("sys/health/x", QuotaConfig()) and not exempt("sys/mounts", QuotaConfig())
    config = QuotaConfig(exempt=("kv/free/*", "kv/one"))
    assert exempt("kv/free/a", config) and exempt("kv/one/", config)
    assert not exempt("kv/freed", config) and not exempt("sys/health", config)
