from __future__ import annotations

import logging
import os
import pathlib

import pytest

from pipeline.local.capture import captured


def test_all_that_is_written_goes_to_the_file(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "component.log"
    with captured(str(log), also_on_terminal=False):
        print("from python")
        os.write(2, b"from c++\n")
        logging.getLogger("some.library").info("from logging")
    print("after")
    written = log.read_text()
    assert "from python" in written
    assert "from c++" in written
    assert written.count("from logging") == 1
    assert capfd.readouterr().out == "after\n"


def test_streams_come_back_after_an_error(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    handlers = logging.getLogger().handlers[:]
    with pytest.raises(RuntimeError), captured(str(tmp_path / "a.log"), also_on_terminal=False):
        raise RuntimeError
    os.write(1, b"back\n")
    assert capfd.readouterr().out == "back\n"
    assert logging.getLogger().handlers == handlers


def test_verbose_leaves_the_terminal_alone_and_keeps_the_log(tmp_path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "component.log"
    with captured(str(log), also_on_terminal=True):
        print("seen")
        logging.getLogger("some.library").info("kept")
    assert "seen" in capfd.readouterr().out
    assert "kept" in log.read_text()


def test_a_second_run_is_appended(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "component.log"
    for text in ("first", "second"):
        with captured(str(log), also_on_terminal=False):
            print(text)
    assert log.read_text() == "first\nsecond\n"
