"""Marks of tasks: written by processes and threads at once, read by another process while they are."""

import subprocess
import sys
import threading

from core_config import ROOT
from loadtest.bench.peers.marks import Marker, Marks

WRITER = """
import sys
from pathlib import Path
from loadtest.bench.peers.marks import Marker
marker = Marker(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    marker.ended(marker.began(number))
"""


def test_marks_of_several_processes(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(first), str(first + 500)], cwd=ROOT)
        for first in (0, 500, 1000)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = Marks(tmp_path).all()
    assert sorted(mark.number for mark in found) == list(range(1500))
    assert all(0 < mark.began <= mark.ended for mark in found)
    assert {mark.pid for mark in found} == {writer.pid for writer in writers}


def test_marks_of_several_threads(tmp_path):
    marker = Marker(tmp_path)
    ready = threading.Barrier(8)

    def mark(first):
        ready.wait()
        for number in range(first, first + 200):
            marker.ended(marker.began(number))

    threads = [threading.Thread(target=mark, args=(first,)) for first in range(0, 1600, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Marks(tmp_path).all()
    assert sorted(mark.number for mark in found) == list(range(1600))
    assert all(mark.ended for mark in found)


def test_runs_of_one_task_in_the_order_they_began(tmp_path):
    marker = Marker(tmp_path)
    first = marker.began(7)
    marker.ended(marker.began(8))
    second = marker.began(7)
    runs = Marks(tmp_path).of(7)
    assert [mark.ended for mark in runs] == [0, 0]
    assert runs[0].began < runs[1].began
    marker.ended(second)
    assert [bool(mark.ended) for mark in Marks(tmp_path).of(7)] == [False, True]
    marker.ended(first)
    assert all(mark.ended for mark in Marks(tmp_path).of(7))


def test_who_asks_again_is_told_what_is_new_and_what_has_not_ended(tmp_path):
    marker, marks = Marker(tmp_path), Marks(tmp_path)
    assert marks.unfinished_or_new() == []

    def asked():
        return [mark.number for mark in marks.unfinished_or_new()]

    slots = [marker.began(number) for number in range(4)]
    marker.ended(slots[0])
    marker.ended(slots[2])
    assert asked() == [0, 1, 2, 3]
    assert asked() == [1, 2, 3]
    marker.ended(slots[1])
    assert asked() == [1, 2, 3]
    assert asked() == [3]
