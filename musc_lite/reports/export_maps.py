"""Scores as files for other programs: a table, the maps, a picture of each map."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image, ImageDraw

from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import Region, dim_outside, pixel_box, resize_map_to_image
from musc_lite.reports.plots import COLORS, map_color_limits, overlay
from musc_lite.results.scores import Scores
from musc_lite.utils.files import atomic_write
from musc_lite.utils.names import file_names
from musc_lite.utils.tables import write_frame

REGION_HEIGHT, GAP = 320, 12  # pixels
LARGEST_OVERLAY = 1024  # pixels along the longer side
MAP_ENDING = ".jpg"  # a PNG of a photo takes 40 times as long to write, and 4 times the room


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write every image's score as CSV, most anomalous first: `Scores.to_frame`.

    A name that begins with `=`, `+`, `-` or `@` has an apostrophe in front, so that a spreadsheet runs no formula.
    """
    write_frame(Path(path), scores.to_frame())


def write_region(path: str | Path, images: ImageSet, region: Region) -> None:
    """Write what `draw_region` draws as JPEG."""
    with atomic_write(Path(path)) as partial:
        draw_region(images, region).save(partial, "JPEG", quality=90)


def draw_region(images: ImageSet, region: Region) -> Image.Image:
    """Draw the region on the first, the middle and the last photo, side by side, what lies outside of it dark."""
    shown = [images[i] for i in sorted({0, len(images) // 2, len(images) - 1})]
    height = min(REGION_HEIGHT, max(image.height for image in shown))
    pictures = [image.resize((max(1, round(image.width * height / image.height)), height)) for image in shown]
    row = Image.new("RGB", (sum(p.width for p in pictures) + GAP * (len(pictures) - 1), height), "white")
    at = 0
    for picture in pictures:
        marked = dim_outside(picture, region)
        left, top, right, bottom = pixel_box(region, picture.size)
        ImageDraw.Draw(marked).rectangle((left, top, right - 1, bottom - 1), outline=COLORS["threshold"], width=3)
        row.paste(marked, (at, 0))
        at += picture.width + GAP
    return row


def write_maps(folder: str | Path, scores: Scores) -> None:
    """Write maps.npz, and each image with its map over it to maps/; an earlier run's pictures go."""
    folder = Path(folder)
    maps, names = scores.anomaly_maps, scores.names
    remove_maps(folder)
    with atomic_write(folder / "maps.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, maps=maps, names=np.array(names), region=np.array(scores.region))
    colors = map_color_limits((scores.batch or scores).anomaly_maps)  # as in the report
    for i, name in enumerate(map_names(names)):
        write_map(folder / "maps" / name, scores, i, colors)


def map_names(names: Sequence[str]) -> list[str]:
    """Return the file in maps/ of each image: its name with another ending, so that a.jpg and a.png stay apart."""
    return file_names(names, MAP_ENDING)


def write_map(path: Path, scores: Scores, i: int, colors: tuple[float, float]) -> None:
    """Write the i-th image with its map over it, on a color scale from the first value to the second."""
    image = scores.required_images[i]
    image.thumbnail((LARGEST_OVERLAY, LARGEST_OVERLAY))
    on_photo = resize_map_to_image(scores.anomaly_maps[i], image.size, scores.region)
    with atomic_write(path) as partial:
        Image.fromarray(overlay(image, on_photo, *colors)).save(partial, "JPEG", quality=90)


def remove_maps(output: Path) -> None:
    """Remove an earlier run's maps.npz and the pictures that it lists; other files stay."""
    folder = output / "maps"
    with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(output / "maps.npz") as earlier:
        for name in map_names(earlier["names"].tolist()):  # a list that anybody may have written: all are below
            (folder / name).unlink(missing_ok=True)
    (output / "maps.npz").unlink(missing_ok=True)
