"""What the tests share: golden results of the published code, the real backbone, real images."""

import os
import signal
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from browsing import app, browser, lab, lab_context, page  # noqa: F401 - fixtures

import musc_lite

os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for a model hub (read when timm is first imported)
hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no slower formula
hypothesis.settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs behind: Ctrl-C would stop nothing
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "data" / "golden.npz"
SHARED = Path(__file__).parents[2] / "shared"  # development data beside the checkout; not part of the project

# Half a minute on any system: the formulas, reading files, pictures. They need no weights, browser, network or signals.
QUICK = {
    "test_aggregation",
    "test_datasets",
    "test_duplicates",
    "test_decode",
    "test_quality",
    "test_layout",
    "test_log",
    "test_maps",
    "test_metrics",
    "test_mutual_scoring",
    "test_plots",
    "test_progress",
    "test_repository",
    "test_rescoring",
    "test_synthetic",
    "test_thresholds",
}


def pytest_configure(config):
    config.addinivalue_line("markers", "case(number): a field case, a public bug report rebuilt as a small input")


def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties += [("case", number) for mark in item.iter_markers("case") for number in mark.args]


def pytest_terminal_summary(terminalreporter):
    """Count the field cases: a case is OK where all of its tests passed."""
    outcomes: dict[int, set[str]] = {}
    for outcome in ("passed", "failed", "error", "xfailed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, number in getattr(report, "user_properties", ()):
                if name == "case":
                    outcomes.setdefault(number, set()).add(outcome)
    if outcomes:
        broken = sorted(number for number, seen in outcomes.items() if seen - {"passed", "skipped"})
        skipped = sorted(number for number, seen in outcomes.items() if seen == {"skipped"})
        terminalreporter.write_line(
            f"field cases: {len(outcomes)} tried, {len(outcomes) - len(broken) - len(skipped)} OK, "
            f"not OK {broken or 'none'}, skipped {skipped or 'none'}"
        )


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="only the test files that are quick and need no weights")


def pytest_ignore_collect(collection_path, config):
    if config.getoption("quick") and collection_path.suffix == ".py" and collection_path.stem not in QUICK:
        return True  # not even imported: what it needs may not be installed
    return None


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="session")
def backbone() -> musc_lite.Backbone:
    """The embedded DINOv2 ViT-S/14 with its real weights."""
    return musc_lite.load_backbone("dinov2_vits14")


@pytest.fixture(scope="session")
def magnetic_tiles() -> musc_lite.ImageSet:
    root = SHARED / "data" / "magnetic_tile"
    if not root.is_dir():
        pytest.skip("shared/data/magnetic_tile is not there")
    with warnings.catch_warnings(action="ignore"):  # a part of what was published
        return musc_lite.load_magnetic_tile(root)
