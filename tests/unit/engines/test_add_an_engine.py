"""The engine and the test of docs/add-an-engine.md, run as they stand there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "add-an-engine.md"
ENGINE, CONTRACT = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

page: dict = {"__name__": __name__}
exec(compile(ENGINE, str(PAGE), "exec", dont_inherit=True), page)
exec(compile(CONTRACT, str(PAGE), "exec", dont_inherit=True), page)
TestNotes = page["TestNotes"]


async def test_the_example_works():
    harness = TestNotes().make()
    await harness.write("note/b", {"text": "hello"})
    assert (await harness.read("note/b")).data == {"text": "hello"}
    assert await harness.list("note") == ["b"]
    assert await harness.list() == ["note/"]
    await harness.delete("note/b")
    assert await harness.list("note") == []
