"""Counts and sentences: a film of a still scene, and a day of photos by another camera."""

import numpy as np
import pytest
from PIL import Image

from musc_lite import inspect_images


def still_film(folder, n):
    """Write frames of a machine that stands still: the same scene, but sensor noise and JPEG differ."""
    y, x = np.mgrid[:96, :128]
    scene = 130 + 60 * np.sin(x / 9) * np.cos(y / 8) + 25 * np.random.default_rng(0).standard_normal(x.shape)
    for i in range(n):
        frame = np.clip(scene + np.random.default_rng(i + 1).standard_normal(x.shape), 0, 255).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"frame_{i:04d}.jpg", quality=90)


@pytest.mark.case(42)
def test_a_still_film_is_one_group_of_photos(tmp_path):
    """It was "frame_0005.jpg (of frame_0000.jpg) and 179695 more" for 600 photos."""
    still_film(tmp_path, 120)
    found = inspect_images(tmp_path)
    assert [remark.kind for remark in found.remarks] == ["near copy"]
    assert str(found.remarks[0]).startswith(
        "120 photos are nearly the same picture (1 group, such as frame_0000.jpg, frame_0001.jpg, frame_0002.jpg and "
        "117 more)"
    )
    assert len(found.remarks[0].names) == 119  # one of the group stays
