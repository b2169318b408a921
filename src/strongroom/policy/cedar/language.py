"""Cedar as the core wants it: without a reader of Cedar, ``cedarpy`` is not even loaded."""

from collections.abc import Mapping
from typing import Any

from strongroom.errors import BadRequest
from strongroom.policy.cedar.principals import principal_of
from strongroom.policy.cedar.verbs import asked
from strongroom.sdk.engine import Match
from strongroom.sdk.policy import Asked, Principal
from strongroom.sdk.request import Caller, Op


class CedarLanguage:
    """See ``core/cedar_policies.py`` for what each of them is."""

    def check(self, name: str, text: str) -> None:
        """Raises BadRequest with ``<policy>#<n>`` and line if ``text`` is no policy that fits the schema."""
        _installed()
        from strongroom.policy.cedar.policy import check

        check(name, text)

    def unmet(self, name: str, text: str, tests: str) -> list[str]:
        """The expectations ``tests`` that the policy alone does not meet, a sentence each. Raises BadRequest."""
        from strongroom.policy.cedar.decide import build
        from strongroom.policy.cedar.expectations import read_expectations, run

        outcomes = run(build({name: text}), read_expectations(tests, "tests"))
        return [f"{outcome.title}: {outcome.wrong}" for outcome in outcomes if outcome.wrong]

    def build(self, texts: Mapping[str, str], before: Any) -> Any:
        """The set of the stored policies ``texts``; what stands in ``before`` too is not parsed again."""
        _installed()
        from strongroom.policy.cedar.decide import build

        return build(texts, before)

    def principal(self, caller: Caller, service: str) -> Principal:
        """Who ``caller`` is, whose entity's metadata say ``service``."""
        return principal_of(caller, service)

    def asked(self, match: Match, op: Op, path: str) -> Asked | None:
        """What ``op`` on ``path`` is; None where Cedar has no say."""
        return asked(match, op, path)


def _installed() -> None:
    try:
        import cedarpy  # noqa: F401
    except ImportError:
        raise BadRequest("Cedar policies need the package cedarpy") from None
