"""A reference in use for two years: the picture of all days can be read."""

import csv
import datetime
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from musc_lite import MuSc, planted_textures
from musc_lite.cli import app
from musc_lite.monitoring.drift import Day, plot_days
from musc_lite.monitoring.reference import reference_digest
from musc_lite.monitoring.watch_log import TABLE

N_DAYS, DRIFTING = 700, range(300, 310)
COLUMNS = ["time", "image", "sha256", "score", "p_value", "outlier", "remark", "reference", "size", "modified_ns"]


@pytest.fixture(scope="module")
def two_years(tmp_path_factory):
    """Write a reference file, and the table of a watch with 700 dates of four photos; on ten of them scores are low."""
    root = tmp_path_factory.mktemp("two_years")
    photos = planted_textures("brick", 28, 0, image_size=56)
    settings = {"image_size": 56, "layers": [5], "false_alarm_rate": 0.2}
    detector = MuSc(**settings).fit(photos.subset(slice(8)), trusted=photos.subset(slice(8, None)))
    detector.save(root / "reference.musc")
    digest = reference_digest(root / "reference.musc")
    usual = np.quantile(detector.calibration_, (0.2, 0.4, 0.6, 0.75))
    with (root / TABLE).open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for d in range(N_DAYS):
            day = datetime.date(2024, 1, 1) + datetime.timedelta(d)
            for k, score in enumerate(usual - (d in DRIFTING)):
                name = f"{d}_{k}.png"
                table.writerow([f"{day}T0{k}:00:00+00:00", name, "0" * 64, score, 0.5, 0, "", digest, 1000, 4 * d + k])
    return root


@pytest.mark.case(36)
def test_a_picture_of_two_years_can_be_read(two_years):
    done = CliRunner().invoke(
        app, ["drift", str(two_years / "reference.musc"), str(two_years), "-o", str(two_years / "drift.png")]
    )
    assert done.exit_code == 0, done.output
    with Image.open(two_years / "drift.png") as picture:
        assert picture.width <= 3000
    lines = done.output.splitlines()
    assert len(lines) < 60
    assert "660 earlier days without drift are in the picture only." in lines
    drifting = [line for line in lines if re.search(r"2024-10-2[7-9]|2024-10-3|2024-11-0", line)]
    assert len(drifting) == len(DRIFTING)


@pytest.mark.case(36)
def test_a_long_picture_names_some_days_and_marks_those_that_drift():
    calibration = np.linspace(0.2, 0.6, 39)
    days = [Day(f"day {d}", calibration[::10] - (d == 50)) for d in range(100)]
    ax = plot_days(days, calibration, 0.59, Figure().subplots())
    assert len(ax.get_xticklabels()) <= 20
    (marks,) = (each for each in ax.collections if each.get_label() == "drift")
    assert marks.get_offsets()[:, 0].tolist() == [51]
