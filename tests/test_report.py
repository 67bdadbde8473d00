import base64
import io
import json
import re
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

from musc_lite import ImageSet, MuSc, Scores, SubspaceScorer, Verdict, find_evidence, from_arrays, planted_textures
from musc_lite.data.view import ResolvedView
from musc_lite.detector.components import COMPONENTS, component_class
from musc_lite.reports.export_maps import write_maps
from musc_lite.reports.report import Result, write_report
from musc_lite.stages.thresholds import Decision


@pytest.fixture(scope="module")
def detector(backbone):
    images = planted_textures("gravel", n_images=10, n_defective=3, image_size=112)
    return MuSc(backbone, image_size=112, r=(1,)).fit(images)


@pytest.fixture
def result(detector):
    return Result("gravel", detector.scores_)


def test_the_report_is_one_file_that_holds_everything(detector, result, tmp_path):
    page = write_report(tmp_path / "new" / "report.html", [result]).read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)', page)
    assert len(sources) == 1 + 2 * 10  # the ranking, and a pair for each image
    assert all(source.startswith("data:image/") for source in sources)
    assert "://" not in page
    assert page.count("<figure") == 10
    for name in result.scores.names:
        assert name in page
    assert f"{result.metrics.image_auroc:.3f}" in page
    assert "dinov2_vits14" in page
    assert detector.backbone_.weights_sha256 in page
    assert result.scores.images.fingerprint() in page
    assert f"torch {version('torch')}" in page


def test_the_report_shows_evidence_beside_its_card(detector, result, tmp_path):
    evidence = find_evidence(detector)
    page = write_report(tmp_path / "report.html", [replace(result, evidence=evidence)]).read_text()
    cards = page.split("<figure")[1:]
    assert ['class="closely"' in card for card in cards] == [True] * 3 + [False] * 7
    for card, each in zip(cards, evidence, strict=False):
        assert result.scores.names[each.image] in card
        assert f"closest likeness: {result.scores.names[each.compared]}" in card
    assert "Below some pairs" in page


def test_the_report_says_what_a_patch_covers(result, tmp_path):
    page = write_report(tmp_path / "report.html", [result]).read_text()
    assert "A patch covers 14 x 14 pixels of your photos (112 x 112)" in page
    assert "Below some pairs" not in page


def test_the_report_reads_masks_once(result, tmp_path, monkeypatch):
    """They were all read a second time to learn whether there were any."""
    sizes, masks = [], ImageSet.masks
    monkeypatch.setattr(ImageSet, "masks", lambda images, size, region: sizes.append(size) or masks(images, size))
    assert "blue outlines" in write_report(tmp_path / "report.html", [result]).read_text()
    assert sizes == [(112, 112)]


def test_the_report_says_how_patches_were_searched(backbone, tmp_path):
    images = planted_textures("gravel", n_images=4, n_defective=1, image_size=56)
    detector = MuSc(backbone, image_size=56, r=(1,), references=3, search_window=1).fit(images)
    page = write_report(tmp_path / "report.html", [Result("gravel", detector.scores_)]).read_text()
    assert "references=3, search_window=1" in page


def test_the_report_begins_with_the_idea_of_the_method_that_ran(detector, result, backbone, tmp_path):
    def introduction(*results):
        return write_report(tmp_path / "report.html", results).read_text().split('<p class="soft">')[1].split("</p>")[0]

    assert "a batch of unlabeled images by each other" in introduction(result)
    images = planted_textures("gravel", n_images=4, n_defective=1, image_size=56)
    other = MuSc(backbone, image_size=56).with_scorer(SubspaceScorer()).fit(images)
    alone = introduction(Result("gravel", other.scores_, evidence=find_evidence(other)))
    assert alone.startswith("A few directions hold most")
    assert "MuSc" not in alone
    assert "likeness" not in alone  # a subspace names no image that was compared
    new = other.score_images(planted_textures("gravel", n_images=1, n_defective=0, image_size=56, seed=3))
    both = introduction(result, Result("gravel", other.scores_), Result("new", new))
    assert "Scores compare images of one batch only." in both
    assert both.count("by each other") == both.count("A few directions") == 1


def test_every_method_tells_its_idea():
    ideas = [component_class("scorer", name).summary for name in COMPONENTS["scorer"]]
    assert len(set(ideas)) == len(ideas)
    assert all(summary.endswith(".") and summary.count(".") == 1 for summary in ideas)


def test_the_gallery_is_ranked(result, tmp_path):
    page = write_report(tmp_path / "report.html", [result]).read_text()
    scores = [float(s) for s in re.findall(r"<br>score ([0-9.]+)", page)]
    assert scores == sorted(scores, reverse=True)


def test_a_large_batch_is_cut_and_says_so(result, tmp_path):
    page = write_report(tmp_path / "report.html", [result], max_images=4).read_text()
    assert page.count("<figure") == 10
    assert page.count('class="photo"') == 4
    assert "6 images with ranks in between are shown small" in page
    assert "<strong>10.</strong>" in page  # the calmest image is shown for comparison


def test_a_very_large_batch_is_left_out_in_part_and_says_so(result, tmp_path, monkeypatch):
    monkeypatch.setattr("musc_lite.reports.gallery.MOST_SMALL", 2)
    page = write_report(tmp_path / "report.html", [result], max_images=4).read_text()
    assert page.count("<figure") == 6
    assert "2 images with ranks in between are shown small" in page
    assert re.search(r"4 more images with ranks in between are left out here, and take no\s+verdict", page)


def annotation_payload(page):
    """Read what the script of a report gets."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def test_the_script_gets_names_and_digests_in_the_order_of_the_cards(result, tmp_path):
    scores, verdicts = result.scores, [Verdict("a</script>b", "bad", note="'&\"")]
    page = write_report(tmp_path / "report.html", [replace(result, verdicts=verdicts)], max_images=4).read_text()
    (data,) = annotation_payload(page)
    assert data["images"] == [[scores.names[i], scores.images.digest(i)] for i in scores.ranking]
    assert data["verdicts"] == [["a</script>b", "", "bad", "", "'&\""]]
    (plain,) = annotation_payload(write_report(tmp_path / "report.html", [result]).read_text())
    assert plain["key"] != data["key"]  # verdicts that were given are not overridden by what a browser kept before
    assert (plain["file"], plain["n_images"]) == ("verdicts.csv", 10)
    both = annotation_payload(write_report(tmp_path / "report.html", [result, replace(result, name="b")]).read_text())
    assert [each["file"] for each in both] == ["verdicts gravel.csv", "verdicts b.csv"]


def test_the_highest_ranks_are_large_and_photos_are_not_enlarged(tmp_path, monkeypatch):
    monkeypatch.setattr("musc_lite.reports.gallery.N_LARGE", 2)
    images = from_arrays([*np.random.default_rng(0).random((3, 600, 1200)), np.zeros((30, 60))])
    scores = Scores.from_maps(images, np.arange(4.0)[::-1, None, None] * np.ones((4, 8, 8)))
    page = write_report(tmp_path / "report.html", [Result("sizes", scores)], maps="a folder/maps").read_text()
    photos = re.findall(r'class="photo"[^>]*src="data:image/jpeg;base64,([^"]*)', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(photo))).size for photo in photos]
    assert sizes == [(900, 450), (900, 450), (224, 112), (60, 30)]
    assert re.findall('href="([^"]*)', page)[0] == "a%20folder/maps/image_000.jpg"


def test_boxes_are_in_shares_of_what_is_shown(tmp_path):
    maps = np.zeros((3, 10, 10))
    maps[0, 2:4, 5:9] = 1
    scores = Scores.from_maps(from_arrays([*np.zeros((3, 200, 100))]), maps, contamination=0.3)
    region = replace(scores, resolved_view=ResolvedView((14, 14), 14, (0.5, 0.0, 1.0, 0.5)))
    style = r'class="box" title="([^"]*)" style="left: (.*?)%; top: (.*?)%; width: (.*?)%; height: (.*?)%"'
    for each, width in ((scores, 100), (region, 50)):
        page = write_report(tmp_path / "report.html", [Result("box", each)]).read_text()
        (box,) = re.findall(style, page)
        assert [float(share) for share in box[1:]] == pytest.approx([50, 20, 40, 20], abs=3)
        assert box[0].startswith(f"{round(0.4 * width)} x ")
        assert ", peak 1.000" in box[0]
    none = write_report(tmp_path / "report.html", [Result("box", scores, pixel_threshold=2.0)]).read_text()
    assert 'class="box"' not in none


def test_names_of_files_are_text_not_markup(result, tmp_path, backbone):
    images = planted_textures("gravel", n_images=3, n_defective=0, image_size=56)
    images.names = ["<script>alert(1)</script>", "a&b", "plain"]
    detector = MuSc(backbone, image_size=56, r=(1,)).fit(images)
    page = write_report(tmp_path / "report.html", [Result("<b>", detector.scores_)]).read_text()
    assert "<script>alert" not in page
    assert "a&amp;b" in page


def test_without_labels_there_are_no_metrics(tmp_path, backbone):
    images = planted_textures("gravel", n_images=3, n_defective=0, image_size=56)
    images.labels = images.mask_sources = None
    detector = MuSc(backbone, image_size=56, r=(1,)).fit(images)
    result = Result("photos", detector.scores_)
    page = write_report(tmp_path / "report.html", [result]).read_text()
    assert "AUROC" not in page
    assert "labeled" not in page.replace("unlabeled", "")


def test_names_of_some_images_never_stand_beside_scores_of_others(detector, result):
    others = planted_textures("gravel", n_images=12, n_defective=3, image_size=112, seed=3)
    with pytest.raises(ValueError, match="scores are those of 10 images, and 12 images are given, such as"):
        replace(result.scores, images=others)
    with pytest.raises(ValueError, match="must be those of the same images"):
        replace(result.scores, map_scores=result.scores.map_scores[:9])
    with pytest.raises(ValueError, match=r"a result needs scores, such as detector.scores_, got MuSc"):
        Result("others", detector)
    with pytest.raises(ValueError, match="do not know theirs"):
        Result("a detector that was loaded", replace(result.scores, images=None))


def test_new_images_have_a_report(detector, tmp_path):
    """It raised AttributeError or IndexError."""
    new = planted_textures("gravel", n_images=4, n_defective=1, image_size=112, seed=3)
    scores = detector.score_images(new)
    page = write_report(tmp_path / "new.html", [Result("new", scores)]).read_text()
    assert page.count("<figure") == 4
    shown = [float(s) for s in re.findall(r"<br>score ([-0-9.]+)", page)]
    assert shown == [round(float(s), 3) for s in sorted(scores.image_scores, reverse=True)]
    assert "4 images, each scored against a batch of 10" in page
    assert "scored against a reference, not against the others here: a batch of 10 images" in page
    assert "one batch only" not in page
    assert "on one scale for all, that of the reference" in page
    assert new.fingerprint() in page
    assert detector.images_.fingerprint() in page


def test_pictures_of_new_images_have_the_colors_of_their_reference(tmp_path):
    """Those in maps/ had their own, and changed when an image of the report was enlarged."""
    new, known = (from_arrays(list(np.full((3, 32, 32), 0.5))) for _ in range(2))
    maps = np.random.default_rng(0).random((3, 32, 32))
    batch = Scores.from_maps(known, 100 * maps)
    scores = replace(Scores.from_maps(new, maps), batch=batch)
    write_maps(tmp_path, scores)
    pixels = np.asarray(Image.open(tmp_path / "maps" / "image_000.jpg"), dtype=float)
    assert np.ptp(pixels) < 8  # gray: all is calm beside the reference
    page = write_report(tmp_path / "report.html", [Result("new", scores)]).read_text()
    drawn = re.findall(r'class="map"[^>]*src="data:image/jpeg;base64,([^"]*)', page)
    assert all(np.ptp(np.asarray(Image.open(io.BytesIO(base64.b64decode(each))), dtype=float)) < 8 for each in drawn)


def test_the_report_says_that_nothing_standing_out_is_no_all_clear(result, tmp_path):
    far = replace(result, scores=replace(result.scores, decision=Decision(2.0)))
    page = write_report(tmp_path / "report.html", [far]).read_text()
    assert "This does not prove that all images are good" in page
    assert "inlier" not in page
    assert "By the labels" in page


def test_a_copy_is_named_as_one(backbone, tmp_path):
    images = planted_textures("gravel", n_images=4, n_defective=1, image_size=56)
    images.names = ["a", "b", "c", "d"]
    batch = images.subset([0, 1, 2, 3, 3])
    batch.names[4] = "d again"
    with pytest.warns(UserWarning, match="cop(y|ies)"):
        detector = MuSc(backbone, image_size=56, r=(1,)).fit(batch)
    page = write_report(tmp_path / "report.html", [Result("gravel", detector.scores_)]).read_text()
    assert page.count("a copy of d<") == 1
