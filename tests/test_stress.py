"""A little of what `make stress` does in full: images that are damaged or hostile."""

import sys

import pytest
from stress.images import damaged_images

SOME_BOMBS = [
    "gray-alpha.png",
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
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by Linux's /proc")


@linux_only
def test_damaged_and_hostile_images_are_read_or_refused_in_time_and_memory(tmp_path):
    figures = damaged_images(168, 0, SOME_BOMBS, tmp_path, tmp_path / "faults")
    assert not figures.faults, "\n".join(figures.faults)
    assert min(figures.outcomes["read"], figures.outcomes["refused"]) > 40, figures
