"""A little of what `make stress` does in full: damaged and hostile images, kills, crowds, full disks."""

import sys

import pytest
from stress.extraction import crowds, disks, kills
from stress.images import damaged_images
from stress.saved import saved_files
from stress.workplace import Workplace

SOME_BOMBS = [
    "holes.png",
    "long-chunk.png",
    "many-segments.jpg",
    "scans.jpg",
    "small.webp",
    "holes.webp",
    "line-ends.bmp",
    "inverted-16-bit.tif",
    "shared-strip.tif",
    "huge-tile.tif",
    "many-offsets.tif",
]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's /proc, forks and mounts")


@linux_only
def test_damaged_and_hostile_images_are_read_or_refused_in_time_and_memory(tmp_path):
    figures = damaged_images(168, 0, SOME_BOMBS, tmp_path, tmp_path / "faults")
    assert not figures.faults, "\n".join(figures.faults)
    assert min(figures.outcomes["read"], figures.outcomes["refused"]) > 40, figures


def test_damaged_saved_files_are_refused_or_hold_what_was_written():
    figures = saved_files(200)
    assert not figures.faults, "\n".join(figures.faults)
    assert figures.notes["refused"] > 150


@pytest.fixture(scope="module")
def workplace():
    if sys.platform != "linux":
        pytest.skip("uses Linux's forks and mounts")
    with Workplace() as started:
        yield started


def test_killed_and_started_again_it_gives_the_same_bits(workplace):
    figures = kills(workplace, 3)
    assert not figures.faults, figures.faults
    assert figures.trials == 3


def test_two_processes_in_one_cache_give_the_same_bits(workplace):
    figures = crowds(workplace, 1)
    assert not figures.faults, figures.faults


def test_full_disks_and_read_only_folders_are_told_and_leave_what_was_there(workplace):
    figures = disks(workplace, limits=[4_096], sizes=["500k"])
    assert not figures.faults, "\n".join(figures.faults)
    assert figures.trials >= 15
    if not workplace.can_mount:
        pytest.skip("mounting is not permitted here: limits to the size of files were tried, real disks were not")
