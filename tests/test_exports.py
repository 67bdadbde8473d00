"""Defects on the photos, and the files that other programs read."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation, binary_erosion, label
from typer.testing import CliRunner

from musc_lite import (
    Defect,
    ImageSet,
    Scores,
    defect_classes,
    defect_mask,
    find_defects,
    from_arrays,
    load_folder,
    planted_textures,
    read_maps,
    write_results,
)
from musc_lite.cli import app
from musc_lite.data.view import ResolvedView
from musc_lite.reports.export_coco import outline, run_lengths
from musc_lite.reports.formats import FORMATS
from musc_lite.stages.features import Features
from musc_lite.stages.thresholds import Decision

REGION = (0.25, 0.0, 1.0, 0.8)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))

ENDINGS = {kind: each.ending for kind, each in FORMATS.items() if each.ending}


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def strict(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def scores_of(images, maps, stand_out, region=None):
    resolved_view = None if region is None else ResolvedView((56, 56), 14, region=region)
    values = np.where(stand_out, 1.0, 0.0)
    return Scores(
        images.names, values, values, maps, decision=Decision(0.5), images=images, resolved_view=resolved_view
    )


@pytest.fixture
def scores(tmp_path):
    """Photos of 60 x 40 pixels, a.jpg and a.png among them; two stand out, the others have a map that is as high."""
    folder = tmp_path / "photos"
    (folder / "line 2").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "line 2/ä.png", "z.png"):
        Image.new("RGB", (60, 40), "gray").save(folder / name)
    images = load_folder(folder, labels="none")
    assert images.names == ["a.jpg", "a.png", "line 2/ä.png", "z.png"]
    maps = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32) * 0.3 + 0.1
    maps[1, 2, 2:5], maps[1, 6, 6], maps[2, 0, 7], maps[3] = 0.9, 0.7, 0.95, 0.5
    maps[0, 4, 4] = 0.99
    return scores_of(images, maps, np.array([False, True, True, True]), REGION)


class TestDefects:
    def test_they_are_what_the_mask_holds(self, scores):
        for threshold in (None, 0.3, 0.6):
            defects = find_defects(scores, threshold)
            for i in range(4):
                own = [defect for defect in defects if defect.image == i]
                mask, labels = defect_mask(scores, i, threshold), np.zeros((40, 60), int)
                for k, defect in enumerate(own, start=1):
                    left, top, right, bottom = defect.box
                    assert not labels[top:bottom, left:right][defect.mask].any()  # a pixel is of one defect
                    labels[top:bottom, left:right][defect.mask] = k
                np.testing.assert_array_equal(labels > 0, mask)
                on_photo = scores.map_of_photo(i)
                assert mask.shape == (40, 60)
                assert label(mask, np.ones((3, 3)))[1] == len(own)
                for k, defect in enumerate(own, start=1):
                    rows, columns = np.nonzero(labels == k)
                    assert defect.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                    assert defect.area == len(rows)
                    assert defect.peak == pytest.approx(on_photo[labels == k].max())
                    assert defect.mean == pytest.approx(on_photo[labels == k].mean())
                assert [d.peak for d in own] == sorted((d.peak for d in own), reverse=True)
            assert [defect.image for defect in defects] == sorted(defect.image for defect in defects)

    def test_each_image_has_its_own_threshold(self, scores):
        seen = scores.map_of_photo(1)[:32, 15:]
        expected = seen > (np.median(seen) + seen.max()) / 2
        np.testing.assert_array_equal(defect_mask(scores, 1)[:32, 15:], expected)
        assert expected.any()

    def test_an_object_before_a_background_is_not_one_defect(self):
        """Half way from the background to the highest value is the level of a sound object: it was boxed whole."""
        maps = np.full((8, 40, 60), 0.2)
        maps[:, 10:30, 10:50] = 0.37
        maps[3, 12:16, 12:18] = 0.5
        found = find_defects(Scores.from_maps(from_arrays(list(np.zeros((8, 40, 60)))), maps, contamination=0.1))
        assert [(each.image, each.box) for each in found] == [(3, (12, 12, 18, 16))]

    def test_only_what_stands_out_has_any(self, scores):
        assert {defect.image for defect in find_defects(scores)} == {1, 2}  # 0 does not stand out, the map of 3 is flat
        assert {defect.image for defect in find_defects(scores, 0.4)} == {1, 2, 3}
        assert not defect_mask(scores, 0, 0.1).any()

    def test_nothing_outside_of_the_region_is_defective(self, scores):
        mask = defect_mask(scores, 1, -1.0)  # the map is 0 there
        assert mask[:32, 15:].all()
        assert mask.sum() == 32 * 45

    @settings(deadline=None)
    @given(value=st.floats(0.125, 8, width=32), size=st.tuples(st.integers(1, 50), st.integers(1, 50)))
    def test_a_flat_map_has_none_at_any_size(self, value, size):
        images = from_arrays([np.zeros(size)])
        flat = scores_of(images, np.full((1, 7, 5), value, np.float32), np.array([True]))
        assert find_defects(flat) == []

    def test_what_differs_by_rounding_is_flat(self):
        values = np.full((1, 9, 9), 0.5, np.float32)
        values[0, ::4, ::4] = np.nextafter(np.float32(0.5), np.float32(1))
        assert find_defects(scores_of(from_arrays([np.zeros((9, 9))]), values, np.array([True]))) == []

    def test_pixels_that_meet_at_a_corner_are_one_defect(self):
        values = np.eye(7)[None]
        values[0, 0, 6] = 0.9
        found = find_defects(scores_of(from_arrays([np.zeros((7, 7))]), values, np.array([True])))
        assert [(defect.box, defect.area) for defect in found] == [((0, 0, 7, 7), 7), ((6, 0, 7, 1), 1)]

    @settings(deadline=None)
    @given(arrays(np.float32, (6, 6), elements=st.floats(0, 1, width=16)), st.sampled_from([2.0, 0.25]))
    def test_a_map_in_other_units_has_the_same_defects(self, values, times):
        images = from_arrays([np.zeros((9, 13))])
        first, other = (scores_of(images, values[None] * t, np.array([True])) for t in (1, times))
        np.testing.assert_array_equal(defect_mask(first, 0), defect_mask(other, 0))

    def test_kinds_are_those_of_the_region_below(self):
        patch_scores = np.zeros((2, 16))
        patch_scores[0, 5], patch_scores[0, 13], patch_scores[1, 3] = 1.0, 0.8, 1.0
        tokens = np.random.default_rng(0).normal(size=(2, 1, 16, 8)).astype(np.float32)
        tokens[0, 0, 13] = tokens[1, 0, 3] = 5.0
        tokens[0, 0, 5] = -5.0
        features = Features(torch.as_tensor(tokens), torch.zeros(2, 4), ResolvedView((56, 56), 14), (0,))
        kinds = defect_classes(features, patch_scores, [True, True], n_classes=2)
        images = from_arrays([np.zeros((160, 20))] * 2)
        scores = scores_of(images, patch_scores.reshape(2, 4, 4).repeat(4, 1).repeat(4, 2), np.array([True, True]))
        found = find_defects(scores, kinds=kinds)
        by_patch = {(int(i), int(p[0])): int(k) for i, p, k in zip(
            kinds.regions.images, kinds.regions.patches, kinds.region_labels, strict=True)}  # fmt: skip
        assert [(d.image, d.kind) for d in found] == [
            (0, by_patch[0, 5]), (0, by_patch[0, 13]), (1, by_patch[1, 3])]  # fmt: skip
        assert by_patch[0, 5] != by_patch[0, 13] == by_patch[1, 3]
        with pytest.raises(ValueError, match="kinds are those of 2 images, the scores of 1"):
            find_defects(scores_of(images.subset([0]), scores.anomaly_maps[:1], np.array([True])), kinds=kinds)

    @pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "high"])
    def test_what_is_no_threshold_is_refused(self, scores, threshold):
        with pytest.raises(ValueError, match="pixel threshold is a value of the maps"):
            find_defects(scores, threshold)
        with pytest.raises(ValueError, match="pixel threshold is a value of the maps"):
            defect_mask(scores, 0, threshold)

    def test_images_are_needed(self, scores):
        with pytest.raises(ValueError, match="these scores do not know theirs"):
            find_defects(replace(scores, images=None))


class TestCoco:
    @settings(deadline=None)
    @given(masks)
    def test_run_lengths_come_back_as_the_mask(self, mask):
        rle = {"size": list(mask.shape), "counts": run_lengths(mask)}
        np.testing.assert_array_equal(coco_masks.decode(coco_masks.frPyObjects(rle, *mask.shape)), mask)
        assert sum(rle["counts"]) == mask.size
        assert all(rle["counts"][1:])

    @settings(deadline=None)
    @given(masks, st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4), st.integers(0, 4)))
    def test_a_part_is_placed_in_the_whole(self, mask, before, after):
        whole = np.pad(mask, tuple(zip(before, after, strict=True)))
        assert run_lengths(mask, before, whole.shape) == run_lengths(whole)

    @pytest.mark.parametrize("threshold", [None, 0.45])
    def test_pycocotools_reads_what_was_found(self, scores, tmp_path, threshold):
        write_results(tmp_path / "out", scores, ["coco"], threshold=threshold)
        strict(tmp_path / "out" / "coco.json")
        coco = COCO(str(tmp_path / "out" / "coco.json"))
        assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == scores.names
        assert {(image["width"], image["height"]) for image in coco.dataset["images"]} == {(60, 40)}
        assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["defect"]
        defects = find_defects(scores, threshold)
        annotations = coco.loadAnns(coco.getAnnIds())
        assert len(annotations) == len(defects) > 0
        for annotation, defect in zip(annotations, defects, strict=True):
            left, top, right, bottom = defect.box
            assert annotation["image_id"] == defect.image + 1
            assert annotation["bbox"] == [left, top, right - left, bottom - top]
            assert annotation["area"] == defect.area == coco.annToMask(annotation).sum()
            assert coco_masks.toBbox(coco.annToRLE(annotation)).tolist() == annotation["bbox"]
            assert annotation["score"] == defect.peak
        for i in range(4):
            found = [coco.annToMask(each) for each in coco.loadAnns(coco.getAnnIds(imgIds=i + 1))]
            united = np.sum([np.zeros((40, 60), int), *found], axis=0)
            np.testing.assert_array_equal(united, defect_mask(scores, i, threshold))
        again = coco.loadRes([dict(annotation) for annotation in annotations])  # as detections, for COCOeval
        assert [each["score"] for each in again.dataset["annotations"]] == [defect.peak for defect in defects]

    def test_a_defect_within_the_hole_of_another_stays_apart(self, tmp_path):
        values = np.zeros((1, 7, 9), np.float32)
        values[0, 1:6, 1:8], values[0, 2:5, 2:7], values[0, 3, 4] = 1.0, 0.0, 0.9
        write_results(tmp_path, scores_of(from_arrays([np.zeros((7, 9))]), values, np.array([True])), ["coco"])
        coco = COCO(str(tmp_path / "coco.json"))
        ring, spot = (coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds()))
        np.testing.assert_array_equal(ring, values[0] == 1)
        np.testing.assert_array_equal(spot, values[0] == np.float32(0.9))

    def test_nothing_found_is_an_empty_file_that_loads(self, scores, tmp_path):
        write_results(tmp_path / "out", replace(scores, decision=Decision(np.inf)), FORMATS)
        coco = COCO(str(tmp_path / "out" / "coco.json"))
        assert (len(coco.imgs), coco.getAnnIds()) == (4, [])
        found = strict(tmp_path / "out" / "results.json")
        assert found["threshold"] is None
        assert all(image["defects"] == [] for image in found["images"])
        assert not np.asarray(Image.open(tmp_path / "out" / "masks" / "z.png.png")).any()


class TestLabelMe:
    def test_a_file_has_the_keys_that_labelme_reads(self, scores, tmp_path):
        """Those of `labelme._label_file.LabelFile.load`, with the types that it asks for."""
        write_results(tmp_path / "out", scores, ["labelme"])
        path = tmp_path / "out" / "labelme" / "line 2" / "ä.png.json"
        found = strict(path)
        assert set(found) == {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
        assert (found["imageData"], found["imageWidth"], found["imageHeight"]) == (None, 60, 40)
        assert (path.parent / found["imagePath"]).samefile(tmp_path / "photos" / "line 2" / "ä.png")
        assert len(found["shapes"]) == sum(defect.image == 2 for defect in find_defects(scores))
        for shape in found["shapes"]:
            assert (shape["label"], shape["shape_type"], shape["group_id"]) == ("defect", "polygon", None)
            assert len(shape["points"]) >= 3
            assert all(0 <= x <= 60 and 0 <= y <= 40 for x, y in shape["points"])
            assert isinstance(shape["description"], str)

    @settings(deadline=None)
    @given(masks)
    @example(np.hypot(*np.mgrid[-20:21, -20:21]) < 20)
    def test_a_polygon_follows_its_defect_within_a_pixel(self, mask):
        marked, n = label(mask, np.ones((3, 3)))
        for k in range(1, n + 1):
            one = np.pad(marked == k, 3)
            points = outline(one)
            assert len(points) >= 3
            drawn = Image.new("1", (one.shape[1] * 8, one.shape[0] * 8))
            ImageDraw.Draw(drawn).polygon([(x * 8, y * 8) for x, y in points], fill=1)
            drawn = np.asarray(drawn)
            fine = one.repeat(8, 0).repeat(8, 1)
            near = np.ones((3, 3))
            assert not (drawn & ~binary_dilation(fine, near, iterations=9)).any()
            assert not (binary_erosion(fine, near, iterations=13) & ~drawn).any()


class TestPictures:
    def test_masks_and_heat_maps_are_of_the_photos_size(self, scores, tmp_path):
        write_results(tmp_path / "out", scores, ["masks", "heatmaps"], threshold=0.45)
        scale = strict(tmp_path / "out" / "results.json")["heatmaps"]
        for i, name in enumerate(scores.names):
            mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{name}.png"))
            np.testing.assert_array_equal(mask, defect_mask(scores, i, 0.45) * 255)
            levels = np.asarray(Image.open(tmp_path / "out" / "heatmaps" / f"{name}.png"))
            assert levels.dtype == np.uint16
            values = scale["at_0"] + levels / 65535 * (scale["at_65535"] - scale["at_0"])
            np.testing.assert_allclose(values, scores.map_of_photo(i), atol=1e-5)
        assert scale == {"at_0": 0.0, "at_65535": pytest.approx(0.99)}

    def test_maps_below_0_keep_their_place_on_the_scale(self, scores, tmp_path):
        write_results(tmp_path, replace(scores, anomaly_maps=scores.anomaly_maps - 1), ["heatmaps"])
        scale = strict(tmp_path / "results.json")["heatmaps"]
        assert scale["at_0"] == pytest.approx(scores.anomaly_maps.min() - 1)
        levels = np.asarray(Image.open(tmp_path / "heatmaps" / "z.png.png"))
        assert levels[0, 0] == 0  # not looked at
        assert scale["at_0"] + levels[0, 20] / 65535 * (scale["at_65535"] - scale["at_0"]) == pytest.approx(
            -0.5, abs=1e-4
        )

    def test_what_was_written_is_read_by_this_package(self, scores, tmp_path):
        some = scores_of(scores.images.subset([1, 2]), scores.anomaly_maps[1:3], np.array([True, True]))
        write_results(tmp_path / "photos", some, ["masks", "heatmaps"])
        assert (tmp_path / "photos" / "masks" / "line 2" / "ä.png").exists()
        (tmp_path / "photos" / "a.jpg").unlink()
        (tmp_path / "photos" / "z.png").unlink()
        maps = read_maps(tmp_path / "photos" / "heatmaps", some.names)
        assert maps.shape == (2, 40, 60)
        for file in (tmp_path / "photos" / "heatmaps").rglob("*.png"):
            file.unlink()
        again = load_folder(tmp_path / "photos")
        assert again.names == some.names
        np.testing.assert_array_equal(again.mask(0), defect_mask(some, 0))

    def test_a_photo_that_is_turned_by_its_exif_is_told_of_upright(self, tmp_path):
        exif = Image.Exif()
        exif[274] = 6  # to be turned by a quarter
        Image.new("RGB", (60, 40)).save(tmp_path / "turned.jpg", exif=exif)
        maps = np.zeros((1, 6, 4))
        maps[0, 5, 0] = 1.0
        scores = scores_of(load_folder(tmp_path), maps, np.array([True]))
        write_results(tmp_path / "out", scores, FORMATS)
        assert Image.open(tmp_path / "out" / "masks" / "turned.png").size == (40, 60)
        (image,) = strict(tmp_path / "out" / "coco.json")["images"]
        assert (image["width"], image["height"]) == (40, 60)
        (defect,) = find_defects(scores)
        assert defect.box[0] == 0
        assert defect.box[3] == 60  # the lower left corner


class TestFiles:
    def test_results_hold_every_defect(self, scores, tmp_path):
        write_results(tmp_path, scores, FORMATS)
        found = strict(tmp_path / "results.json")
        assert [image["image"] for image in found["images"]] == [scores.names[i] for i in scores.ranking]
        defects = {image["image"]: image["defects"] for image in found["images"]}
        expected = {name: [] for name in scores.names}
        for defect in find_defects(scores):
            expected[scores.names[defect.image]].append(
                {"box": list(defect.box), "area": defect.area, "mean": defect.mean, "peak": defect.peak}
            )
        assert defects == expected
        listed = {file for image in found["images"] for file in image["files"].values()}
        there = {p.relative_to(tmp_path).as_posix() for kind in ENDINGS for p in (tmp_path / kind).rglob("*.*")}
        assert listed == there
        assert len(listed) == 12

    def test_what_an_earlier_run_wrote_goes_and_other_files_stay(self, scores, tmp_path):
        out = tmp_path / "out"
        write_results(out, scores, FORMATS)
        (out / "masks" / "mine.png").touch()
        few = scores_of(scores.images.subset([1]), scores.anomaly_maps[1:2], np.array([True]))
        write_results(out, few, ["masks"])
        assert {p.name for p in out.rglob("*") if p.is_file()} == {"results.json", "mine.png", "a.png"}
        (out / "coco.json").touch()  # of somebody else
        write_results(out, few)
        assert {p.name for p in out.rglob("*") if p.is_file()} == {"results.json", "mine.png", "coco.json"}

    @pytest.mark.parametrize("text", ["", "[]", '{"files": {}}', '{"files": {}, "images": [{"files": 3}]}'])
    def test_another_results_json_is_written_over(self, scores, tmp_path, text):
        (tmp_path / "results.json").write_text(text)
        write_results(tmp_path, scores)
        assert len(strict(tmp_path / "results.json")["images"]) == 4

    def test_a_foreign_list_removes_nothing_else(self, scores, tmp_path):
        out = tmp_path / "out"
        (out / "masks").mkdir(parents=True)
        kept = [tmp_path / "kept.png", out / "kept.png", out / "masks" / "kept.txt"]
        for path in kept:
            path.touch()
        for kind, file in (
            ("masks", "masks/../../kept.png"), ("masks", str(kept[0])), ("masks", "kept.png"), ("..", "../kept.png"),
            ("masks", "masks/kept.txt"), (str(tmp_path), str(kept[0])),
        ):  # fmt: skip
            (out / "results.json").write_text(json.dumps({"files": {}, "images": [{"files": {kind: file}}]}))
            write_results(out, scores)
        assert all(path.exists() for path in kept)

    def test_a_name_does_not_lead_out_of_the_folder(self, tmp_path):
        images = ImageSet([Image.new("RGB", (4, 4))], ["../../up.png"])
        outside = scores_of(images, np.eye(4)[None], np.array([True]))
        write_results(tmp_path / "a" / "out", outside, ["masks"])
        assert list(tmp_path.rglob("*.png")) == [tmp_path / "a" / "out" / "masks" / "%2E%2E" / "%2E%2E" / "up.png"]

    def test_unknown_formats_are_refused(self, scores, tmp_path):
        for formats in (["coco", "yolo"], "coco"):
            with pytest.raises(ValueError, match="give any of coco, labelme, masks, heatmaps"):
                write_results(tmp_path / "out", scores, formats)
        assert not (tmp_path / "out").exists()


@pytest.fixture
def photos(tmp_path):
    """Six photos of the reference, and three of another day."""
    for folder, names in (("photos", "abcdef"), ("new", "uvw")):
        (tmp_path / folder).mkdir()
        images = planted_textures("brick", len(names), 2, seed=len(names), image_size=112)
        for name, image in zip(names, images, strict=True):
            image.crop((0, 0, 112, 96)).save(tmp_path / folder / f"{name}.png")
    return tmp_path / "photos"


class TestCommands:
    FAST = ("--image-size", "112", "--r", "1", "--layers", "5,8", "--precision", "float32")

    def check(self, folder, n):
        found = strict(folder / "results.json")
        coco = COCO(str(folder / "coco.json"))
        assert len(found["images"]) == len(coco.imgs) == n
        assert sum(len(image["defects"]) for image in found["images"]) == len(coco.anns) > 0
        for kind, ending in ENDINGS.items():
            assert len(list((folder / kind).glob(f"*{ending}"))) == n
        return found, coco

    def test_score_and_apply_write_what_is_asked_for(self, photos, tmp_path):
        everything = ",".join(FORMATS)
        options = ("--contamination", "0.34", *self.FAST)
        out = tmp_path / "out"
        done = run("score", photos, "-o", out, "--export", everything, "--classes", "2", *options)
        assert done.exit_code == 0, done.output
        found, coco = self.check(out, 6)
        assert {category["name"] for category in coco.loadCats(coco.getCatIds())} == {"kind 0", "kind 1"}
        kinds = {defect["kind"] for image in found["images"] for defect in image["defects"]}
        assert kinds <= {0, 1}
        assert run("fit", photos, "-o", tmp_path / "line.musc", *options).exit_code == 0
        new = tmp_path / "new"
        for threshold in ("0.2", "0.3"):
            arguments = ("--export", everything.replace(",", ", "), "--pixel-threshold", threshold)
            done = run("apply", tmp_path / "line.musc", new, "-o", out, *arguments)
            assert done.exit_code == 0, done.output
            found, _ = self.check(out, 3)
            assert found["pixel_threshold"] == float(threshold)
            assert min(d["peak"] for image in found["images"] for d in image["defects"]) > float(threshold)
        done = run("apply", tmp_path / "line.musc", new, "-o", out)
        assert done.exit_code == 0, done.output
        assert not (out / "coco.json").exists()
        assert strict(out / "results.json")["pixel_threshold"] is None

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (("--export", "coco,yolo"), "there is no format 'yolo' to write; give any of coco, labelme"),
            (("--pixel-threshold", "nan"), "the pixel threshold is a value of the maps"),
        ],
    )
    def test_a_slip_of_the_pen_is_told_before_the_long_work(self, photos, tmp_path, option, words):
        for command in (("score", photos), ("apply", tmp_path / "none.musc", photos)):
            done = run(*command, "-o", tmp_path / "out", *option)
            assert done.exit_code == 1
            assert words in done.output.replace("\n", " ")
            assert not (tmp_path / "out").exists()


def test_a_defect_is_a_value():
    assert Defect(0, (0, 0, 1, 1), 1, 0.5, 0.5) == Defect(0, (0, 0, 1, 1), 1, 0.5, 0.5)
