"""Files are opened as often as they are needed, and a file that changed is never taken for what it was."""

import builtins
import hashlib
import io
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musc_lite import MuSc, load_folder
from musc_lite.data.file_hashes import Digests
from musc_lite.utils.errors import ImageReadError

YEAR_2020 = 1_577_836_800 * 10**9  # ns


def write(path, content, changed=YEAR_2020):
    path.write_bytes(content)
    os.utime(path, ns=(changed, changed))
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def opened(monkeypatch):
    """How often each file was opened, by its name."""
    names, real = Counter(), io.open

    def counting(file, *args, **kwargs):
        names[Path(file).name if isinstance(file, str | os.PathLike) else ""] += 1
        return real(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", counting)
    monkeypatch.setattr(builtins, "open", counting)
    return names


@pytest.fixture
def folder(tmp_path):
    """Four photos and a copy of one of them, written long ago."""
    numbers = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        stream = io.BytesIO()
        Image.fromarray(numbers.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "PNG")
        write(tmp_path / "photos" / f"{i}.png", stream.getvalue())
    write(tmp_path / "photos" / "copy.png", stream.getvalue())
    return tmp_path / "photos"


@pytest.fixture(params=["as made", "pickled", "subset"])
def images(request, folder):
    """Of a set that was pickled or divided, what is known stays known."""
    made = load_folder(folder)
    if request.param == "as made":
        return made
    for i in range(len(made)):
        made.digest(i)
    return pickle.loads(pickle.dumps(made)) if request.param == "pickled" else made.subset(range(len(made)))


@pytest.mark.filterwarnings("ignore:.*copies of others")
def test_fit_reads_a_photo_twice_and_once_where_features_are_kept(backbone, images, folder, tmp_path, opened):
    """Each is opened once more for its size, which stands in the header."""
    photos = sorted(path.name for path in folder.iterdir())

    def times():
        counted = [opened[name] for name in photos]
        opened.clear()
        return counted

    settings = {"layers": [2], "r": (1,), "image_size": 56, "cache_dir": tmp_path / "features"}
    times()
    MuSc(backbone, **settings).fit(images)
    assert times() == [3] * 5
    assert MuSc(backbone, **settings).fit(load_folder(folder)).names_ == photos
    assert times() == [2] * 5
    images.fingerprint()
    assert times() == [0] * 5


def test_a_digest_is_that_of_the_bytes(tmp_path, opened):
    path, digests = write(tmp_path / "a", b"some bytes"), Digests()
    assert digests.of_file(path) == digests.of_file(path) == sha256(b"some bytes")
    assert opened["a"] == 2  # written, read
    with path.open("rb") as file:
        assert digests.of_open(path, file) == sha256(b"some bytes")
        assert file.read() == b"some bytes"  # from its beginning


@pytest.mark.parametrize("read_open", [False, True])
@pytest.mark.parametrize(
    ("content", "changed"), [(b"other text", YEAR_2020 + 1), (b"longer than it", YEAR_2020), (b"restored !", YEAR_2020)]
)
def test_a_file_that_changed_has_another_digest(tmp_path, content, changed, read_open):
    """Also where size and time of change were set back, as far as the system notes that."""
    path, digests = write(tmp_path / "a", b"some bytes"), Digests()
    digests.of_file(path)
    if os.name != "posix" and content == b"restored !":
        pytest.skip("no time of the last change of the times")
    wait_for_the_clock(tmp_path)
    write(path, content, changed)
    if read_open:
        with path.open("rb") as file:
            assert digests.of_open(path, file) == sha256(content)
    assert digests.of_file(path) == sha256(content)


def wait_for_the_clock(folder):
    """Wait until the file system would note another time."""
    probe = folder / "clock"
    probe.touch()
    start = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == start:
        probe.touch()


@pytest.mark.parametrize(("age", "times"), [(10_000_000, 2), (-1_000_000_000, 2), (50_000_000, 1)])
def test_a_file_that_was_just_written_is_not_remembered(tmp_path, opened, monkeypatch, age, times):
    """One more change within the same tick of the file system's clock would leave size and times as they are."""
    path, digests = write(tmp_path / "a", b"some bytes"), Digests()
    opened.clear()
    monkeypatch.setattr("time.time_ns", lambda: YEAR_2020 + age)
    assert digests.of_file(path) == digests.of_file(path) == sha256(b"some bytes")
    assert opened["a"] == times


def test_a_file_that_is_gone_is_said_to_be(tmp_path):
    path, digests = write(tmp_path / "a.png", b"some bytes"), Digests()
    digests.of_file(path)
    path.unlink()
    with pytest.raises(ImageReadError, match=r"a\.png cannot be read: No such file"):
        digests.of_file(path)
