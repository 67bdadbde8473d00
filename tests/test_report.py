import re
from importlib.metadata import version

import pytest

from musc_lite import MuSc, planted_textures
from musc_lite.report import Result, evaluate_detector, write_report


@pytest.fixture(scope="module")
def result(backbone):
    images = planted_textures("gravel", n_images=10, n_defective=3, image_size=112)
    detector = MuSc(backbone, image_size=112, r=(1,)).fit(images)
    return Result("gravel", images, detector, evaluate_detector(detector, images))


def test_the_report_is_one_file_that_holds_everything(result, tmp_path):
    page = write_report(tmp_path / "new" / "report.html", [result]).read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)', page)
    assert len(sources) == 1 + 2 * 10  # the ranking, and a pair for each image
    assert all(source.startswith("data:image/") for source in sources)
    assert "://" not in page
    assert page.count("<figure>") == 10
    for name in result.images.names:
        assert name in page
    assert f"{result.metrics.image_auroc:.3f}" in page
    assert "dinov2_vits14" in page
    assert result.detector.backbone_.weights_sha256 in page
    assert result.images.fingerprint() in page
    assert f"torch {version('torch')}" in page


def test_the_report_says_how_patches_were_searched(backbone, tmp_path):
    images = planted_textures("gravel", n_images=4, n_defective=1, image_size=56)
    detector = MuSc(backbone, image_size=56, r=(1,), references=3, window=1).fit(images)
    page = write_report(tmp_path / "report.html", [Result("gravel", images, detector)]).read_text()
    assert "references=3, window=1" in page


def test_the_gallery_is_ranked(result, tmp_path):
    page = write_report(tmp_path / "report.html", [result]).read_text()
    scores = [float(s) for s in re.findall(r"<br>score ([0-9.]+)", page)]
    assert scores == sorted(scores, reverse=True)


def test_a_large_batch_is_cut_and_says_so(result, tmp_path):
    page = write_report(tmp_path / "report.html", [result], max_images=4).read_text()
    assert page.count("<figure>") == 4
    assert "6 images with ranks in between" in page
    assert "<strong>10.</strong>" in page  # the calmest image is shown for comparison


def test_names_of_files_are_text_not_markup(result, tmp_path, backbone):
    images = planted_textures("gravel", n_images=3, n_defective=0, image_size=56)
    images.names = ["<script>alert(1)</script>", "a&b", "plain"]
    detector = MuSc(backbone, image_size=56, r=(1,)).fit(images)
    page = write_report(tmp_path / "report.html", [Result("<b>", images, detector)]).read_text()
    assert "<script>" not in page
    assert "a&amp;b" in page


def test_without_labels_there_are_no_metrics(tmp_path, backbone):
    images = planted_textures("gravel", n_images=3, n_defective=0, image_size=56)
    images.labels = images.mask_sources = None
    detector = MuSc(backbone, image_size=56, r=(1,)).fit(images)
    result = Result("photos", images, detector, evaluate_detector(detector, images))
    page = write_report(tmp_path / "report.html", [result]).read_text()
    assert "AUROC" not in page
    assert "labeled" not in page.replace("unlabeled", "")
