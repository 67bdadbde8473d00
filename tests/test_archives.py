import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile

import archives
import numpy as np
import pytest
from archives import atomic_folder, find_folder, unpack

from musc_lite.utils.errors import ArchiveError

ROOM = 10_000_000
FILES = {
    "set/readme.txt": b"read me",
    "set/bottle/test/good/000.png": np.random.default_rng(0).bytes(30_000),
    "set/bottle/test/good/empty": b"",
    "set/Übung/a b.txt": b"x",
}


def tar_member(name, content=b"", type=tarfile.REGTYPE, linkname=""):
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), type, linkname
    return member, io.BytesIO(content)


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            archive.addfile(member, content)
    return path


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def write(path, kind):
    if kind == "zip":
        return write_zip(path, [("set/nothing/", b""), *FILES.items()])
    nothing = tar_member("set/nothing", type=tarfile.DIRTYPE)
    return write_tar(path, [nothing, *(tar_member(*file) for file in FILES.items())], f"w:{kind.removeprefix('tar')}")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """A folder to unpack to, with nothing beside it."""
    return tmp_path / "data" / "set"


def assert_refused(archive, folder, match, largest=ROOM):
    with pytest.raises(ArchiveError, match=match) as caught:
        unpack(archive, folder, largest=largest)
    assert not list(folder.parent.iterdir())
    return caught


@pytest.mark.parametrize("kind", ["zip", "tar", "targz", "tarbz2", "tarxz"])
def test_all_kinds_come_out_whole(tmp_path, folder, kind):
    archive = write(tmp_path / "archive.bin", kind)  # what it is stands in its bytes, not in its name
    assert unpack(archive, folder, largest=ROOM) == folder
    assert contents(folder) == FILES
    assert (folder / "set" / "nothing").is_dir()
    assert list(folder.parent.iterdir()) == [folder]


def test_only_the_chosen_folder_stays(tmp_path, folder):
    archive = write(tmp_path / "archive", "zip")
    unpack(archive, folder, largest=ROOM, choose=lambda unpacked: find_folder(unpacked, "*/test/good"))
    assert (folder / "bottle" / "test" / "good" / "000.png").is_file()
    assert list(folder.parent.iterdir()) == [folder]


def test_other_data_than_expected_is_named_and_not_kept(tmp_path, folder):
    archive = write(tmp_path / "archive", "zip")
    with pytest.raises(ArchiveError, match=r"split_csv/1cls\.csv was looked for, there are set, set/bottle"):
        unpack(archive, folder, largest=ROOM, choose=lambda unpacked: find_folder(unpacked, "split_csv/1cls.csv"))
    assert not list(folder.parent.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, folder):
    archive = write(tmp_path / "archive", "zip")
    folder.mkdir(parents=True)
    unpack(archive, folder, largest=ROOM)  # it was empty
    (folder / "mine").write_text("mine")
    before = contents(folder)
    with pytest.raises(ArchiveError, match="is there already and stays as it is"):
        unpack(archive, folder, largest=ROOM)
    assert contents(folder) == before
    with pytest.raises(ArchiveError, match="is there already"):
        unpack(archive, folder / "mine", largest=ROOM)


ESCAPES = [
    "../evil",
    "set/../../evil",
    "/tmp/evil",
    "C:\\evil",
    "C:evil",
    "..\\evil",
    "set\\..\\..\\evil",
    "\\\\host\\evil",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path, folder, name, kind):
    path = tmp_path / "archive"
    archive = write_zip(path, [(name, b"x")]) if kind == "zip" else write_tar(path, [tar_member(name, b"x")])
    assert_refused(archive, folder, "leads out of its folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["archive", "data"]


def test_backslashes_of_some_packers_are_folders(tmp_path, folder):
    unpack(write_zip(tmp_path / "archive", [("set\\a\\", b""), ("set\\a\\b.txt", b"b")]), folder, largest=ROOM)
    assert contents(folder) == {"set/a/b.txt": b"b"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, folder, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    members = [tar_member("set/link", type=kind, linkname=str(outside)), tar_member("set/link/evil", b"x")]
    assert_refused(write_tar(tmp_path / "archive", members), folder, "a link or device")
    assert not list(outside.iterdir())


def test_links_in_a_zip_are_refused(tmp_path, folder):
    link = zipfile.ZipInfo("set/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = write_zip(tmp_path / "archive", [(link, b"/etc"), ("set/link/evil", b"x")])
    assert_refused(archive, folder, "a link or device")


def test_entries_that_overwrite_each_other_are_refused(tmp_path, folder):
    members = [tar_member("a", b"first"), tar_member("./a", b"second")]
    assert_refused(write_tar(tmp_path / "archive", members), folder, "cannot unpack")
    members = [tar_member("a", b"first"), tar_member("a/b", b"second")]
    assert_refused(write_tar(tmp_path / "archive", members), folder, "cannot unpack")


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_a_bomb_is_stopped(tmp_path, folder, kind):
    path = tmp_path / "archive"
    zeros = bytes(20_000_000)
    archive = (
        write_zip(path, [("zeros", zeros)]) if kind == "zip" else write_tar(path, [tar_member("0", zeros)], f"w:{kind}")
    )
    assert archive.stat().st_size < 50_000
    assert_refused(archive, folder, r"out of .*archive", largest=1_000_000)


def test_a_zip_that_lies_about_its_sizes_is_stopped(tmp_path, folder):
    archive = write_zip(tmp_path / "archive", [("zeros", bytes(5_000_000))])
    lying = archive.read_bytes().replace((5_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    archive.write_bytes(lying)
    assert_refused(archive, folder, "Bad CRC-32|more than", largest=1_000_000)


def test_very_many_empty_files_count_too(tmp_path, folder):
    archive = write_zip(tmp_path / "archive", [(str(i), b"") for i in range(1000)])
    assert_refused(archive, folder, "more than 0.001 GB come out", largest=1_000_000)


@pytest.mark.parametrize("kind", ["zip", "tar", "targz", "tarbz2", "tarxz"])
def test_a_file_that_is_cut_short_leaves_nothing(tmp_path, folder, kind):
    whole = write(tmp_path / "whole", kind).read_bytes()
    end = 0.75 if kind == "tar" else 1.0  # a tar ends with zeros that nobody misses
    for share in (0.0, 0.01, 0.3, 0.5, 0.7, end - 1 / len(whole)):
        archive = tmp_path / "archive"
        archive.write_bytes(whole[: int(share * len(whole))])
        assert_refused(archive, folder, "cannot be unpacked")


def test_a_tar_that_ends_between_two_files_is_not_taken_for_whole(tmp_path, folder):
    whole = write_tar(tmp_path / "whole", [tar_member("a", b"a" * 512), tar_member("b", b"b" * 512)]).read_bytes()
    archive = tmp_path / "archive"
    for content in (whole[:1024], whole[:1100], whole[:1024] + b"?" * 2048):
        archive.write_bytes(content)
        assert_refused(archive, folder, "damaged or cut short")


def test_damaged_content_is_noticed(tmp_path, folder):
    archive = tmp_path / "archive"
    content = bytearray(gzip.compress(write(tmp_path / "tar", "tar").read_bytes() + bytes(3_000_000)))
    content[-6] ^= 1  # in the checksum, long after the last file
    archive.write_bytes(content)
    assert_refused(archive, folder, "CRC check failed")


def test_a_web_page_is_called_one(tmp_path, folder):
    archive = tmp_path / "archive.zip"
    archive.write_text("<html>sign in</html>")
    assert_refused(archive, folder, r"\(a web page\) cannot be unpacked")


def test_an_encrypted_zip_says_so(tmp_path, folder):
    archive = write_zip(tmp_path / "archive", [("a", b"secret")])
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert_refused(archive, folder, "encrypted")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_files_of_several_streams_as_parallel_packers_write_them(tmp_path, folder, pack):
    whole = write(tmp_path / "whole", "tar").read_bytes()
    archive = tmp_path / "archive"
    archive.write_bytes(pack(whole[:9000]) + pack(whole[9000:]))
    unpack(archive, folder, largest=ROOM)
    assert contents(folder) == FILES


def test_room_is_asked_for_first(tmp_path, folder, monkeypatch):
    archive = write(tmp_path / "archive", "zip")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    assert_refused(archive, folder, r"are needed in .*data, 0\.00 are free: make room")


def test_nothing_stays_of_an_interrupted_unpacking(tmp_path, folder, monkeypatch):
    archive = write(tmp_path / "archive", "tar")

    def interrupted(*args):
        yield from list(archives_tar_entries(*args))[:1]
        raise KeyboardInterrupt

    archives_tar_entries = archives._tar_entries
    monkeypatch.setattr(archives, "_tar_entries", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder, largest=ROOM)
    assert not list(folder.parent.iterdir())


def test_an_atomic_folder_appears_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "new") as building:
        (building / "file").write_text("text")
        assert not (tmp_path / "new").exists()
    assert contents(tmp_path) == {"new/file": b"text"}
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "other"):
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"new/file": b"text"}
