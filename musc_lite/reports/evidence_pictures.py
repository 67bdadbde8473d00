"""Pictures of an `Evidence`: the photo around a patch, beside the place that comes closest to it."""

from PIL import Image, ImageDraw, ImageFont

from musc_lite.data.image_set import ImageSet
from musc_lite.data.view import ResolvedView
from musc_lite.reports.plots import COLORS
from musc_lite.results.evidence import Evidence

AROUND = 6  # a picture shows so many patches along its side
SMALLEST, SHOWN = 64, 300  # pixels of a photo that are shown at least; a picture is enlarged to about so many
STRIP = 32  # pixels below a picture, for its scale


def draw_evidence(evidence: Evidence, images: ImageSet, resolved_view: ResolvedView) -> list[Image.Image]:
    """Draw the photo around the patch, and the other one around its likeness, where there is one.

    Photos are shown pixel by pixel, small ones enlarged by a whole number, with the patch framed and a scale in pixels.
    """
    pictures = [draw_place(images[evidence.image], resolved_view, evidence.patch, COLORS["defective"])]
    if evidence.compared is not None and evidence.compared_patch is not None:
        pictures.append(draw_place(images[evidence.compared], resolved_view, evidence.compared_patch, COLORS["normal"]))
    return pictures


def draw_place(photo: Image.Image, resolved_view: ResolvedView, patch: int, color: str) -> Image.Image:
    """Draw a photo around one of its patches, in its own pixels, with a scale below."""
    left, top, right, bottom = resolved_view.patch_box(patch, photo.size)
    side = max(SMALLEST, round(AROUND * max(right - left, bottom - top)))
    width, height = (min(side, length) for length in photo.size)
    x = min(max(0, round((left + right - width) / 2)), photo.width - width)  # within the photo
    y = min(max(0, round((top + bottom - height) / 2)), photo.height - height)
    times = max(1, round(SHOWN / side))
    shown = photo.convert("RGB").crop((x, y, x + width, y + height))
    shown = shown.resize((times * width, times * height), Image.Resampling.NEAREST)
    frame = [
        round(times * (edge - start)) for edge, start in zip((left, top, right, bottom), (x, y, x, y), strict=True)
    ]
    draw = ImageDraw.Draw(shown)
    draw.rectangle([frame[0] - 2, frame[1] - 2, frame[2] + 2, frame[3] + 2], outline="white", width=6)
    draw.rectangle(frame, outline=color, width=2)
    return _with_scale(shown, times)


def scale_length(n_pixels: int) -> int:
    """Return a round length, 1, 2 or 5 times a power of ten, of at most a third of so many pixels.

    Examples
    --------
    >>> [scale_length(n) for n in (64, 200, 1000)]
    [20, 50, 200]
    """
    power = 10 ** (len(str(max(1, n_pixels // 3))) - 1)
    return max(step * power for step in (1, 2, 5) if step == 1 or 3 * step * power <= n_pixels)


def _with_scale(shown: Image.Image, times: int) -> Image.Image:
    """Put a strip with a bar of a round number of the photo's pixels below a picture."""
    length = scale_length(shown.width // times)
    picture = Image.new("RGB", (shown.width, shown.height + STRIP), "white")
    picture.paste(shown)
    draw, middle = ImageDraw.Draw(picture), shown.height + STRIP // 2
    draw.rectangle((4, middle - 2, 4 + times * length, middle + 2), fill="black")
    text = f"{length} pixels" + (f", enlarged {times} x" if times > 1 else "")
    draw.text((12 + times * length, middle), text, "black", ImageFont.load_default(20), anchor="lm")
    return picture
