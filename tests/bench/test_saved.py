"""Runs as files, and as a page."""

import re
from html.parser import HTMLParser

import pytest

from loadtest.bench import page, saved
from loadtest.bench.comparison import changes
from loadtest.bench.harness import Record
from loadtest.bench.study import LONGHAUL, Contender, Failure, Goal, Row, Sample, Study
from loadtest.bench.tables import markdown, terminal
from loadtest.bench.verdicts import verdicts_of


async def nothing(stage):
    return {}


STUDY = Study(
    "s",
    (Row("r", "a <row>", "ms", "lower", (Goal("<=", 0.6, "arq"),), measured_by="By <hand>."),),
    (Contender(LONGHAUL, nothing, "ours"), Contender("arq", nothing)),
)


def a_run():
    record = Record()
    record.samples = [Sample("r", LONGHAUL, 2.0, 1), Sample("r", LONGHAUL, 4.0, 2), Sample("r", "arq", 20.0, 1, True)]
    record.failures = [Failure("s", "arq", 2, "it <ended>")]
    return saved.made_of(record, "manage.py bench", "abc1234+", {"Python": "3.11.7", "arq": "0.28.0"})


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = a_run()
    saved.write(tmp_path / "new" / "run.json", run)
    assert saved.read(tmp_path / "new" / "run.json") == run


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "samples": [{}], "failures": []}'])
def test_what_is_no_run_is_refused(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(saved.SavedRunError, match=re.escape(f"{path} holds no run")):
        saved.read(path)


def test_a_run_of_another_version_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"format": 2}')
    with pytest.raises(saved.SavedRunError, match="measure it again"):
        saved.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(saved.SavedRunError, match="No such file"):
        saved.read(tmp_path / "run.json")


def test_versions_are_those_of_the_lock(tmp_path):
    (tmp_path / "x.in").write_text("# a comment\nsaq[redis]\ntaskiq<0.13  # why\n")
    (tmp_path / "x.lock").write_text("anyio==4.1 \\\n    --hash=x\nsaq==0.26.4 \\\n    --hash=x\ntaskiq==0.12.6\n")
    found = saved.versions(tmp_path / "x.in", {"arq": "0.28.0"})
    assert {name: found[name] for name in found if name != "Python"} == {
        "arq": "0.28.0", "saq": "0.26.4", "taskiq": "0.12.6",
    }  # fmt: skip


def test_the_terminal_says_who_is_how_fast_and_what_failed():
    run = a_run()
    said = terminal(verdicts_of([STUDY], run.samples), run.failures)
    assert "Longhaul  3.00 (2.00 to 4.00)" in said
    assert re.search(r"arq +> 20\.0 +Longhaul / this: 0\.10x", said)
    assert "goal at most 0.6x arq: reached, 0.10x" in said
    assert "arq, s, round 2: it <ended>" in said


def test_the_table_for_the_documentation():
    assert markdown(verdicts_of([STUDY], a_run().samples)).splitlines()[2] == (
        "| a <row>, ms | 3.00 (2.00 to 4.00) | arq > 20.0 | at most 0.6x arq: reached, 0.10x |"
    )


class Page(HTMLParser):
    """Open tags must be closed, and nothing may be fetched from anywhere."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "href"} and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_alone():
    run = a_run()
    now = verdicts_of([STUDY], run.samples)
    html = page.page(run, now, changes(now, now, same_machine=True))
    read = Page()
    read.feed(html)
    read.close()
    assert read.open == []
    assert read.fetched == []
    for words in ("a <row>", "By <hand>.", "it <ended>", "abc1234+", "arq 0.28.0", "Beside the saved run", "reached"):
        assert words in read.text, words
    assert html.count("<svg") == 1
