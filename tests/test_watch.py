"""Photos that arrive in a folder: each is scored once, half of a file is waited for, and a restart goes on."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import musc_lite.monitoring.watch
from musc_lite import DataNotFoundError, Detector, MuSc, planted_textures
from musc_lite.monitoring.watch import watch_folder
from musc_lite.monitoring.watch_log import read_watched

SMALL = {"image_size": 56, "layers": (5,), "r": (1,)}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "line.musc"
    trusted = planted_textures("brick", 4, 0, seed=5, image_size=56)
    MuSc(**SMALL).fit(planted_textures("brick", 6, 1, image_size=56), trusted=trusted).save(path)
    return path


@pytest.fixture(scope="module")
def detector(line):
    return Detector.load(line)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files of photos to arrive."""
    folder = tmp_path_factory.mktemp("photos")
    textures = planted_textures("brick", 9, 3, seed=1, image_size=56)
    for name, image in zip(textures.names, textures, strict=True):
        image.save(folder / f"{name}.png")
    return sorted(folder.iterdir())


def watch(line, detector, folder, output, n=np.inf, looks=4):
    """Watch until n photos are scored, or nothing is new for some looks."""
    found, quiet = [], [0]

    def stop():
        quiet[0] += 1
        return len(found) >= n or quiet[0] > looks

    for each in watch_folder(line, detector, folder, output, seconds=0.02, stop=stop):
        found.append(each)
        quiet[0] = 0
    return found


@pytest.fixture
def arriving(tmp_path):
    (tmp_path / "arriving").mkdir()
    return tmp_path / "arriving"


def test_each_photo_is_scored_once_and_as_the_library_scores_it(line, detector, photos, arriving, tmp_path):
    for photo in photos[:3]:
        shutil.copy(photo, arriving)
    (arriving / "deeper").mkdir()
    shutil.copy(photos[3], arriving / "deeper" / 'a, "b".png')
    (arriving / "notes.txt").write_text("no photo")
    found = watch(line, detector, arriving, tmp_path / "out")
    assert sorted(each.image for each in found) == sorted([*(p.name for p in photos[:3]), 'deeper/a, "b".png'])
    expected = detector.score_images(photos[:4])
    known = {each.sha256: each for each in found}
    for i, photo in enumerate(photos[:4]):
        row = known[expected.images.digest(i)]
        assert row.score == pytest.approx(expected.image_scores[i], abs=1e-5)
        assert row.p_value == pytest.approx(expected.p_values[i])
        assert row.outlier == expected.is_outlier[i]
        assert (tmp_path / "out" / "maps" / f"{row.image}.jpg").is_file(), photo
    assert read_watched(tmp_path / "out") == found
    shutil.copy(photos[4], arriving)
    os.utime(arriving / photos[0].name)  # touched only
    (more,) = watch(line, detector, arriving, tmp_path / "out")
    assert more.image == photos[4].name
    shutil.copy(photos[5], arriving / photos[0].name)  # replaced by another of its name
    (again,) = watch(line, detector, arriving, tmp_path / "out")
    assert again.image == photos[0].name
    with (tmp_path / "out" / "watched.csv").open(newline="", encoding="utf-8-sig") as file:
        assert len([*csv.DictReader(file)]) == 6


def test_half_a_file_is_waited_for(line, detector, photos, arriving, tmp_path):
    whole = photos[0].read_bytes()
    (arriving / "slow.png").write_bytes(whole[: len(whole) // 2])
    assert watch(line, detector, arriving, tmp_path / "out") == []
    (arriving / "slow.png").write_bytes(whole)
    (row,) = watch(line, detector, arriving, tmp_path / "out")
    assert row.score is not None


def test_what_never_becomes_a_photo_is_told_once_and_read_again_when_it_changes(
    line, detector, photos, arriving, tmp_path, monkeypatch
):
    monkeypatch.setattr(musc_lite.monitoring.watch, "PATIENCE", 0.05)
    (arriving / "broken.png").write_bytes(photos[0].read_bytes()[:200])
    (row,) = watch(line, detector, arriving, tmp_path / "out", looks=8)
    assert row.score is None
    assert row.remark.startswith("cannot be read: ")
    assert watch(line, detector, arriving, tmp_path / "out", looks=8) == []
    shutil.copy(photos[0], arriving / "broken.png")
    (row,) = watch(line, detector, arriving, tmp_path / "out", looks=8)
    assert row.score is not None


def test_a_row_that_was_not_written_to_its_end_is_scored_again(line, detector, photos, arriving, tmp_path):
    for photo in photos[:3]:
        shutil.copy(photo, arriving)
    first = watch(line, detector, arriving, tmp_path / "out")
    table = tmp_path / "out" / "watched.csv"
    for cut in (1, 30):
        whole = table.read_bytes()
        table.write_bytes(whole[:-cut])
        (again,) = watch(line, detector, arriving, tmp_path / "out")
        assert again.image == first[-1].image
        assert [row.image for row in read_watched(tmp_path / "out")] == [row.image for row in first]
    table.write_bytes(b"")
    assert len(watch(line, detector, arriving, tmp_path / "out")) == 3


def test_a_photo_of_the_reference_is_told(line, detector, arriving, tmp_path):
    batch = planted_textures("brick", 6, 1, image_size=56)
    (tmp_path / "batch").mkdir()
    for name, image in zip(batch.names, batch, strict=True):
        image.save(tmp_path / "batch" / f"{name}.png")
    loaded = MuSc(**SMALL).fit(tmp_path / "batch")
    shutil.copy(next((tmp_path / "batch").iterdir()), arriving)
    (row,) = watch(line, loaded, arriving, tmp_path / "out")
    assert row.remark == musc_lite.monitoring.watch.IN_REFERENCE


class TestRefused:
    def test_two_watches_into_one_folder(self, line, detector, photos, arriving, tmp_path):
        shutil.copy(photos[0], arriving)
        first = watch_folder(line, detector, arriving, tmp_path / "out", seconds=0.02)
        next(first)
        with pytest.raises(ValueError, match="another process watches into"):
            next(watch_folder(line, detector, arriving, tmp_path / "out"))
        first.close()
        assert watch(line, detector, arriving, tmp_path / "out") == []

    def test_another_line(self, line, detector, photos, arriving, tmp_path):
        shutil.copy(photos[0], arriving)
        watch(line, detector, arriving, tmp_path / "out")
        other = tmp_path / "other.musc"
        other.write_bytes(line.read_bytes() + b" ")
        with pytest.raises(ValueError, match="was begun with another reference model"):
            watch(other, detector, arriving, tmp_path / "out")

    def test_a_foreign_table(self, line, detector, arriving, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "watched.csv").write_text("a,b\n1,2\n")
        with pytest.raises(DataNotFoundError, match="is no table of a watch"):
            watch(line, detector, arriving, tmp_path / "out")


def start(line, arriving, output):
    command = [sys.executable, "-m", "musc_lite.cli", "apply", line, arriving, "-o", output, "--watch"]
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_at_random_moments_no_photo_is_missed_or_scored_twice(line, photos, arriving, tmp_path):
    """What kills are many of: `make stress`."""
    output, rng = tmp_path / "out", random.Random(0)
    for k, photo in enumerate(photos):
        shutil.copy(photo, arriving)
        if k % 3 == 1:
            running = start(line, arriving, output)
            assert "Reference model line.musc" in running.stdout.readline()
            time.sleep(rng.uniform(0, 2))
            running.send_signal(signal.SIGKILL)
            running.communicate()
    running = start(line, arriving, output)
    deadline = time.monotonic() + 120
    while len(read_watched(output)) < len(photos) and time.monotonic() < deadline:
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    told = running.communicate()[0]
    assert "photos" in told.splitlines()[-1]
    assert running.returncode == 0
    rows = read_watched(output)
    assert sorted(row.image for row in rows) == [photo.name for photo in photos]
    assert {file.name for file in (output / "maps").iterdir()} >= {f"{row.image}.jpg" for row in rows}
