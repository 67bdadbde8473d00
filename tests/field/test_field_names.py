"""File names, tables and runs that last for months: one bad name, folder or moment costs no result."""

import html
import json
import os
import re
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pandas
import pytest
from matplotlib.ft2font import FT2Font
from PIL import Image
from typer.testing import CliRunner

import musc_lite.support.names
from musc_lite import ImageSet, Scores, Verdict, read_verdicts, write_verdicts
from musc_lite.cli import app
from musc_lite.results.contact_sheet import _legible
from musc_lite.results.exports import write_scores
from musc_lite.support.names import check_file_names, file_names, writable
from musc_lite.support.tables import from_cell

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


# Two names of 240 bytes in Japanese that differ at the end alone, one that is not UTF-8, and what trips programs up.
ODD = [
    "外観検査装置第三ライン左側面カメラ撮影結果外観検査装置第三ライン左側面カメラ撮影結果外観検査装置第三ライン左側面カメラ撮影結果外観検査装置第三ライン左側面"
    + end
    for end in ("検査01.png", "検査02.png")
]
ODD += [
    b"Geh\xe4use.png",
    "new\nline.png",
    "tab\there.png",
    "\u2028separator.png",
    "[red]x.png",
    "<b>bold<!--.png",
    "#1.png",
]
ODD += [
    'quote".png',
    "50%.png",
    "%41.png",
    "\U0001f527emoji.png",
    "\u05d0\u05d1.png",
    " blank .png",
    "-o.png",
    "con.png",
    "x" * 251 + ".png",
]


class TestNames:
    @pytest.mark.case(30)
    @pytest.mark.case(31)
    @pytest.mark.case(32)
    @pytest.mark.case(33)
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
    def test_one_bad_name_costs_no_result(self, tmp_path):
        photos, out = write_photos(tmp_path / "[lot-12]", ODD), tmp_path / "out"
        done = run("score", photos, "-o", out, *FAST, "--write", "coco,labelme,masks,heatmaps")
        assert done.exit_code == 0, done.output
        assert " [lot-12] " in done.output
        found = json.loads((out / "results.json").read_text(encoding="utf-8"))["images"]
        names = [image["image"] for image in found]
        on_disk = {writable(os.fsdecode(name)): os.fsencode(name) for name in ODD}
        assert set(names) == set(on_disk)
        changed = [name for name in names if name.encode() != on_disk[name]]
        assert len(changed) == 4
        assert [unquote_to_bytes(name) for name in changed] == [on_disk[name] for name in changed]
        assert pandas.read_csv(out / "scores.csv")["image"].map(from_cell).tolist() == names
        files = [file for image in found for file in image["files"].values()]
        assert len({*files}) == 4 * len(ODD)
        assert all((out / file).is_file() for file in files)
        links = {
            unquote(html.unescape(link))
            for link in re.findall('href="(maps/[^"]+)"', (out / "report.html").read_text(encoding="utf-8"))
        }
        assert links == {image["files"]["maps"] for image in found}
        for image in found:
            label = out / json.loads((out / image["files"]["labelme"]).read_text(encoding="utf-8"))["imagePath"]
            assert os.path.exists(out / "labelme" / os.path.relpath(label, out))

    @pytest.mark.case(30)
    @pytest.mark.case(32)
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
    def test_the_contact_sheet_shows_every_name_without_boxes(self, tmp_path):
        photos = write_photos(tmp_path / "photos", ODD)
        done = run("inspect", photos, "-o", tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert Image.open(tmp_path / "out" / "contact_sheet.jpg").width > 100
        shown, font = _legible("検2.png")
        letters = FT2Font(font.path).get_charmap()
        assert shown.endswith("2.png")
        assert not [letter for letter in shown if ord(letter) not in letters]

    def test_files_of_results_are_all_different_and_below_their_folder(self):
        names = [
            "a.png",
            "a.png",
            "../a.png",
            "/a.png",
            "x" * 300 + "1",
            "x" * 300 + "2",
            "検" * 300,
            "d" * 300 + "/a.png",
            "",
            ".",
        ]
        for ending in (".jpg", ".json"):
            found = file_names(names, ending)
            assert len({*found}) == len(names)
            assert file_names(names, ending) == found
            assert not [
                part for name in found for part in name.split("/") if part in ("", "..") or len(part.encode()) > 255
            ]
            assert not [name for name in found if not name.endswith(ending)]

    def test_names_that_the_disk_does_not_take_are_refused_before_the_work(self, tmp_path, monkeypatch):
        photos = write_photos(tmp_path / "photos", ["what?.png", "a.png", "b.png"])
        monkeypatch.setattr(musc_lite.support.names, "_can_be", lambda _, name: "?" not in name)
        done = run("score", photos, "-o", tmp_path / "out", *FAST)
        assert done.exit_code == 1
        assert "results of 1 images, such as 'what?.png', cannot be written" in done.stderr
        assert not list(tmp_path.rglob("*.safetensors"))
        check_file_names(tmp_path, ["a.png", "A.png"])
        monkeypatch.setattr(musc_lite.support.names, "_ignores_case", lambda _: True)
        with pytest.raises(ValueError, match=r"such as 'a\.png'"):
            check_file_names(tmp_path, ["a.png", "A.png"])


class TestTables:
    @pytest.mark.case(57)
    def test_a_spreadsheet_reads_letters_and_runs_no_formula(self, tmp_path):
        write_scores(tmp_path / "scores.csv", scores_of(set_of(FORMULAS)))
        content = (tmp_path / "scores.csv").read_bytes()
        assert content.startswith(b"\xef\xbb\xbfimage,score,")
        table = pandas.read_csv(tmp_path / "scores.csv")
        assert not [cell for cell in table["image"] if cell[0] in "=+-@"]
        assert table["image"].map(from_cell).tolist() == FORMULAS[::-1]
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
