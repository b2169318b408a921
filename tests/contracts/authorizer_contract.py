"""What every authorizer owes the pipeline, whatever language its policies are in."""

from collections.abc import Mapping
from typing import Any

from strongroom.sdk.policy import Authorizer, Decision, Question
from strongroom.sdk.request import Caller, Op


class AuthorizerContract:
    """Give ``nothing()`` and ``reader(path)``; the rest is tested here."""

    def nothing(self) -> Authorizer:
        """One without any policy."""
        raise NotImplementedError

    def reader(self, path: str) -> Authorizer:
        """One whose only policy, ``readers``, allows reading ``path`` and nothing else."""
        raise NotImplementedError

    def ask(self, authorizer: Authorizer, op: Op, path: str, *, root: bool = False, **more: Any) -> Decision:
        caller = Caller(accessor="acc", policies=("readers",), root=root)
        return authorizer.decide(Question(caller=caller, op=op, path=path, **more))

    def test_without_policies_nothing_but_help_is_allowed(self) -> None:
        for op in Op:
            assert self.ask(self.nothing(), op, "secret/a").allowed is (op is Op.HELP)

    def test_what_is_granted_is_allowed_and_says_by_whom(self) -> None:
        decision = self.ask(self.reader("secret/a"), Op.READ, "secret/a")
        assert decision.allowed and decision.granting == ("readers",) and decision.rule

    def test_a_grant_reaches_no_other_operation_and_no_other_path(self) -> None:
        reader = self.reader("secret/a")
        for op in set(Op) - {Op.READ, Op.HELP}:
            assert not self.ask(reader, op, "secret/a").allowed, op
        for path in ("secret/b", "secret/a/b", "secret", "secret/", "secret/A", "secret/ab", "", "/secret/a"):
            assert not self.ask(reader, Op.READ, path).allowed, path

    def test_every_refusal_has_a_reason_and_names_no_granting_policy(self) -> None:
        for path in ("secret/a", "secret/b"):
            decision = self.ask(self.reader("secret/a"), Op.DELETE, path)
            assert not decision.allowed and decision.reason and decision.granting == ()

    def test_a_route_that_needs_sudo_is_refused_without_it(self) -> None:
        assert not self.ask(self.reader("secret/a"), Op.READ, "secret/a", sudo=True).allowed

    def test_root_is_exempt(self) -> None:
        for op in set(Op) - {Op.HELP}:
            assert self.ask(self.nothing(), op, "sys/seal", root=True, sudo=True).allowed

    def test_an_operation_nobody_serves_is_refused(self) -> None:
        assert not self.ask(self.reader("secret/a"), Op.UNKNOWN, "secret/a").allowed

    def test_the_answer_depends_on_the_question_alone(self) -> None:
        reader, fields = self.reader("secret/a"), {"x": [1, {"y": None}]}
        before: Mapping[str, Any] = {"x": [1, {"y": None}]}
        answers = {self.ask(reader, Op.READ, "secret/a", data=fields).allowed for _ in range(3)}
        assert len(answers) == 1 and fields == before
