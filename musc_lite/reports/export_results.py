"""Results for other programs: results.json, and what COCO's readers, LabelMe and image viewers take.

The list of files stands in results.json, so that a later run takes away what it does not write again.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from pkgutil import resolve_name

import numpy as np
from PIL import Image

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.data.roi import pixel_box
from musc_lite.reports.export_coco import by_image
from musc_lite.reports.export_maps import map_names, remove_maps
from musc_lite.reports.formats import FORMATS, Export, check_formats
from musc_lite.results.scores import Scores
from musc_lite.results.segmentation import Defect, find_defects
from musc_lite.utils.files import atomic_write, ensure_dir, write_error, write_json
from musc_lite.utils.names import file_names

RESULTS = "results.json"
# What runs write beside it, the report first: where it is missing, a run did not come to its end.
OTHERS = ("report.html", "explore.html", "kinds.csv", "groups.jpg", "scores.csv")
WHITE = 65535  # of a heat map of 16 bits


def write_results(
    folder: str | Path,
    scores: Scores,
    formats: Sequence[str] = (),
    *,
    threshold: float | None = None,
    kinds: DefectClasses | None = None,
    maps: bool = False,
) -> None:
    """Write results.json, with all that shaped the numbers, and files for other programs; those of an earlier run go.

    results.json is strict JSON (no NaN) with the keys `threshold` (null where no score can lie above it),
    `pixel_threshold` (null: each image's own), `about` (title: text), `images`, the most anomalous first (the columns
    of `Scores.to_frame`, `defects` and `files`), `files`, and `heatmaps`, where there are any. A defect has `box`
    (left, top, right, bottom; right and bottom are past it), `area`, `mean`, `peak`, and `kind` where known.

    Every image gets a file, also where no image is flagged. Files are named after the images, without their ending
    (`a.json`, `masks/a.png`: so LabelMe and `load_folder` look for them) unless two images differ in nothing else.
    A name that no file can have is changed as `file_names` does; `files` has the result.
    All pixels are those of the upright photo: a program that ignores its EXIF orientation shows it turned.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    scores : Scores
        That know their images.
    formats : sequence of str
        Any of "coco": `coco.json`, instances with exact masks; "labelme": `labelme/NAME.json`, a polygon around each
        defect; "masks": `masks/NAME.png`, 255 where defective, else 0; "heatmaps": `heatmaps/NAME.png`, 16-bit
        grayscale in the photo's own size, one scale for all: 0 stands for `heatmaps["at_0"]` of results.json and for
        what was not looked at, 65535 for `heatmaps["at_65535"]`.
    threshold : float, optional
        See `find_defects`.
    kinds : DefectClasses, optional
        See `find_defects`.
    maps : bool
        Whether `write_maps` writes to the same folder: each image's `files` then has its picture as `maps`.

    Raises
    ------
    ValueError
        If there is no such format, and as `find_defects` does.
    """
    check_formats(formats)
    folder = ensure_dir(Path(folder))
    defects = by_image(find_defects(scores, threshold, kinds), len(scores))
    export = Export(scores, defects, kinds)
    files = {kind: _paths(folder, scores.names, kind) for kind in formats if FORMATS[kind].ending}
    listed = files | ({"maps": [folder / "maps" / name for name in map_names(scores.names)]} if maps else {})
    records = [
        {
            **record,
            "defects": [_record(defect) for defect in defects[i]],
            "files": {kind: paths[i].relative_to(folder).as_posix() for kind, paths in listed.items()},
        }
        for i, record in zip(scores.ranking, scores.to_frame().to_dict("records"), strict=True)
    ]
    limit, (low, high) = float(scores.threshold), export.limits
    whole = {kind: FORMATS[kind].files for kind in formats if kind not in files}
    found = {
        "threshold": limit if np.isfinite(limit) else None,
        "pixel_threshold": None if threshold is None else float(threshold),
        "about": dict(scores.about),
        **({"heatmaps": {"at_0": low, "at_65535": high}} if "heatmaps" in formats else {}),
        "files": whole,
        "images": records,
    }
    _remove_earlier_files(folder)
    write_json(folder / RESULTS, found, indent=1)  # first, so that the list of files is there whatever happens
    for kind, name in whole.items():
        resolve_name(FORMATS[kind].write)(folder / name, export)
    for kind, paths in files.items():
        write = resolve_name(FORMATS[kind].write)
        for i, path in enumerate(paths):
            ensure_dir(path.parent)
            write(path, export, i)


def write_mask(path: Path, export: Export, i: int) -> None:
    """Write image i's mask: 255 where defective, else 0."""
    mask = np.zeros(export.scores.required_images.size(i)[::-1], dtype=np.uint8)
    for defect in export.defects[i]:
        left, top, right, bottom = defect.box
        mask[top:bottom, left:right][defect.mask] = 255
    _write_png(path, mask)


def write_heat_map(path: Path, export: Export, i: int) -> None:
    """Write the i-th map on its photo in 16 bits, one scale for all images."""
    (low, high), on_photo = export.limits, export.scores.map_of_photo(i)
    left, top, right, bottom = pixel_box(export.scores.region, on_photo.shape[::-1])
    levels = np.zeros(on_photo.shape, dtype=np.uint16)
    if high > low:
        shares = (on_photo[top:bottom, left:right].astype(float) - low) / (high - low)
        levels[top:bottom, left:right] = np.rint(shares.clip(0, 1) * WHITE)
    _write_png(path, levels)


def remove_results(folder: Path) -> None:
    """Remove what an earlier run wrote to a folder, but not other files; do so before the new results are written.

    A run that is killed while it writes then leaves a part of its own results and no report, never a mixture that
    looks complete.
    """
    try:
        for name in OTHERS:
            (folder / name).unlink(missing_ok=True)
        _remove_earlier_files(folder)
        (folder / RESULTS).unlink(missing_ok=True)
        remove_maps(folder)
    except OSError as error:
        raise write_error(folder, error, "an earlier result") from error


def _record(defect: Defect) -> dict:
    known = {} if defect.kind is None else {"kind": defect.kind}
    return {"box": list(defect.box), "area": defect.area, "mean": defect.mean, "peak": defect.peak, **known}


def _paths(folder: Path, names: Sequence[str], kind: str) -> list[Path]:
    """Return each image a file in the folder of this kind."""
    short = [name.removesuffix(PurePosixPath(name).suffix) for name in names]
    apart = len({name.casefold() for name in short}) == len(short)  # a.jpg and a.png need their endings
    return [folder / kind / name for name in file_names(short if apart else names, FORMATS[kind].ending or "")]


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _remove_earlier_files(folder: Path) -> None:
    """Take away what results.json says that an earlier run wrote; other files stay."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        earlier = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        for kind in earlier["files"]:  # a list that anybody may have written
            if not FORMATS[kind].ending:
                (folder / FORMATS[kind].files).unlink(missing_ok=True)
        for image in earlier["images"]:
            for kind, file in image["files"].items():
                ending = None if kind == "maps" else FORMATS[kind].ending
                if ending and _is_below(folder / file, folder / kind) and file.endswith(ending):
                    (folder / file).unlink(missing_ok=True)


def _write_png(path: Path, values: np.ndarray) -> None:
    with atomic_write(path) as partial:
        Image.fromarray(values).save(partial, "PNG")
