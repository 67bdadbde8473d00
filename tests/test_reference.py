"""A line: a reference fitted once and kept, verdicts on its images, and new photos scored against it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

import musc_lite
from musc_lite import (
    DataNotFoundError,
    Detector,
    MuSc,
    NearestScorer,
    Verdict,
    View,
    apply_reference,
    fit_reference,
    load_folder,
    planted_textures,
    read_verdicts,
    write_verdicts,
)
from musc_lite.cli import app
from musc_lite.data.verdicts import sort_by_verdict
from musc_lite.monitoring.drift import Day, plot_days
from musc_lite.monitoring.reference import use_trusted_references
from musc_lite.monitoring.watch_log import Watched

FAST = ["--image-size", "112", "--r", "1", "--layers", "5,8", "--precision", "float32"]
SMALL = {"image_size": 112, "layers": (5, 8), "r": (1,)}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write_photos(folder, seed, n_images=10, n_defective=2):
    folder.mkdir()
    textures = planted_textures("brick", n_images, n_defective, seed=seed, image_size=112)
    for name, image in zip(textures.names, textures, strict=True):
        image.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Photos of two days, and a line file of the first."""
    root = tmp_path_factory.mktemp("days")
    first, second = write_photos(root / "monday", 0), write_photos(root / "tuesday", 1, 4, 1)
    done = run("fit", first, "-o", root / "line.musc", *FAST)
    assert done.exit_code == 0, done.output
    return first, second, root / "line.musc", done.output


def test_fit_and_apply_give_what_the_library_gives(days, tmp_path):
    first, second, line, told = days
    assert f"Saved 10 images in {line}" in told
    done = run("apply", line, second, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    expected = MuSc(**SMALL).fit(first).score_images(second)
    with (tmp_path / "out" / "scores.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["image"]: float(row["score"]) for row in csv.DictReader(file)}
    assert rows == pytest.approx(dict(zip(expected.names, expected.image_scores, strict=True)), abs=1e-5)
    results = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=pytest.fail)
    assert results["threshold"] == pytest.approx(expected.threshold)
    assert [each["rank"] for each in results["images"]] == [1, 2, 3, 4]
    assert results["about"]["reference"] in done.output
    assert "line.musc: 10 images, fitted on 20" in results["about"]["reference"]
    assert {file.name for file in (tmp_path / "out" / "maps").iterdir()} == {f"{name}.jpg" for name in expected.names}
    assert results["about"]["reference"] in (tmp_path / "out" / "report.html").read_text()


def test_the_photos_of_the_reference_need_not_be_there(days, tmp_path):
    first, second, _, _ = days
    moved = shutil.copytree(first, tmp_path / "first")
    detector = MuSc(**SMALL).fit(moved)
    detector.save(tmp_path / "line.musc")
    shutil.rmtree(moved)
    scores = apply_reference(tmp_path / "line.musc", second)
    np.testing.assert_array_equal(scores.image_scores, detector.score_images(second).image_scores)
    done = run("apply", tmp_path / "line.musc", sorted(second.iterdir())[0], "-o", tmp_path / "out")  # one is enough
    assert done.exit_code == 0, done.output


def test_info_says_what_is_inside(days):
    done = run("info", days[2])
    assert done.exit_code == 0, done.output
    assert "line.musc: 10 images, fitted on 20" in done.output
    assert "SHA-256" in done.output
    assert "(112, 112)" in done.output or "112 x 112" in done.output
    assert "of 10 images" in done.output


def test_a_line_of_another_method_comes_back_as_what_it_was(days, tmp_path):
    Detector(view=View(112), layers=(5,), scorer=NearestScorer()).fit(days[0]).save(tmp_path / "nearest.musc")
    assert type(Detector.load(tmp_path / "nearest.musc")) is Detector
    assert type(Detector.load(days[2])) is MuSc
    assert type(MuSc.load(days[2])) is MuSc


def test_a_line_file_of_version_1_is_applied(days):
    old = musc_lite.Detector.load(os.path.join(os.path.dirname(__file__), "data", "saved_by_0.1.safetensors"))
    assert type(old) is MuSc
    assert old.fitted_at_ is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apply", "none.musc", "PHOTOS", "-o", "out"], "there is no file none.musc: `musc-lite fit"),
        (["apply", "damaged.musc", "PHOTOS", "-o", "out"], "damaged.musc is not a complete saved detector file"),
        (
            ["apply", "damaged.musc", "PHOTOS", "-o", "out", "--watch", "--export", "coco"],
            "so --export would do nothing",
        ),
        (["info", "none.musc"], "there is no file none.musc: `musc-lite fit"),
        (["publish", ".", "-o", "page.html"], "is a folder: give the file of a reference model first"),
        (["info", "damaged.musc"], "damaged.musc is not a complete saved detector file"),
        (["fit", "PHOTOS", "-o", "."], "is a folder; -o names the file to write"),
        (["fit", "PHOTOS", "-o", "PHOTOS/line.musc"], "lies inside of"),
        (
            ["fit", "PHOTOS", "-o", "l.musc", "--references-good-only"],
            "calibration images are those with the verdict good: give --verdicts FILE",
        ),
        (["fit", "PHOTOS", "-o", "l.musc", "--verdicts", "none.csv"], "there is no file none.csv: the report"),
        (["fit", "PHOTOS", "-o", "l.musc", "--verdicts", "foreign.csv"], "none of the 1 verdicts is on one of the 10"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_bad_input_is_told_and_writes_nothing(days, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    whole = days[2].read_bytes()
    (tmp_path / "damaged.musc").write_bytes(whole[: len(whole) // 2] + b"\1" + whole[len(whole) // 2 + 1 :])
    (tmp_path / "foreign.csv").write_text("image,verdict\nother.png,good\n")
    done = run(*(each.replace("PHOTOS", str(days[0])) for each in arguments), *(FAST if arguments[0] == "fit" else []))
    assert done.exit_code == 1
    assert words in done.output.replace("\n", " ")
    assert not (tmp_path / "l.musc").exists()


class TestVerdicts:
    def test_what_is_written_is_read(self, tmp_path):
        verdicts = [
            Verdict("a.png", "good", "0" * 64),
            Verdict("line 2/ä.png", "bad", kind="scratch", note='deep; "both", sides\nsee also b'),
        ]
        write_verdicts(tmp_path / "verdicts.csv", verdicts)
        assert read_verdicts(tmp_path / "verdicts.csv") == verdicts

    def test_tables_of_people_are_read(self, tmp_path):
        path = tmp_path / "verdicts.csv"
        path.write_text("\ufeffverdict;image;who\r\nGood;a.png;me\r\n;b.png;\r\nbad;a.png;you\r\n", encoding="utf-8")
        assert read_verdicts(path) == [Verdict("a.png", "bad")]

    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            ("image,verdict\na.png,fine\n", ValueError, "line 2: the verdict on 'a.png' must be"),
            ("name,verdict\na.png,good\n", DataNotFoundError, "needs the columns image and verdict"),
            ("", DataNotFoundError, "needs the columns"),
        ],
    )
    def test_no_table_is_told(self, tmp_path, text, error, words):
        (tmp_path / "verdicts.csv").write_text(text)
        with pytest.raises(error, match=words):
            read_verdicts(tmp_path / "verdicts.csv")

    def test_bytes_tell_an_image_before_its_name(self, days):
        images = load_folder(days[0])
        names = images.names
        verdicts = [
            Verdict("moved.png", "bad", images.digest(2)),
            Verdict(names[3], "good"),
            Verdict(names[4], "unsure"),
        ]
        assert sort_by_verdict(images, verdicts) == ["", "", "bad", "good", "unsure", *[""] * 5]
        with pytest.raises(ValueError, match=f"1 images were changed since the verdict on them, such as {names[1]}"):
            sort_by_verdict(images, [Verdict(names[1], "good", "0" * 64)])

    def test_bad_ones_leave_and_good_ones_may_be_trusted(self, days):
        images = load_folder(days[0])
        names = images.names
        verdicts = [Verdict(names[0], "bad"), *(Verdict(name, "good") for name in names[4:7])]
        left, before = fit_reference(MuSc(**SMALL), images, verdicts)
        assert (list(left.names_), list(before.names)) == (names[1:], names)
        expected = MuSc(**SMALL).fit(images.subset(range(1, 10)))
        np.testing.assert_allclose(left.image_scores_, expected.image_scores_, atol=1e-6)
        trusted, _ = fit_reference(MuSc(**SMALL, references="trusted"), images, verdicts)
        expected = MuSc(**SMALL, references=names[4:7]).fit(images.subset(range(1, 10)))
        np.testing.assert_allclose(trusted.patch_scores_, expected.patch_scores_, atol=1e-6)
        assert np.abs(trusted.patch_scores_ - left.patch_scores_).max() > 0.01
        scorer = NearestScorer()
        with pytest.raises(ValueError, match="NearestScorer has no references"):
            use_trusted_references(Detector(scorer=scorer))
        bank = musc_lite.MemoryBankScorer(references="trusted")
        kept, _ = fit_reference(Detector(view=View(112), layers=(5,), scorer=bank), images, verdicts)
        assert kept.components.scorer.references == names[4:7]
        assert bank.references == "trusted"  # the scorer that was given is left as it was
        with pytest.raises(ValueError, match="references='trusted' are the images with the verdict good"):
            MuSc(**SMALL, references="trusted").fit(images)
        with pytest.raises(ValueError, match="at least 2 good ones more are needed"):
            fit_reference(MuSc(**SMALL, references="trusted"), images, verdicts[:2])

    def test_a_false_alarm_rate_keeps_some_good_ones_out_of_the_reference(self, days, tmp_path):
        images = load_folder(days[0])
        names, rated = images.names, MuSc(**SMALL, false_alarm_rate=0.25)
        verdicts = [Verdict(names[0], "bad"), *(Verdict(name, "good") for name in names[1:9])]
        line, before = fit_reference(rated, images, verdicts)
        assert (len(line.names_), len(line.calibration_), len(before)) == (5, 4, 10)
        outside = set(names) - set(line.names_) - {names[0]}
        expected = MuSc(**SMALL).fit(line.images_).score_images(images.subset([n in outside for n in names]))
        np.testing.assert_allclose(line.calibration_, np.sort(expected.image_scores), atol=1e-6)
        both, _ = fit_reference(rated.set_params(references="trusted"), images, verdicts)
        assert (len(both.references), len(both.names_), len(both.calibration_)) == (4, 5, 4)
        with pytest.raises(ValueError, match=r"a rate of 0\.334 or more"):
            fit_reference(rated.set_params(references=None), images, verdicts[:3])
        with pytest.raises(ValueError, match=r"3 images .* 2 more to score by; .* 4 are good .*0\.334 or"):
            fit_reference(rated.set_params(references="trusted"), images, verdicts[:5])
        table = tmp_path / "verdicts.csv"
        write_verdicts(table, verdicts)
        options = ["--verdicts", table, "--false-alarm-rate", "0.25", *FAST]
        done = run("fit", days[0], "-o", tmp_path / "l.musc", *options)
        assert done.exit_code == 0, done.output
        assert "at most 20 % of good images like the 4 calibration images" in done.output
        assert "from the scores alone" not in done.output
        done = run("apply", tmp_path / "l.musc", days[1], "-o", tmp_path / "out")
        assert "at most 20 % of good images like the 4 calibration images" in done.output
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        assert all((each["p_value"] <= 0.25) == each["outlier"] for each in results["images"])
        done = run("drift", tmp_path / "l.musc", tmp_path / "out", "-o", tmp_path / "drift.png")
        n_called = sum(each["outlier"] for each in results["images"])
        assert f"out: {n_called} of 4 flagged; no drift detected, compared with 4 calibration images." in done.output
        with Image.open(tmp_path / "drift.png") as picture:
            assert picture.width >= 700

    def test_a_copy_of_a_trusted_image_leaves_the_reference_with_it_and_counts_once(self, days, tmp_path):
        folder = shutil.copytree(days[0], tmp_path / "photos")
        for photo in sorted(folder.iterdir())[:6]:
            shutil.copy(photo, folder / f"copy of {photo.name}")
        images = load_folder(folder)
        good = [Verdict(name, "good") for name in images.names if "copy" not in name][:6]
        copies = [Verdict(f"copy of {each.image}", "good") for each in good]
        line, _ = fit_reference(MuSc(**SMALL, false_alarm_rate=0.25), images, [*good, *copies])
        assert len(line.calibration_) == 3
        kept = set(line.names_)
        assert all((each.image in kept) == (f"copy of {each.image}" in kept) for each in good)

    def test_the_command_says_what_they_changed(self, days, tmp_path):
        names = load_folder(days[0]).names
        write_verdicts(tmp_path / "verdicts.csv", [Verdict(names[0], "bad"), Verdict(names[1], "good")])
        done = run("fit", days[0], "-o", tmp_path / "l.musc", "--verdicts", tmp_path / "verdicts.csv", *FAST)
        assert done.exit_code == 0, done.output
        assert "1 of 10 images is bad by the verdicts and leaves the reference." in done.output
        detector = Detector.load(tmp_path / "l.musc")
        assert names[0] not in detector.names_
        old = MuSc(**SMALL).fit(load_folder(days[0])).map_scores_[1:]
        k = np.abs(detector.map_scores_ - old).argmax()
        assert f"changed most for {names[k + 1]} from {old[k]:.3f} to {detector.map_scores_[k]:.3f}, " in done.output


def test_a_fit_that_is_killed_leaves_a_whole_line_file_or_none(days, tmp_path):
    command = [sys.executable, "-m", "musc_lite.cli", "fit", str(days[0]), "-o", str(tmp_path / "line.musc"), *FAST]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - start
    for share in (0.6, 0.8, 0.9, 0.95, 1.0):
        (tmp_path / "line.musc").unlink(missing_ok=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(share * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "line.musc").exists():
            assert len(Detector.load(tmp_path / "line.musc").names_) == 10


class TestDays:
    CALIBRATION = np.linspace(0.2, 0.6, 39)

    def test_a_watch_is_sorted_by_date_without_what_could_not_be_read(self):
        times = ["2026-11-03T08:00:00", "2026-11-02T08:00:00", "2026-11-03T09:00:00", "2026-11-03T09:00:01"]
        scored = zip(times, [0.1, 0.2, None, 0.3], strict=True)
        rows = [Watched(time, "a.png", "", score, None, 0, "", "abc", 1, 1) for time, score in scored]
        first, second = Day.of_watch(rows)
        assert first.reference == "abc"
        assert (first.name, first.image_scores.tolist()) == ("2026-11-02", [0.2])
        assert (second.name, second.image_scores.tolist()) == ("2026-11-03", [0.1, 0.3])

    def test_the_picture_marks_the_day_that_drifts(self):
        days = [Day("calm", self.CALIBRATION[::2]), Day("dark", self.CALIBRATION[::2] - 0.2)]
        ax = plot_days(days, self.CALIBRATION, 0.59, Figure().subplots())
        names = [label.get_text() for label in ax.get_xticklabels()]
        assert names == ["trusted\n39", "calm\n1 of 20 called", "dark\n0 of 20 called\ndrift"]
        shown = np.concatenate([points.get_offsets()[:, 1] for points in ax.collections])
        assert len(shown) == 39 + 20 + 20

    def test_what_is_no_result_and_a_line_that_trusts_nothing_are_refused(self, days, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"holds no results\.json of"):
            Day.read(tmp_path)
        done = run("drift", days[2], tmp_path)
        assert done.exit_code == 1
        assert "has no calibration images" in done.output

    def test_results_against_another_line_are_refused(self, days, tmp_path):
        batch, trusted, new = (load_folder(days[0]).subset(range(a, b)) for a, b in ((0, 4), (4, 7), (7, 10)))
        for name, some in (("line", batch), ("other", new)):
            MuSc(**SMALL, false_alarm_rate=0.3).fit(some, trusted=trusted).save(tmp_path / f"{name}.musc")
        assert run("apply", tmp_path / "line.musc", days[1], "-o", tmp_path / "tuesday").exit_code == 0
        assert run("drift", tmp_path / "line.musc", tmp_path / "tuesday", "-o", tmp_path / "drift.png").exit_code == 0
        done = run("drift", tmp_path / "other.musc", tmp_path / "tuesday", "-o", tmp_path / "drift.png")
        assert done.exit_code == 1
        assert "tuesday: scored against another model than" in done.output
