import io
import logging
import sys
import time

import pytest

from musc_lite.utils import progress
from musc_lite.utils.progress import progress_bar


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.1)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def run(seconds, **options):
    with progress_bar(total=20, desc="mutual scoring", unit="pair", **options) as bar:
        for _ in range(20):
            time.sleep(seconds / 20)
            bar.update()


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    """It got none at all, for 739 seconds."""
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda logger: False)  # pytest has handlers at the root
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(0.6)
    lines = sys.stderr.getvalue().splitlines()
    assert 2 <= len(lines) <= 7
    assert "\r" not in sys.stderr.getvalue()
    assert all(line.startswith("musc_lite: mutual scoring: ") and "of 20 pairs after" in line for line in lines)


def test_a_program_that_sets_up_logging_gets_the_lines_there(monkeypatch, caplog):
    caplog.set_level("INFO", "musc_lite")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(0.6)
    assert sys.stderr.getvalue() == ""
    assert 2 <= len(caplog.messages) <= 7
    assert all(message.startswith("mutual scoring: ") for message in caplog.messages)


def test_short_and_hidden_work_writes_nothing(monkeypatch):
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda logger: False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run(0.02)
    run(0.3, show=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    run(0.3)
    assert sys.stderr.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run(0.2)
    assert "\r" in sys.stderr.getvalue()
    assert "20/20" in sys.stderr.getvalue()
