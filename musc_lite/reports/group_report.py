"""What a report, a file and the app say of the kinds of image in a batch."""

import io
from pathlib import Path

from musc_lite.analysis.groups import Groups
from musc_lite.data.duplicates import originals
from musc_lite.data.image_set import ImageSet
from musc_lite.reports.group_plots import draw_groups
from musc_lite.results.scores import Scores
from musc_lite.utils.files import atomic_path

__all__ = ["group_picture", "group_rows", "write_groups"]


def group_rows(groups: Groups, scores: Scores) -> list[dict]:
    """Give the rows of `Groups.to_frame` with the names of the images."""
    return groups.to_frame(_once(scores).names).to_dict("records")


def group_picture(groups: Groups, scores: Scores) -> bytes:
    """Draw the matrix and the gallery of `draw_groups` as a JPEG."""
    buffer = io.BytesIO()
    draw_groups(groups, _once(scores)).savefig(buffer, format="jpg", dpi=110, pil_kwargs={"quality": 85})
    return buffer.getvalue()


def write_groups(path: str | Path, groups: Groups, scores: Scores) -> None:
    """Write `group_picture` to a file."""
    with atomic_path(Path(path)) as partial:
        partial.write_bytes(group_picture(groups, scores))


def _once(scores: Scores) -> ImageSet:
    """Give the images without copies, which groups are made of."""
    images = scores.known_images
    return images if scores.copy_of is None else images.subset(originals(scores.copy_of).tolist())
