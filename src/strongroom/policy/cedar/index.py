"""Which statements can speak about a request, by their scopes alone, without asking the engine about the others.

Every statement lies under one pair: what it demands of the principal and what of the resource. A request looks at
the pairs that it fulfils, few of a thousand.
"""

from collections.abc import Iterable

from strongroom.policy.cedar.entities import GROUP, SECRET, folders
from strongroom.policy.cedar.policy import Scope, Statement, Uid
from strongroom.sdk.policy import Principal

_Key = tuple[str, Uid | None]


class Index:
    """See the module. Immutable."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self.statements = tuple(statements)
        self._by_scope: dict[tuple[_Key, _Key], list[int]] = {}
        for number, statement in enumerate(self.statements):
            pair = _key(statement.principal), _key(statement.resource)
            self._by_scope.setdefault(pair, []).append(number)

    def find(self, principal: Principal, action: str, path: str) -> tuple[int, ...]:
        """The numbers of the statements whose scope ``principal``, ``action`` and ``path`` fulfil, ascending."""
        me, it = (principal.kind, principal.name), (SECRET, path)
        whos = _keys(me, [(GROUP, name) for name in principal.groups])
        whats = _keys(it, [(SECRET, folder) for folder in folders(path)])
        found: list[int] = []
        for who in whos:
            for what in whats:
                for number in self._by_scope.get((who, what), ()):
                    statement = self.statements[number]
                    if (
                        (statement.actions is None or action in statement.actions)
                        and statement.principal.kind in ("", principal.kind)
                        and statement.resource.kind in ("", SECRET)
                    ):
                        found.append(number)
        return tuple(sorted(found))


def _key(scope: Scope) -> _Key:
    return scope.relation, scope.uid


def _keys(self_: Uid, ancestors: Iterable[Uid]) -> list[_Key]:
    """The demands that an entity with these ancestors fulfils; ``in`` holds for the entity itself too."""
    return [("", None), ("==", self_), ("in", self_), *(("in", uid) for uid in dict.fromkeys(ancestors))]
