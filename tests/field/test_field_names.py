"""File names, tables and runs that last for months: one bad name, folder or moment costs no result."""

import os

import numpy as np
import pandas
import pytest
from PIL import Image
from typer.testing import CliRunner

from musc_lite import ImageSet, Scores, Verdict, read_verdicts, write_verdicts
from musc_lite.cli import app
from musc_lite.results.exports import write_scores

FAST = ["--image-size", "56", "--r", "1", "--layers", "5"]
FORMULAS = ["=1+1.png", "@SUM(A1).png", "-5.png", "+6.png", "'=quoted.png", "'90s.png", "a,b;c.png", "Gehäuse_検査.png"]


def part(i):
    """Draw a smooth part with some noise."""
    x = np.arange(64) + np.zeros((48, 1))
    noise = 9 * np.random.default_rng(i).standard_normal(x.shape)
    return Image.fromarray(np.clip(130 + 60 * np.sin(x / 9 + i) + noise, 0, 255).astype(np.uint8))


def write_photos(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        with open(os.fsencode(folder) + b"/" + os.fsencode(name), "wb") as file:
            part(i).save(file, "PNG")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def scores_of(images):
    """Give scores without a backbone: image i scores i + 1."""
    values = np.arange(1.0, len(images) + 1)
    maps = values[:, None, None] * np.linspace(0, 1, 64).reshape(1, 8, 8)
    return Scores(images.names, values, values, maps, images=images, threshold=len(images) - 0.5)


def set_of(names):
    return ImageSet([part(i).convert("RGB") for i in range(len(names))], names)


class TestTables:
    @pytest.mark.case(57)
    def test_a_spreadsheet_reads_letters_and_runs_no_formula(self, tmp_path):
        write_scores(tmp_path / "scores.csv", scores_of(set_of(FORMULAS)))
        content = (tmp_path / "scores.csv").read_bytes()
        assert content.startswith(b"\xef\xbb\xbfimage,score,")
        table = pandas.read_csv(tmp_path / "scores.csv")
        assert not [cell for cell in table["image"] if cell[0] in "=+-@"]
        assert [
            cell[1:] if cell.startswith(("'=", "'@", "'-", "'+", "''=")) else cell for cell in table["image"]
        ] == FORMULAS[::-1]
        assert table["score"].tolist() == [8, 7, 6, 5, 4, 3, 2, 1]

    @pytest.mark.case(57)
    def test_verdicts_come_back_from_new_and_old_tables(self, tmp_path):
        verdicts = [Verdict(name, "bad", "", "+kind", "-note") for name in FORMULAS]
        write_verdicts(tmp_path / "new.csv", verdicts)
        assert read_verdicts(tmp_path / "new.csv") == verdicts
        assert not [cell for cell in pandas.read_csv(tmp_path / "new.csv").to_numpy().ravel() if str(cell)[0] in "=+-@"]
        old = "image,sha256,verdict,class,note\r\n=1+1.png,,bad,+kind,-note\r\n"
        (tmp_path / "old.csv").write_text(old)
        assert read_verdicts(tmp_path / "old.csv") == [verdicts[0]]
