import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from musc_lite import MemoryBankScorer, MuSc, MutualScorer, planted_textures
from musc_lite.cli import app
from musc_lite.cli.method_options import Method, parse_assignments, scorers_by_name
from musc_lite.detector.planning import Cost

FAST = ["--image-size", "112", "--r", "1", "--layers", "5,8", "--precision", "float32"]  # the same numbers everywhere


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path):
    """Eight images without labels, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "line 2").mkdir(parents=True)
    images = planted_textures("brick", n_images=8, n_defective=2, image_size=112)
    for i, image in enumerate(images):
        image.save(folder / ("line 2" if i == 7 else "") / f"{i}.png")
    return folder


def test_score_writes_everything(folder, tmp_path):
    done = run("score", folder, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "score", "rank", "outlier"]
    assert [int(row["rank"]) for row in rows] == list(range(1, 9))
    assert {row["image"] for row in rows} == {*(f"{i}.png" for i in range(7)), "line 2/7.png"}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    with np.load(tmp_path / "out" / "maps.npz") as maps:
        assert maps["maps"].shape == (8, 112, 112)
        assert set(maps["names"]) == {row["image"] for row in rows}
    assert (tmp_path / "out" / "maps" / "line 2" / "7.png.jpg").exists()
    assert (tmp_path / "out" / "report.html").stat().st_mode & 0o044  # others may read it, as any file
    assert "flagged" in done.output  # some images, or none
    assert "use the ranking, not the threshold" in done.output
    stages = ("start (s)", "features (s)", "scoring (s)", "maps (s)", "re-scoring (s)", "writing (s)")
    assert not any(stage in done.output for stage in stages)
    verbose = run("score", folder, "-o", tmp_path / "out", *FAST, "--verbose")
    assert all(stage in verbose.output for stage in stages)
    assert "s in all. Look at" in done.output
    assert "AUROC" not in done.output  # no labels, no metrics


def test_nothing_that_is_not_needed_is_imported_before_the_first_bar(folder, tmp_path):
    heavy = {"matplotlib", "seaborn", "torchvision", "timm", "open_clip", "sklearn.cluster", "skimage.filters"}
    code = f"""
import sys
from musc_lite.cli import app
from musc_lite.detector.detector import Detector
Detector.fit = lambda *_: sys.exit(f"loaded: {{sorted({heavy!r} & set(sys.modules))}}")
app(["score", {str(folder)!r}, "-o", {str(tmp_path / "out")!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith("loaded: []"), done.stderr


def test_the_same_run_writes_the_same_bytes(folder, tmp_path):
    files = []
    for name in ("first", "second"):  # in processes of their own, as a user would; neither finds the other's features
        command = [sys.executable, "-m", "musc_lite.cli", "score", str(folder), "-o", str(tmp_path / name), *FAST]
        subprocess.run(command, check=True, capture_output=True)
        files.append((tmp_path / name / "scores.csv").read_bytes())
    assert files[0] == files[1]


def test_a_page_to_explore_is_written_and_linked(folder, tmp_path, monkeypatch):
    done = run("score", folder, "-o", tmp_path / "out", *FAST, "--interactive")
    assert done.exit_code == 0, done.output
    assert "8 images of 8 x 8 patches" in done.output
    assert 'id="batch"' in (tmp_path / "out" / "explore.html").read_text()
    assert '<a href="explore.html">' in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setattr(sys.modules["musc_lite.static_page.publish"], "WORDS", 10**9)  # nothing fits
    done = run("score", folder, "-o", tmp_path / "large", *FAST, "--interactive")
    assert done.exit_code == 0, done.output
    assert "no explore.html was written: a page of 4 images takes" in done.output
    assert "explore.html" not in (tmp_path / "large" / "report.html").read_text()
    done = run("score", folder, "-o", tmp_path / "other", *FAST, "--method", "memory", "--interactive")
    assert done.exit_code == 1
    assert "the page shows mutual scoring, and this detector scores by MemoryBankScorer" in done.output
    assert not (tmp_path / "other" / "report.html").exists()


def test_the_view_is_told_to_the_detector(folder, tmp_path):
    options = ["--image-size", "aspect:56", "--tiles", "1x2", "--overlap", "0.25", "--region", "0.1,0,0.9,1"]
    done = run("score", folder, "-o", tmp_path / "out", *options, "--pooling", "0.01", "--aligned", *FAST[2:])
    assert done.exit_code == 0, done.output
    view = {"image_size": "aspect 56", "tiles": (1, 2), "overlap": 0.25, "region": (0.1, 0, 0.9, 1)}
    expected = MuSc(**view, aligned=True, pooling=0.01, r=(1,), layers=(5, 8)).fit(folder)
    with np.load(tmp_path / "out" / "maps.npz") as maps:
        np.testing.assert_allclose(maps["maps"], expected.anomaly_maps_, atol=1e-5)
        assert maps["region"].tolist() == [0.1, 0, 0.9, 1]
    assert "A patch covers" in done.output
    assert "region 0.10, 0.00, 0.90, 1.00" in done.output
    assert Image.open(tmp_path / "out" / "region.jpg").width > 200
    overlays = Image.open(tmp_path / "out" / "maps" / "0.png.jpg").size
    assert overlays == Image.open(folder / "0.png").size  # of the whole photo
    assert "of the highest 0.01" in (tmp_path / "out" / "report.html").read_text()


def test_as_close_as_a_time_allows_is_said_in_numbers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("musc_lite.detector.planning.estimate_cost", lambda *_: Cost(10.0, 10.0, 0, 0))
    done = run("score", folder, "-o", tmp_path / "out", "--image-size", "auto:19", *FAST[2:])
    assert "more than the 19 s given" in done.output
    assert "19 s allow --tiles 1x1, by an estimate" in done.output
    refused = run("score", folder, "-o", tmp_path / "out", "--image-size", "auto", "--tiles", "2")
    assert "chooses the tiles itself" in refused.output


def test_a_closer_look_is_offered_in_the_photos_own_pixels(folder, tmp_path):
    done = run("score", folder, "-o", tmp_path / "out", "--image-size", "28", *FAST[2:])
    side = Image.open(folder / "0.png").width
    assert f"A patch covers {side / 2:.0f} x {side / 2:.0f} pixels of your photos" in done.output
    assert f"--tiles 2: {side / 4:.0f} x {side / 4:.0f} pixels" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "middle"], "--region takes numbers"),
        (["--region", "0.5,0.1,0.2,0.9"], "left < right"),
        (["--tiles", "many"], "--tiles takes a whole number such as 2, or two as in 2x3, got 'many'"),
        (["--aligned"], "give --tiles too"),
        (["--pooling", "median"], "--pooling takes numbers"),
        (["--pooling", "2"], "share of the pixels"),
        (["--image-size", "aspect:wide"], "aspect or auto) takes a whole number"),
        (["--image-size", "auto:x"], "got 'auto:x'"),
        (["--aligned", "--method", "nearest"], "belongs to the method mutual"),
        (["--method", "memory", "--scorer-param", "coreset_ratio=2"], "coreset_ratio is the share of the patches"),
        (
            ["--method", "memory", "--scorer-param", "coreset_ratio=much"],
            "--scorer-param coreset_ratio takes float, got 'much'",
        ),
        (["--method", "memory", "--scorer-param", "variance=0.9"], "memory has references or coreset_ratio"),
        (["--scorer-param", "interval=0,1", "--interval", "0,0.5"], "interval is given twice"),
        (
            ["--scorer-param", "search_window=1", "--scorer-param", "search_window=2"],
            "--scorer-param search_window: there are two of it",
        ),
    ],
    ids=str,
)
def test_what_is_no_view_is_refused(folder, tmp_path, options, message):
    done = run("score", folder, "-o", tmp_path / "out", *options)
    assert done.exit_code == 1
    assert message in done.output


@pytest.mark.parametrize(
    ("method", "text", "value"),
    [
        ("memory", "coreset_ratio=0.2", 0.2),
        ("memory", "references=5", 5),
        ("memory", "references=3, 7", (3, 7)),
        ("memory", "references=a.png,7", ("a.png", 7)),
        ("memory", "references=none", None),
        ("gaussian", "per_position=true", True),
        ("subspace", "n_components=4", 4),
        ("subspace", "n_components=", None),
        ("mutual", "interval=0.1,0.5", (0.1, 0.5)),
        ("nearest", "k=3", 3),
    ],
)
def test_the_signature_says_what_a_text_stands_for(method, text, value):
    (scorer,) = scorers_by_name([method], parse_assignments([text])).values()
    found = scorer.get_params()[text.split("=")[0]]
    assert found == value
    assert type(found) is type(value)


def test_what_is_set_goes_before_a_preset():
    preset = {"interval": (0.0, 0.3), "references": 9, "r": (1,)}
    (scorer,) = Method(assignments=["interval=0.2,0.8"]).scorers(["mutual"], preset).values()
    assert (scorer.interval, scorer.references) == ((0.2, 0.8), 9)


def test_a_fusion_takes_scorers_by_name():
    (fusion,) = scorers_by_name(["fusion"], {"scorers": "mutual,gaussian"}).values()
    assert repr(fusion.scorers) == "(MutualScorer(), GaussianScorer())"


def test_what_is_set_reaches_the_method(folder, tmp_path):
    names = ["0.png", "1.png", "2.png"]
    for method, option, scorer in [
        ("memory", "references=0.png,1.png,2.png", MemoryBankScorer(names)),
        ("mutual", "interval=0.1,0.9", MutualScorer((0.1, 0.9))),
    ]:
        out = tmp_path / method
        done = run("score", folder, "-o", out, *FAST, "--method", method, "--scorer-param", option)
        assert done.exit_code == 0, done.output
        expected = MuSc(image_size=112, r=(1,), layers=(5, 8)).with_scorer(scorer).fit(folder)
        with open(out / "scores.csv", newline="", encoding="utf-8-sig") as file:
            scores = {row["image"]: float(row["score"]) for row in csv.DictReader(file)}
        assert scores == pytest.approx(dict(zip(expected.names_, expected.image_scores_, strict=True)), abs=1e-5)
        page = (out / "report.html").read_text()
        assert f"<h1>{'MuSc' if method == 'mutual' else 'The method memory'} on photos</h1>" in page
        assert ("by each other" in page) == (method == "mutual")


def test_cheaper_scoring_is_told_to_the_detector(folder, tmp_path):
    options = {"references": 4, "n_components": 32, "search_window": 2, "max_memory": "2GB"}
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    done = run("score", folder, "-o", tmp_path / "out", *FAST, *arguments)
    assert done.exit_code == 0, done.output
    expected = MuSc(image_size=112, r=(1,), layers=(5, 8), **options).fit(folder)
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
        scores = {row["image"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores == pytest.approx(dict(zip(expected.names_, expected.image_scores_, strict=True)), abs=1e-5)
    refused = run("score", folder, "-o", tmp_path / "out2", *FAST, "--max-memory", "1KB")
    assert refused.exit_code == 1
    assert "take at least" in refused.output


def test_labels_of_a_good_folder_give_metrics(tmp_path):
    images = planted_textures("brick", n_images=8, n_defective=2, image_size=112)
    for name, image, label in zip(images.names, images, images.labels, strict=True):
        (tmp_path / "set" / ("bad" if label else "good")).mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "set" / ("bad" if label else "good") / f"{name}.png")
    done = run("score", tmp_path / "set", "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
        assert sum(int(row["label"]) for row in csv.DictReader(file)) == 2
    assert "image AUROC" in done.output


def test_errors_are_one_message(folder, tmp_path):
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:99])
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        (["score", folder, "-o", tmp_path / "out", *FAST], "0.png"),
        (["score", tmp_path / "empty", "-o", tmp_path / "out"], "no images"),
        (["score", tmp_path / "missing", "-o", tmp_path / "out"], "missing"),
        (["score", folder, "-o", folder / "out"], "lies inside of"),
        (["score", folder, "-o", tmp_path / "out", "--r", "2"], "odd"),
        (["score", folder, "-o", tmp_path / "out", "--r", "one"], "--r takes numbers"),
        (["score", folder, "-o", tmp_path / "out", "--interval", "0.3"], "two shares"),
        (["score", folder, "-o", tmp_path / "out", "--rescoring-sizes", "0"], "at least 1"),
        (["score", folder, "-o", tmp_path / "out", "--contamination", "0.9"], "contamination must be"),
        (["score", folder, "-o", tmp_path / "out", "--contamination", "some"], "--contamination takes numbers"),
        (["score", folder, "-o", tmp_path / "out", "--contamination", ""], "one share"),
        (["score", folder, "-o", tmp_path / "out", "--layers", "4,99"], "between 0 and 11"),
        (["score", folder, "-o", tmp_path / "out", "--image-size", "100"], "98 or 112"),
        (["score", folder, "-o", tmp_path / "out", "--backbone", "dinov2"], "did you mean"),
        (["score", folder, "-o", tmp_path / "out", "--on-error", "maybe"], "on_error"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 1, (arguments, done.output)
        assert message in done.stderr
        assert done.stderr.startswith("musc-lite: error:")
        assert "Traceback" not in done.output


def test_pictures_of_an_earlier_run_do_not_stay(folder, tmp_path):
    assert run("score", folder, "-o", tmp_path / "out", *FAST).exit_code == 0
    (folder / "0.png").unlink()
    assert run("score", folder, "-o", tmp_path / "out", *FAST).exit_code == 0
    assert len(list((tmp_path / "out" / "maps").rglob("*.jpg"))) == 7


def test_a_foreign_list_of_maps_removes_nothing_else(folder, tmp_path):
    out = tmp_path / "out"
    (out / "maps").mkdir(parents=True)
    (tmp_path / "precious.png").write_text("mine")
    np.savez(out / "maps.npz", names=np.array(["../../precious"]))
    assert run("score", folder, "-o", out, *FAST).exit_code == 0
    assert (tmp_path / "precious.png").exists()
    (out / "maps.npz").write_text("not an archive")
    assert run("score", folder, "-o", out, *FAST).exit_code == 0


def test_output_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("score", folder, "-o", tmp_path / "file", *FAST)
    assert done.exit_code == 1
    assert "give another folder with -o" in done.stderr
    assert not list(tmp_path.rglob("*.safetensors"))


def test_skipping_bad_files_lists_them(folder, tmp_path):
    (folder / "0.png").write_bytes(b"")
    done = run("score", folder, "-o", tmp_path / "out", "--on-error", "skip", *FAST)
    assert done.exit_code == 0, done.output
    assert "left out" in done.stderr
    assert "0.png" in done.stderr
    assert "1 files left out" in (tmp_path / "out" / "report.html").read_text()


def test_help_and_usage():
    assert "photos/" in run("score", "--help").output
    assert "demo" in run("--help").output
    assert run("score").exit_code == 2
    assert run("unknown").exit_code == 2


def test_weights_are_ready():
    done = run("weights")
    assert done.exit_code == 0, done.output
    assert "'dinov2_vits14'" in done.output


def test_interrupted_and_started_again(tmp_path):
    """Ctrl-C in the middle of extraction: one line, exit code 130; the second run goes on where it was."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for i, image in enumerate(planted_textures("gravel", n_images=24, n_defective=2)):
        image.save(folder / f"{i:02d}.png")
    command = [sys.executable, "-m", "musc_lite.cli", "score", str(folder), "-o", str(out), "--batch-size", "1"]
    # A shell's background job ignores Ctrl-C, and so would its children: ask for the usual behavior.
    hear_interrupts = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **hear_interrupts)
    deadline = time.monotonic() + 120
    while not list(out.rglob("*.safetensors")):
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert 0 < len(kept) < 24
    subprocess.run([*command, "--r", "1"], check=True, capture_output=True, timeout=300)
    assert len(list(out.rglob("*.safetensors"))) == 24
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in kept.items())


def test_demo(tmp_path):
    done = run("demo", "-o", tmp_path, "--n-images", "4")
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in ("brick", "grass", "gravel", "AUPRO", "features (s)"))
    assert (tmp_path / "report.html").exists()


def test_what_stands_out_is_named(folder, tmp_path):
    """It said "0 of 30 images are outliers" where eight were defective, and no name."""
    done = run("score", folder, "-o", tmp_path / "out", *FAST, "--contamination", "0.0001")
    assert done.exit_code == 0, done.output
    detector = MuSc(image_size=112, r=(1,), layers=(5, 8)).fit(folder)
    first = detector.names_[detector.image_scores_.argmax()]
    assert f": {first}. Images below it may still contain small defects." in done.output
    assert "1 of 8 images is flagged as anomalous (threshold " in done.output


def test_labels_are_understood_aloud(tmp_path):
    """Unlabeled photos beside good/ became "defective", and an AUROC was printed as a fact."""
    images = planted_textures("brick", n_images=6, n_defective=2, image_size=112)
    for name, image, label in zip(images.names, images, images.labels, strict=True):
        (tmp_path / "days" / ("Monday" if label else "good")).mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "days" / ("Monday" if label else "good") / f"{name}.png")
    guessed = run("score", tmp_path / "days", "-o", tmp_path / "out", *FAST)
    assert guessed.exit_code == 0, guessed.output
    assert "none taken" in guessed.output
    assert "AUROC" not in guessed.output
    told = run("score", tmp_path / "days", "-o", tmp_path / "out", *FAST, "--labels", "folder")
    assert "4 normal in good/, 2 defective in Monday/" in told.output
    assert "image AUROC" in told.output
    assert "By the labels, the threshold" in told.output
    assert "4 normal in good/, 2 defective in Monday/" in (tmp_path / "out" / "report.html").read_text()
    assert run("score", tmp_path / "days", "-o", tmp_path / "out", "--labels", "maybe").exit_code == 1


def test_what_was_left_out_is_said_last_and_in_the_report(folder, tmp_path):
    (folder / "film.mp4").write_bytes(b"0")
    done = run("score", folder, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    assert "1 video" in done.stdout.splitlines()[-1]
    assert "1 video" in (tmp_path / "out" / "report.html").read_text()


def test_several_folders_and_files_are_one_batch(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for i in (0, 1):
        (folder / f"{i}.png").rename(other / f"{i}.png")
    files = sorted((folder / "line 2").glob("*.png"))
    done = run("score", *sorted(folder.glob("*.png")), *files, other, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
        names = {row["image"] for row in csv.DictReader(file)}
    assert len(names) == 8
    assert {"other/0.png", "photos/2.png", "photos/line 2/7.png"} < names


def test_copies_are_named(folder, tmp_path):
    (folder / "again.png").write_bytes((folder / "3.png").read_bytes())
    done = run("score", folder, "-o", tmp_path / "out", *FAST)
    assert done.exit_code == 0, done.output
    assert "warning: 1 image is a copy of another, byte for byte: again.png (of 3.png)" in done.stderr
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8-sig") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows["again.png"]["copy_of"] == "3.png"
    assert rows["again.png"]["score"] == rows["3.png"]["score"]
    assert rows["0.png"]["copy_of"] == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["missing"], "there is no folder"),
        (["photos", "--r", "2"], "odd"),
        (["photos", "--max-memory", "much"], "a size is a number"),
        (["photos", "-o", "photos/out"], "lies inside of"),
        (["photos", "--groups", "all"], "--groups takes largest, or the number of a group"),
        (["photos", "--method", "mutal"], "the method must be one of mutual"),
        (["photos", "--method", "memory", "--scorer-param", "coreset_ratio"], "--scorer-param takes NAME=value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_of_the_pen_is_reported_before_torch_is_imported(folder, wrong, message):
    """It took 11 seconds."""
    code = "import sys; from musc_lite.cli import app; app(standalone_mode=False)"
    check = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); " + code
    arguments = [sys.executable, "-c", check, "score", *wrong] + ["-o", "out"] * ("-o" not in wrong)
    done = subprocess.run(arguments, cwd=folder.parent, capture_output=True, text=True, timeout=60)
    assert message in done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_kinds_of_image_are_hinted_at_and_one_of_them_scores_all(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name, n_images in (("brick", 20), ("gravel", 10)):
        for i, image in enumerate(planted_textures(name, n_images, n_defective=0, image_size=56)):
            image.save(photos / f"{name}_{i:02}.png")
    tiny = ["--image-size", "56", "--r", "1", "--layers", "5,8"]
    done = run("score", photos, "-o", out, *tiny)
    assert done.exit_code == 0, done.output
    assert "2 kinds of image, 20 and 10" in done.output
    assert f"See {out / 'groups.jpg'}" in done.output
    assert "<h3>Kinds of image</h3>" in (out / "report.html").read_text()
    for which, others in (("largest", "gravel"), ("1", "brick")):
        done = run("score", photos, "-o", out, *tiny, "--pooling", "mean", "--groups", which)
        assert done.exit_code == 0, done.output
        with open(out / "scores.csv", newline="", encoding="utf-8-sig") as file:
            ranked = [row["image"] for row in csv.DictReader(file)]
        n = sum(name.startswith(others) for name in ranked)
        assert all(name.startswith(others) for name in ranked[:n])
        assert "of the group that is said to be normal" in done.output
    with Image.open(out / "groups.jpg") as picture:
        assert picture.width > 600
    done = run("score", photos, "-o", out, *tiny, "--groups", "2")
    assert done.exit_code == 1
    assert "there is no group 2" in done.stderr
    for file in photos.glob("gravel*"):
        file.unlink()
    assert run("score", photos, "-o", out, *tiny).exit_code == 0
    assert not (out / "groups.jpg").exists()


def test_long_work_is_announced(folder, tmp_path, monkeypatch):
    done = run("score", folder, "-o", tmp_path / "out", *FAST)
    assert "This takes about" not in done.output
    monkeypatch.setattr("musc_lite.cli.common.LONG", 0.0)
    done = run("score", folder, "-o", tmp_path / "out", *FAST)
    assert re.search(r"This takes about \d+ s for features and \d+ s for mutual scoring", done.output)
