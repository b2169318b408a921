"""Problems as they are told."""

from strongroom.kubevault.found import Problem, locked_by


def test_a_problem_names_file_and_line() -> None:
    assert str(Problem("v/a", 3, "is odd")) == "v/a:3: is odd"
    assert str(Problem("v/a", 0, "is odd")) == "v/a: is odd"


def test_what_is_still_locked() -> None:
    assert locked_by(b"\0GITCRYPT\0x") == "git-crypt"
    assert locked_by(b"U2FsdGVkX1/x") == "transcrypt"
    assert locked_by(b"a: 1") == ""
