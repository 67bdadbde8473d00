"""File names, tables and runs that last for months: one bad name, folder or moment costs no result."""

import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pandas
import pytest
from matplotlib.ft2font import FT2Font
from PIL import Image
from typer.testing import CliRunner

import musc_lite.monitoring.watch
import musc_lite.utils.names
from musc_lite import Detector, FileWriteError, ImageSet, MuSc, Scores, Verdict, read_verdicts, write_verdicts
from musc_lite.cli import app
from musc_lite.monitoring.watch import watch_folder
from musc_lite.monitoring.watch_log import Watched, add_rows, mend_table, read_watched
from musc_lite.reports.contact_sheet import _legible
from musc_lite.reports.export_maps import write_scores
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.names import check_file_names, file_names, writable
from musc_lite.utils.tables import from_cell

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
    return Scores(images.names, values, values, maps, images=images, decision=Decision(len(images) - 0.5))


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
        done = run("score", photos, "-o", out, *FAST, "--export", "coco,labelme,masks,heatmaps", "--verbose")
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
            "y" * 250,
            "y" * 250,
            "\udce4.png",
            "\udce4.png",
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
        monkeypatch.setattr(musc_lite.utils.names, "_can_be", lambda _, name: "?" not in name)
        done = run("score", photos, "-o", tmp_path / "out", *FAST)
        assert done.exit_code == 1
        assert "results of 1 images, such as 'what?.png', cannot be written" in done.stderr
        assert not list(tmp_path.rglob("*.safetensors"))
        check_file_names(tmp_path, ["a.png", "A.png"])
        monkeypatch.setattr(musc_lite.utils.names, "_ignores_case", lambda _: True)
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


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "line.musc"
    detector = MuSc(image_size=56, layers=(5,), r=(1,)).fit([part(i) for i in range(40, 46)])
    detector.save(path)
    return path, detector


class Watching:
    """A watch that is looked at while it runs; it ends after some looks without a new row."""

    def __init__(self, line, tmp_path, looks=6):
        self.line, self.output, self.said, self.quiet, self.looks = line, tmp_path / "out", [], 0, looks
        self.arriving = tmp_path / "arriving"
        self.arriving.mkdir(exist_ok=True)
        self.at = {}  # what is done at which look

    def stop(self):
        self.at.pop(self.quiet, lambda: None)()
        self.quiet += 1
        return self.quiet > self.looks

    def rows(self):
        self.quiet = 0
        rows = list(
            watch_folder(*self.line, self.arriving, self.output, seconds=0.01, stop=self.stop, say=self.said.append)
        )
        assert {row.image for row in read_watched(self.output)} >= {row.image for row in rows}
        return rows


@pytest.fixture
def watching(line, tmp_path):
    return Watching(line, tmp_path)


class TestWatch:
    @pytest.mark.case(47)
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
    def test_a_long_name_and_one_that_is_not_utf8_are_rows_and_the_watch_goes_on(self, watching):
        names = ["0.png", "L" * 251 + ".png", b"Geh\xe4use.png", "new\nline.png", "=1+1.png", "9.png"]
        write_photos(watching.arriving, names)
        rows = watching.rows()
        assert {row.image for row in rows} == {writable(os.fsdecode(name)) for name in names}
        assert all(row.score is not None and not row.remark for row in rows)
        assert len(list((watching.output / "maps").glob("*.jpg"))) == len(names)
        assert watching.rows() == []  # after a restart too
        assert set(pandas.read_csv(watching.output / "watched.csv")["image"].map(from_cell)) == {
            row.image for row in rows
        }

    @pytest.mark.case(47)
    def test_a_photo_that_cannot_be_scored_costs_no_other(self, watching, monkeypatch):
        write_photos(watching.arriving, ["0.png", "1.png", "2.png"])
        detector, score = watching.line[1], Detector.score_images

        def fails(self, images):
            if "1.png" in images.names:
                raise RuntimeError("out of memory")
            return score(self, images)

        monkeypatch.setattr(type(detector), "score_images", fails)
        assert sorted((row.image, row.remark) for row in watching.rows()) == [
            ("0.png", ""), ("1.png", "cannot be scored: out of memory"), ("2.png", ""),
        ]  # fmt: skip

    @pytest.mark.case(48)
    def test_a_folder_that_cannot_be_listed_is_said_once_and_the_others_are_scored(self, watching, monkeypatch):
        write_photos(watching.arriving, ["0.png"])
        closed = watching.arriving / "closed"
        closed.mkdir()
        scandir = os.scandir

        def denied(path):
            if path == closed:
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", denied)
        assert [row.image for row in watching.rows()] == ["0.png"]
        reason = "the folder cannot be listed: Permission denied"
        assert watching.said == [f"{closed}: {reason}; photos in it are not scored"]

    @pytest.mark.case(49)
    def test_a_drive_that_is_away_is_waited_for(self, watching, tmp_path):
        write_photos(watching.arriving, ["0.png"])
        assert len(watching.rows()) == 1
        away = tmp_path / "away"
        write_photos(watching.arriving, ["0.png", "1.png"])
        watching.at = {1: lambda: watching.arriving.rename(away), 4: lambda: away.rename(watching.arriving)}
        watching.looks = 9
        assert [row.image for row in watching.rows()] == ["1.png"]
        (said,) = watching.said
        assert "cannot be listed" in said

    def test_no_row_is_lost_on_a_full_disk(self, line, watching):
        resource = pytest.importorskip("resource")
        row = Watched("2026-01-01T00:00:00", "a, b.png", "0" * 64, 0.5, None, 0, "", "1" * 64, 10, 20)
        watching.output.mkdir()
        table = watching.output / "watched.csv"
        mend_table(watching.output, [])
        n_bytes = table.stat().st_size
        add_rows(watching.output, [row])
        size, before = table.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + (size - n_bytes) * 5 // 2, before[1]))  # two more and a half
        try:
            with pytest.raises(FileWriteError, match=r"watched\.csv cannot be written"):
                add_rows(watching.output, [row] * 4)
            assert read_watched(watching.output) == [row]
            add_rows(watching.output, [row] * 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        add_rows(watching.output, [row])
        assert read_watched(watching.output) == [row] * 4
        assert table.read_bytes().count(b"\n") == 5

    def test_rows_wait_while_the_table_cannot_be_written(self, watching, monkeypatch):
        write_photos(watching.arriving, ["0.png", "1.png"])
        tries = []

        def full(output, rows):
            tries.append(len(rows))
            if len(tries) < 4:
                raise FileWriteError(f"{output} cannot be written: No space left on device")
            add_rows(output, rows)

        monkeypatch.setattr(musc_lite.monitoring.watch, "add_rows", full)
        watching.looks = 12
        assert sorted(row.image for row in watching.rows()) == ["0.png", "1.png"]
        assert tries == [2] * 4
        (said,) = watching.said
        assert said.endswith("No space left on device; 2 rows wait until then")

    def test_a_torn_row_of_an_older_version_is_mended(self, watching):
        write_photos(watching.arriving, ["0.png", "1.png", "2.png"])
        first = watching.rows()
        table = watching.output / "watched.csv"
        head, *rows = table.read_text(encoding="utf-8-sig").splitlines()
        table.write_text("\n".join([head, rows[0], rows[1][:70] + rows[2]]) + "\n", encoding="utf-8")
        again = watching.rows()
        assert {row.image for row in again} == {row.image for row in first[1:]}
        assert len(pandas.read_csv(table)) == 3

    def test_a_photo_whose_size_is_reserved_is_scored_once_it_is_whole(self, watching):
        part(1).save(watching.arriving / "slow.bmp")
        whole = (watching.arriving / "slow.bmp").read_bytes()
        (watching.arriving / "slow.bmp").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        assert watching.rows() == []
        (watching.arriving / "slow.bmp").write_bytes(whole)
        (row,) = watching.rows()
        assert (row.score is not None, row.remark) == (True, "")
        part(2).save(watching.arriving / "slow.bmp")
        (again,) = watching.rows()
        assert again.remark == f"replaces a photo that was scored at {row.time}"


class TestStreams:
    @pytest.mark.case(54)
    @pytest.mark.parametrize("kind", ["none", "ascii", "cp1252"])
    def test_a_console_that_shows_nothing_or_not_all_letters_ends_no_run(self, tmp_path, monkeypatch, kind):
        photos = write_photos(tmp_path / "[検査]", ["検査_0.png", "Gehäuse_1.png", "2.png", "3.png"])
        streams = [None if kind == "none" else io.TextIOWrapper(io.BytesIO(), encoding=kind) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        app([str(a) for a in ("score", photos, "-o", tmp_path / "out", *FAST, "--verbose")], standalone_mode=False)
        assert (tmp_path / "out" / "report.html").is_file()
        if kind != "none":
            streams[0].flush()
            shown = streams[0].buffer.getvalue().decode(kind)
            assert r" [\u691c\u67fb] " in shown
            assert "s in all. Look at " in shown

    @pytest.mark.case(55)
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such environment")
    def test_a_scheduled_task_needs_no_home_backend_or_network(self, tmp_path):
        photos = write_photos(tmp_path / "photos", ["0.png", "1.png", "2.png"])
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | {
            "HOME": "/nonexistent", "TMPDIR": "/nonexistent", "MPLBACKEND": "module://not_there.backend",
            "HF_HUB_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9",
        }  # fmt: skip
        command = [sys.executable, "-OO", "-m", "musc_lite.cli", "inspect", photos, "-o", tmp_path / "out"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out" / "contact_sheet.jpg").is_file()


KILLED = """
import os, signal
from musc_lite.cli import app
from musc_lite.reports import export_maps as exports
write, done = exports.write_map, []

def write_map(*arguments):
    done.append(write(*arguments))
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

exports.write_map = write_map
app()
"""


class TestSecondRun:
    @pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
    def test_killed_while_it_writes_it_leaves_no_mixture_that_looks_complete(self, tmp_path):
        photos, out = write_photos(tmp_path / "photos", [f"{i}.png" for i in range(4)]), tmp_path / "out"
        arguments = [str(a) for a in ("score", photos, "-o", out, *FAST, "--export", "masks")]
        assert run(*arguments).exit_code == 0
        (out / "mine.html").touch()
        for name in ("explore.html", "kinds.csv", "groups.jpg", "region.jpg"):
            (out / name).write_text("of an earlier run")
        photos.joinpath("0.png").unlink()
        write_photos(photos, ["7.png", "8.png"])
        done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        there = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if "features" not in path.parts}
        names = {"1.png", "2.png", "3.png", "7.png", "8.png"}
        assert set(pandas.read_csv(out / "scores.csv")["image"]) == names
        assert {image["image"] for image in json.loads((out / "results.json").read_text())["images"]} == names
        assert there == {"scores.csv", "results.json", "maps.npz", "mine.html", "maps/1.png.jpg", "maps/2.png.jpg"} | {
            f"masks/{name}" for name in names
        }
        assert run(*arguments).exit_code == 0
        assert {path.name for path in (out / "maps").iterdir()} == {f"{name}.jpg" for name in names}
        assert (out / "report.html").is_file()
