"""The parts of the foreman's page without a browser: work that can be stopped, verdicts, the gallery, folders."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import musc_lite
from musc_lite import ImageSet, MuSc, Verdict, load_folder, planted_textures, read_verdicts, write_verdicts
from musc_lite.cli import app
from musc_lite.data.verdicts import VerdictBook
from musc_lite.monitoring.app_paths import Places
from musc_lite.monitoring.explorer_app import App
from musc_lite.monitoring.folder_chooser import FolderChooser, count_images
from musc_lite.monitoring.gallery import Gallery, heat_layer
from musc_lite.monitoring.main import Page
from musc_lite.monitoring.review_app import ReviewApp
from musc_lite.reports.plots import map_color_limits, overlay
from musc_lite.utils.progress import progress_bar, progress_callback
from musc_lite.widgets.background_task import BackgroundTask, Stopped


def write_photos(folder, n_images=6, n_defective=2, seed=0):
    folder.mkdir(parents=True)
    for k, image in enumerate(planted_textures("brick", n_images, n_defective, seed=seed, image_size=112)):
        image.crop((0, 0, 112, 70)).save(folder / f"{k}.png")
    return folder


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def foreman(tmp_path, backbone):
    foreman = ReviewApp(Places(tmp_path / "out", tmp_path))
    foreman._backbone = backbone
    return foreman


def press(foreman, button, folder=None):
    if folder is not None:
        foreman.folder.value = str(folder)
    button.click()
    foreman.work.wait()
    return foreman.work.message.value


def send(gallery, **message):
    """Send what a browser sends."""
    gallery._handle_msg({"content": {"data": {"method": "custom", "content": message}}, "buffers": []})


class TestProgress:
    def test_a_follower_is_told_where_bars_are_hidden_too(self):
        """Under TQDM_DISABLE, which tqdm reads as it is imported, a page showed no progress and Stop did nothing."""
        code = "with progress_callback(lambda bar: print(bar.n)): list(progress_bar(range(2), desc='looking'))"
        command = [
            sys.executable,
            "-c",
            f"from musc_lite.utils.progress import progress_callback, progress_bar\n{code}",
        ]
        environment = os.environ | {"TQDM_DISABLE": "1"}
        assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split() == [
            "0",
            "1",
            "2",
        ]

    def test_a_follower_is_told_each_step_and_nothing_is_written(self, capsys):
        told = []
        with progress_callback(lambda bar: told.append((bar.desc, bar.n, bar.total))):
            for _ in progress_bar(range(3), desc="looking", unit="image"):
                pass
            with progress_bar(total=4, desc="scoring", unit="step") as bar:
                bar.update(3)
                bar.update(1)
        assert told[:4] == [("looking", n, 3) for n in range(4)]
        assert [n for desc, n, _ in told if desc == "scoring"] == [0, 3, 4]
        assert capsys.readouterr() == ("", "")
        told.clear()
        list(progress_bar(range(3), desc="looking", unit="image"))
        assert told == []

    def test_other_threads_are_not_followed(self):
        told = []
        with progress_callback(told.append):
            thread = threading.Thread(target=lambda: list(progress_bar(range(3), desc="a", unit="b")))
            thread.start()
            thread.join()
        assert told == []

    def test_what_a_follower_raises_ends_extraction_and_what_is_extracted_is_kept(self, photos, tmp_path, backbone):
        def stop(bar):
            if bar.desc == "extracting features" and bar.n >= 2:
                raise Stopped

        detector = MuSc(backbone, image_size=56, r=(1,), batch_size=2, cache_dir=tmp_path / "features")
        with progress_callback(stop), pytest.raises(Stopped):
            detector.fit(photos)
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}
        assert len(kept) == 2
        detector.fit(photos)
        assert all(path.stat().st_mtime_ns == was for path, was in kept.items())
        assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 6


class TestWork:
    def test_says_how_far_it_is_and_what_was_found(self):
        work, seen = BackgroundTask(), []
        work.words.observe(lambda change: seen.append(change.new), "value")

        def count():
            for _ in progress_bar(range(4), desc="counting", unit="image"):
                time.sleep(0.25)
            return 4

        work.start(count, lambda n, _: f"counted {n}")
        assert work.busy
        work.start(count, lambda n, _: "again")  # nothing while busy
        work.wait()
        assert "counted 4" in work.message.value
        assert not work.busy
        assert "counting: 0 of 4" in seen
        assert any(words.startswith("counting: 2 of 4, about 00:0") for words in seen)

    def test_collects_its_own_warnings_and_leaves_those_of_other_threads(self):
        work, begun, go_on, collected = BackgroundTask(), threading.Event(), threading.Event(), []

        def warn_twice():
            for _ in range(2):  # from one place: each counts
                warnings.warn("of the work", stacklevel=1)
            begun.set()
            go_on.wait()

        with warnings.catch_warnings(record=True) as own:
            work.start(warn_twice, lambda _, texts: collected.extend(texts) or "done")
            begun.wait()
            warnings.warn("of a cell", stacklevel=1)
            go_on.set()
            work.wait()
        assert collected == ["of the work"] * 2
        assert [str(each.message) for each in own] == ["of a cell"]

    def test_stops_where_it_tells_its_progress(self):
        work, reached = BackgroundTask(), []

        def count():
            for k in progress_bar(range(1000), desc="counting", unit="image"):
                reached.append(k)
                time.sleep(0.01)

        work.start(count, lambda *_: "done")
        time.sleep(0.2)
        work.stop.click()
        work.wait()
        assert "Stopped." in work.message.value
        assert 0 < len(reached) < 900
        assert not work.busy
        work.start(lambda: 1, lambda *_: "done")
        work.wait()
        assert "done" in work.message.value

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (ValueError("give <two>"), "This did not work: give &lt;two&gt;"),
            (ZeroDivisionError("by zero"), "an error of the program, ZeroDivisionError: by zero"),
        ],
    )
    def test_errors_are_sentences(self, error, words):
        def fail():
            raise error

        work = BackgroundTask()
        work.start(fail, lambda *_: "done")
        work.wait()
        assert 'role="alert"' in work.message.value
        assert words in work.message.value
        assert not work.busy


class TestVerdictBook:
    def test_what_else_is_in_the_table_stays(self, photos, tmp_path):
        path, images = tmp_path / "own" / "verdicts.csv", load_folder(photos)
        book = VerdictBook(path)
        assert book.of(images) == ([""] * 6, [])
        book.mark(images, 0, "bad")
        gone = Verdict("gone.png", "good", "0" * 64)
        write_verdicts(path, [*read_verdicts(path), gone])  # another page, or a person
        write_verdicts(path, [*read_verdicts(path), Verdict("1.png", "bad", "", "scratch", "deep")])
        book.mark(images, 1, "unsure")
        assert read_verdicts(path) == [
            Verdict("0.png", "bad", images.digest(0)),
            gone,
            Verdict("1.png", "unsure", images.digest(1), "scratch", "deep"),
        ]
        assert book.of(images)[0] == ["bad", "unsure", "", "", "", ""]
        book.mark(images, 0, "")
        assert book.of(images)[0] == ["", "unsure", "", "", "", ""]

    def test_a_photo_that_was_changed_is_named_and_a_copy_follows(self, photos, tmp_path):
        book = VerdictBook(tmp_path / "verdicts.csv")
        (photos / "again.png").write_bytes((photos / "2.png").read_bytes())
        images = load_folder(photos)
        book.mark(images, 1, "good")
        book.mark(images, 2, "bad")
        Image.new("RGB", (112, 70)).save(photos / "1.png")
        found, changed = book.of(load_folder(photos))
        assert (found, changed) == (["", "", "bad", "", "", "", "bad"], ["1.png"])
        book.mark(load_folder(photos), 6, "")  # the copy: taken back for both
        assert book.of(load_folder(photos))[0] == [""] * 7

    def test_two_pages_that_mark_one_folder_lose_no_verdict(self, tmp_path):
        """The writers wait for each other: without the lock most of these are lost."""
        images = ImageSet([Image.new("L", (4, 4), k) for k in range(40)], [f"{k}.png" for k in range(40)])
        (tmp_path / "own").mkdir()
        books = [VerdictBook(tmp_path / "own" / "verdicts.csv") for _ in range(4)]
        with ThreadPoolExecutor(4) as pages:
            list(pages.map(lambda k: books[k % 4].mark(images, k, "good"), range(40)))
        assert sorted(each.image for each in books[0].read()) == sorted(images.names)

    def test_a_table_that_cannot_be_read_is_not_written_over(self, photos, tmp_path):
        (tmp_path / "verdicts.csv").write_text("something,else\n1,2\n")
        with pytest.raises(musc_lite.DataNotFoundError, match="needs the columns"):
            VerdictBook(tmp_path / "verdicts.csv").mark(load_folder(photos), 0, "bad")
        assert (tmp_path / "verdicts.csv").read_text() == "something,else\n1,2\n"


class TestGallery:
    @pytest.fixture
    def shown(self, photos, backbone):
        scores = MuSc(backbone, image_size=56, r=(1,)).fit(photos).scores_
        gallery = Gallery()
        gallery.show(scores, [f"{'good' if i == 1 else ''}" for i in range(6)])
        return gallery, scores

    def test_shows_photos_in_their_shape_by_rank(self, shown):
        gallery, scores = shown
        cards = gallery.html.split("<figure")[1:]
        assert [card["name"] for card in gallery.cards] == [scores.names[i] for i in scores.ranking]
        assert ["data-outlier" in card for card in cards] == scores.is_outlier[scores.ranking].tolist()
        assert gallery.verdicts.index("good") == scores.ranking.tolist().index(1)
        for card in cards:
            photo, heat = (base64.b64decode(each) for each in re.findall(';base64,([^"]*)', card))
            assert Image.open(io.BytesIO(photo)).size == (112, 70)
            assert "--ratio: 1.6000" in card
            assert Image.open(io.BytesIO(heat)).size == (64, 40)

    def test_answers_the_browser(self, shown, monkeypatch):
        gallery, scores = shown
        sent, marked = [], []
        monkeypatch.setattr(gallery, "send", lambda content, buffers: sent.append((content, buffers)))
        gallery.on_mark(lambda *given: marked.append(given))
        send(gallery, card=2, verdict="bad")
        send(gallery, card=2, verdict="")
        assert marked == [(scores.ranking[2], "bad"), (scores.ranking[2], "")]
        send(gallery, card=1, open=True)
        ((content, (photo, heat)),) = sent
        assert content == {"card": 1}
        assert Image.open(io.BytesIO(photo)).size == (112, 70)
        assert Image.open(io.BytesIO(heat)).mode == "RGBA"
        for wrong in ({"card": 6, "verdict": "bad"}, {"card": -1, "open": True}, {"card": 1, "verdict": "no"}, {}):
            send(gallery, **wrong)
        assert (len(sent), len(marked)) == (1, 2)

    def test_a_photo_that_is_gone_is_gray(self, shown, photos, monkeypatch):
        gallery, _ = shown
        for path in photos.iterdir():
            path.unlink()
        sent = []
        monkeypatch.setattr(gallery, "send", lambda content, buffers: sent.append(buffers))
        send(gallery, card=0, open=True)
        assert np.unique(np.asarray(Image.open(io.BytesIO(sent[0][0])))).tolist() == [128]

    def test_the_layer_over_a_photo_gives_what_overlay_gives(self):
        rng = np.random.default_rng(0)
        photo, values = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)), rng.random((20, 30))
        low, high = map_color_limits(values[None])
        layer = Image.open(io.BytesIO(heat_layer(values, low, high)))
        laid = np.asarray(Image.alpha_composite(photo.convert("RGBA"), layer))[..., :3]
        assert np.abs(laid.astype(int) - overlay(photo, values, low, high)).max() <= 2


class TestPlaces:
    @given(st.lists(st.sampled_from(["a", "b", "..", ".", "link", "out"]), max_size=6))
    def test_nothing_outside_of_the_root_is_inside(self, tmp_path_factory, parts):
        top = tmp_path_factory.mktemp("places")
        (top / "root" / "a" / "b").mkdir(parents=True)
        (top / "out").mkdir()
        (top / "root" / "link").symlink_to(top / "out")
        places = Places(top / "output", top / "root", top / "root")
        with suppress(ValueError):  # refused
            found = places.inside("/".join([".", *parts]))
            assert found.is_relative_to(top / "root")
            assert found == found.resolve()

    def test_comes_through_the_environment(self, monkeypatch, tmp_path):
        places = Places(tmp_path / "out", tmp_path, tmp_path / "root", tmp_path / "root" / "photos")
        monkeypatch.setenv(Places.VARIABLE, places.to_json())
        assert Places.from_environment() == places
        assert places.first == tmp_path / "root" / "photos"
        monkeypatch.delenv(Places.VARIABLE)
        assert Places.from_environment().root is None

    def test_two_folders_of_one_name_stay_apart(self, tmp_path):
        places = Places(tmp_path, tmp_path)
        assert places.of_photos(tmp_path / "a" / "today") != places.of_photos(tmp_path / "b" / "today")

    def test_the_chooser_stays_inside_and_counts(self, tmp_path):
        for name in ("root/a", "root/.hidden", "out"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "root" / "link").symlink_to(tmp_path / "out")
        for name in ("1.png", "2.JPG", "notes.txt", ".3.png"):
            (tmp_path / "root" / "a" / name).touch()
        assert count_images(tmp_path / "root" / "a") == 2
        assert count_images(tmp_path / "none") is None
        chosen = []
        chooser = FolderChooser(Places(tmp_path, tmp_path, tmp_path / "root"), chosen.append)
        chooser.show(tmp_path / "root")
        _, button = chooser.children
        assert button.description == "a: 2 images"
        button.click()
        assert chosen == [tmp_path / "root" / "a"]
        chooser.show(tmp_path / "root" / "a")
        assert [child.description for child in chooser.children[1:]] == ["up to root"]


class TestPathsThatCannotBeOpened:
    @pytest.mark.parametrize("text", ["~nosuchuser", "~nosuchuser/photos", "LOOP", "a\0b", "x" * 300, "a/" * 3000])
    def test_one_sentence_and_no_error(self, foreman, tmp_path, text):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        text = str(tmp_path / "loop") if text == "LOOP" else text
        app = App(tmp_path / "cache", foreman.places)
        app.choices.source.value = "folder"
        app.choices.folder.value = text
        app.check.click()
        foreman.browse.value = True
        for said in (press(foreman, foreman.run, text), app.message.value):
            assert "This did not work: " in said
            assert "Errno" not in said
            assert len(said) < 600

    @pytest.mark.parametrize("call", ["resolve", "is_dir"])
    def test_a_folder_that_may_not_be_entered(self, foreman, photos, monkeypatch, call):
        (photos / "closed").mkdir()
        real = getattr(Path, call)

        def refuse(path, *args, **kwargs):
            if path.name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, call, refuse)
        said = press(foreman, foreman.run, photos / "closed")
        assert "closed cannot be opened: Permission denied" in said
        assert Places(photos, photos, root=photos).subfolders(photos) == []  # it hides no other folder

    def test_a_session_in_a_loop_of_links_is_no_session(self, tmp_path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        session = {"folder": str(tmp_path / "loop"), "look": "quickly", "against_reference": False}
        (tmp_path / "session.json").write_text(json.dumps(session))
        assert ReviewApp(Places(tmp_path, tmp_path, root=tmp_path))._session is None

    def test_no_home(self, tmp_path, monkeypatch):
        def home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", home)
        assert Page(Places(tmp_path, tmp_path)).app.choices.folder.options == ()

    def test_a_folder_that_goes_while_it_is_shown(self, foreman, photos):
        press(foreman, foreman.run, photos)
        photos.rename(photos.with_name("elsewhere"))
        send(foreman.gallery, card=0, verdict="bad")
        assert "is gone since it was scored" in foreman.work.message.value
        assert foreman.gallery.verdicts == [""] * 6
        for button in (foreman.report, foreman.keep):
            assert "is gone since it was scored" in press(foreman, button)
        assert not foreman.places.model.exists()
        photos.with_name("elsewhere").rename(photos)
        send(foreman.gallery, card=0, verdict="bad")
        assert foreman.gallery.verdicts[0] == "bad"


class TestForeman:
    def test_scores_marks_keeps_and_applies(self, foreman, photos, tmp_path):
        assert "type the path" in press(foreman, foreman.run, "")
        assert "there is no folder" in press(foreman, foreman.run, tmp_path / "<none>")
        assert foreman.apply.disabled
        seen = []
        foreman.apply.observe(lambda change: seen.append(change.new), "disabled")
        press(foreman, foreman.run, tmp_path / "<none>")
        assert seen == []  # nor enabled for a moment
        foreman.folder.value = str(photos)
        assert "there is no folder" not in foreman.work.message.value
        said = press(foreman, foreman.run, photos)
        assert f"6 photos of {photos}." in said
        own = foreman.places.of_photos(photos)
        assert (own / "scores.csv").read_text("utf-8-sig").startswith("image,score,rank")
        send(foreman.gallery, card=0, verdict="bad")
        worst = foreman.gallery.cards[0]["name"]
        assert [(each.image, each.verdict) for each in read_verdicts(own / "verdicts.csv")] == [(worst, "bad")]
        assert foreman.gallery.verdicts == ["bad", *[""] * 5]
        report = own / "report.html"
        assert f"Written: {report}" in press(foreman, foreman.report)
        assert worst in report.read_text()
        assert '"bad"' in report.read_text()
        assert len(list((own / "maps").iterdir())) == 6
        said = press(foreman, foreman.keep)
        assert "Saved 5 of 6 images as the reference model" in said
        assert worst not in MuSc.load(foreman.places.model).names_
        foreman.trusted.value = True
        assert "at least 2 good ones more are needed" in press(foreman, foreman.keep)
        today = write_photos(tmp_path / "today", 3, 1, seed=1)
        said = press(foreman, foreman.apply, today)
        assert "Compared with reference.musc: 5 images, fitted on 20" in said
        assert len(foreman.gallery.cards) == 3
        assert "Written: " in press(foreman, foreman.report)
        assert "reference.musc: 5 images" in (foreman.places.of_photos(today) / "report.html").read_text()
        expected = musc_lite.apply_reference(foreman.places.model, today)
        shown = [card["score"] for card in foreman.gallery.cards]
        assert shown == pytest.approx(sorted(expected.image_scores, reverse=True), abs=5e-4)

    def test_a_false_alarm_rate_is_promised_or_refused(self, foreman, photos):
        press(foreman, foreman.run, photos)
        foreman.rate.value = 0.2
        assert "there are no verdicts yet" in press(foreman, foreman.keep)
        for card in range(4):
            send(foreman.gallery, card=card, verdict="good")
            if card < 3:
                assert "needs at least 4 images" in press(foreman, foreman.keep)
        said = press(foreman, foreman.keep)
        assert "Saved 2 of 6 images as the reference model" in said
        assert "0 are bad by your verdicts" in said
        assert "at most 20 % of good images like the 4 calibration images" in said

    def test_the_last_session_comes_back(self, foreman, photos, backbone):
        press(foreman, foreman.run, photos)
        send(foreman.gallery, card=1, verdict="good")
        session = foreman.places.output / "session.json"
        again = ReviewApp(foreman.places)
        again._backbone = backbone
        assert again.go_on.description == "Go on with photos (1 verdict)"
        assert again.go_on.layout.display is None
        assert f"6 photos of {photos}." in press(again, again.go_on)
        assert again.gallery.verdicts == foreman.gallery.verdicts
        assert again.go_on.layout.display == "none"
        for damaged in ("{", "[]", '{"folder": 3}', json.dumps({"folder": "/none", "look": "quickly"})):
            session.write_text(damaged)
            assert ReviewApp(foreman.places).go_on.layout.display == "none"

    def test_a_verdict_that_cannot_be_written_is_told_and_not_shown(self, foreman, photos):
        press(foreman, foreman.run, photos)
        foreman.places.of_photos(photos).joinpath("verdicts.csv").mkdir()
        send(foreman.gallery, card=0, verdict="bad")
        assert "This did not work" in foreman.work.message.value
        assert foreman.gallery.verdicts == [""] * 6

    def test_the_second_tab_waits(self, tmp_path):
        page = Page(Places(tmp_path / "out", tmp_path, tmp_path))
        assert list(page.titles) == ["Find anomalies", "How it works"]
        begun, end = threading.Event(), threading.Event()
        page.review.work.start(lambda: begun.set() or end.wait(10), lambda *_: "")
        begun.wait(10)
        assert page.app.run.disabled
        end.set()
        page.review.work.wait()
        assert not page.app.run.disabled
        page.app.choices.source.value = "folder"
        page.app.choices.folder.value = "/"
        assert page.app.choices.folder.options == ()
        page.app.run.click()
        assert "/ lies outside of" in page.app.message.value


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["none"], "there is no folder"),
            (["--root", "none"], "there is no folder none"),
            (["photos", "--root", "root"], "photos lies outside of"),
            (["-o", "file"], "cannot write to file"),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, list) else "",
    )
    def test_bad_input_is_told_before_anything_starts(self, photos, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "root").mkdir()
        (tmp_path / "file").touch()
        monkeypatch.setattr("musc_lite.cli.serve_app._serve", lambda *_: pytest.fail("it was started"))
        done = CliRunner().invoke(app, ["app", *arguments])
        assert done.exit_code == 1
        assert words in done.output

    def test_what_is_missing_is_named_with_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("musc_lite.cli.serve_app.find_spec", lambda name: None if name == "voila" else True)
        done = CliRunner().invoke(app, ["app"])
        assert done.exit_code == 1
        assert "the page needs voila: pip install 'musc-lite[lab]'" in done.output
        assert not (tmp_path / "out").exists()
