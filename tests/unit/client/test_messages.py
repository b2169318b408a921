"""Calls and answers as values."""

import pytest

from strongroom.client.messages import Answer, Call, Refused, Unreachable, check, decode, error_texts


def test_decode_takes_only_objects() -> None:
    assert decode(200, b' {"data": {"a": 1}}', {}).data == {"a": 1}
    for raw in (b"", b"[1]", b"<html>", b'{"a":', b'"x"', b'{"a": ' + b"[" * 100_000):
        assert decode(200, raw, {}).body is None


def test_errors_are_unwrapped() -> None:
    wrapped = {"errors": ["2 errors occurred:\n\t* permission denied\n\t* bad token\n\n", "plain"]}
    assert error_texts(Answer(403, wrapped)) == ["permission denied", "bad token", "plain"]
    assert error_texts(Answer(404, {"errors": []}, b'{"errors":[]}')) == []
    assert error_texts(Answer(502, None, b"<html>")) == ["the answer is not from this API (no JSON object in it)"]


def test_check_raises_with_all_that_came() -> None:
    call = Call("PUT", "a", {"password": "hunter2"})
    answer = Answer(400, {"errors": ["no"], "warnings": ["w"], "data": {"x": 1}})
    with pytest.raises(Refused) as caught:
        check(call, answer)
    assert (caught.value.code, caught.value.messages, caught.value.warnings) == (400, ("no",), ("w",))
    assert caught.value.data == {"x": 1}
    assert check(call, Answer(204)) == Answer(204)


def test_repr_and_text_show_no_content() -> None:
    call = Call("PUT", "a", {"password": "hunter2"})
    answer = Answer(200, {"data": {"password": "hunter2"}}, b"hunter2")
    refusal = Refused(call, Answer(400, {"errors": ["no"]}))
    assert "hunter2" not in f"{call!r}{answer!r}{refusal!r}{refusal}"


@pytest.mark.parametrize(
    ("kind", "sent", "method", "again"),
    [
        ("refused", False, "PUT", True),
        ("timeout", False, "PUT", True),
        ("timeout", True, "PUT", False),
        ("broken", True, "PUT", False),
        ("broken", True, "GET", True),
        ("tls", False, "GET", False),
        ("plain", False, "GET", False),
    ],
)
def test_what_may_be_sent_again(kind: str, sent: bool, method: str, again: bool) -> None:
    assert Unreachable("x", kind=kind, sent=sent).may_repeat(Call(method, "a")) is again
