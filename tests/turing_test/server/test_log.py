"""What the operator reads: a time on every line, and no line a thousand times."""

import logging
import re
import subprocess
import sys

import pytest

from turing_test.server import log
from turing_test.server.log import QUIET_S, Repeats


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    return now


def record(message="the disk is full: %s", *args, level=logging.ERROR):
    return logging.LogRecord("study", level, "", 0, message, args or ("a",), None)


def test_what_repeats_is_counted_and_told_with_the_next_line(clock):
    repeats = Repeats()
    assert [repeats.filter(record("the disk is full: %s", k)) for k in range(4)] == [True, False, False, False]
    clock[0] += QUIET_S
    later = record("the disk is full: %s", "z")
    assert repeats.filter(later)
    assert later.getMessage() == "the disk is full: z (and 3 times since it was last written)"
    clock[0] += QUIET_S
    again = record()
    assert repeats.filter(again)
    assert again.getMessage() == "the disk is full: a"


def test_other_lines_are_not_held_back(clock):
    repeats = Repeats()
    assert repeats.filter(record())
    assert repeats.filter(record("the database is locked: %s"))
    assert repeats.filter(record(level=logging.WARNING))


def test_a_line_says_when_it_was_written():
    code = (
        "import logging; from turing_test.server.log import write_log; write_log(); logging.getLogger('a').error('b')"
    )
    written = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR \d+ b\n", written)
