"""Planted-defect textures: the embedded data, made from photographs that scikit-image ships.

A picture is a crop of one photograph (random place, slight turn and zoom, mirrored or not) under its own
light. A defective one gets one defect, planted before the light falls on it, so light and sensor noise agree
inside and outside. Defects take their tones from the picture around them, so that brightness alone should
not give them away.

The masks are exact. Each defect comes with its *coverage* of each pixel, 0 to 1: the picture is
``(1 - coverage) * clean + coverage * defect``. A pixel is defective where coverage is at least
`MIN_COVERAGE`; everywhere else the picture keeps the bytes of its defect-free rendering. So the mask tells
where a defect lies: inside, a pixel of a blurred plain surface may by chance keep its value.

The photographs (512 x 512, gray; notes of `skimage.data`), each under the Creative Commons CC0 license:
brick is Bricks25 and gravel is Gravel04 of CC0Textures (cc0textures.com), grass is "Grass 01" by linolafett
(deviantart.com). They are inside the scikit-image wheel: nothing is downloaded. The tints are ours.
"""

import functools

import numpy as np
import skimage.data
from PIL import Image
from PIL.Image import Resampling
from scipy import ndimage
from skimage.draw import bezier_curve
from skimage.transform import AffineTransform, warp
from skimage.util import img_as_float64

from musc_lite.data.arrays import from_arrays
from musc_lite.data.image_set import ImageSet

PHOTOS = ("brick", "grass", "gravel")  # the order is part of the seed: append, never reorder
KINDS = ("hole", "scratch", "foreign", "blur", "stain")

# The picture is composed at this many pixels a side (about one photograph pixel each), then resized.
FIELD = 224
MIN_IMAGE_SIZE = 56  # below, a scratch is thinner than a pixel
MIN_COVERAGE = 0.15  # the rule of the masks

# Normal variation.
ZOOM = (0.92, 1.1)
TURN = np.deg2rad(5)
CONTRAST = (0.88, 1.12)
BRIGHTNESS = (0.85, 1.15)
GRADIENT = 0.12  # light falls off by up to this much from the middle to a border
WHITE_BALANCE = 0.02
NOISE = (0.004, 0.009)  # sensor noise, standard deviation, of the full range 0..1
# RGB gains of the darkest and of the brightest tones: red brick with gray mortar, green grass, cool gravel.
TINTS = {
    "brick": ((1.32, 0.92, 0.76), (1.03, 1.00, 0.96)),
    "grass": ((0.84, 1.06, 0.72), (1.03, 1.08, 0.74)),
    "gravel": ((0.95, 1.00, 1.08), (1.01, 1.00, 0.98)),
}

# Defects. Areas are parts of the picture, lengths are pixels of the FIELD, tones come from the picture.
# Chosen by eye before any detector had seen the pictures, and frozen: a change makes older results worthless.
AREA = (0.015, 0.065)
STRETCH = (1.0, 1.8)
SCRATCH_LENGTH = (0.5, 0.95)  # of the side
SCRATCH_WIDTH = (2.4, 4.0)
SCRATCH_OPACITY = (0.8, 0.95)
TONES = (1, 98)  # percentiles of the picture that count as its shadows and its highlights
HOLE_DETAIL = 0.35  # how much of the surface still shows in a hole
FOREIGN_COLOR = 0.35  # 0: colored like the picture, 1: like its own photograph
BLUR_SIGMA = (2.2, 4.0)
STAIN_STRENGTH = (0.9, 1.35)  # darkening, in standard deviations of the picture
# How much of the darkening the red, green and blue channel get: oil, rust, algae.
STAIN_HUES = ((1.0, 1.0, 1.0), (0.85, 1.0, 1.2), (1.1, 0.9, 1.0))


@functools.cache
def _photo(name):
    return img_as_float64(getattr(skimage.data, name)())


def _crop(rng, photo):
    """Cut a square out of the photograph at a random place, slightly turned and zoomed: (FIELD, FIELD)."""
    scale, angle, mirror = 1 / rng.uniform(*ZOOM), rng.uniform(-TURN, TURN), rng.choice([-1, 1])
    half = FIELD / 2 * scale * (abs(np.cos(angle)) + abs(np.sin(angle)))
    place = rng.uniform(half, len(photo) - 1 - half, size=2)
    # Mirrored left to right only: upside down, the light would come from below.
    to_photo = (
        AffineTransform(translation=(-(FIELD - 1) / 2, -(FIELD - 1) / 2))
        + AffineTransform(scale=(mirror * scale, scale))
        + AffineTransform(rotation=angle, translation=place)
    )
    return warp(photo, to_photo, output_shape=(FIELD, FIELD), order=3)


def _tint(gray, name):
    """Color a gray picture, dark and bright tones each in their own: (H, W) -> (H, W, 3)."""
    dark, bright = np.array(TINTS[name])
    return gray[..., None] * (dark + (bright - dark) * gray[..., None])


def _light(rng):
    """Light of one exposure as a gain for each pixel, with a slope across the picture: (FIELD, FIELD, 3)."""
    y, x = np.mgrid[-1 : 1 : FIELD * 1j, -1 : 1 : FIELD * 1j]
    direction, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, GRADIENT)
    gain = rng.uniform(*BRIGHTNESS) * (1 + slope * (np.cos(direction) * x + np.sin(direction) * y))
    return gain[..., None] * (1 + rng.uniform(-WHITE_BALANCE, WHITE_BALANCE, size=3))


def _clouds(rng, sigma):
    """Smooth random field of mean 0 and deviation 1: (FIELD, FIELD)."""
    field = ndimage.gaussian_filter(rng.standard_normal((FIELD, FIELD)), sigma)
    return (field - field.mean()) / field.std()


def _blob(rng, edge, rough=0.10):
    """Coverage of an irregular spot whose border fades over `edge` pixels: (FIELD, FIELD), 0..1."""
    y, x = np.mgrid[0 : 1 : FIELD * 1j, 0 : 1 : FIELD * 1j] - rng.uniform(0.2, 0.8, size=(2, 1, 1))
    angle, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(*STRETCH))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    area = np.exp(rng.uniform(*np.log(AREA)))
    # The distance from the middle, dented at two scales; the level that cuts out just the wanted area.
    field = np.hypot(along / stretch, across * stretch) / np.sqrt(area / np.pi)
    field += 2 * rough * _clouds(rng, 10) + rough * _clouds(rng, 3)
    inside = ndimage.binary_fill_holes(field < np.quantile(field, area))
    parts, _ = ndimage.label(inside)
    inside = parts == 1 + np.bincount(parts[inside] - 1).argmax()  # crumbs of the dented border go
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    t = np.clip(0.5 + depth / edge, 0, 1)
    return t * t * (3 - 2 * t)


def _relief(coverage, sigma):
    """Slope of a spot's border under light from above: 1 on upper edges, -1 on lower: (FIELD, FIELD, 1)."""
    slope = ndimage.gaussian_filter(coverage, sigma, order=(1, 0))
    return (slope / abs(slope).max())[..., None]


# One function a kind. Each takes the clean picture (FIELD, FIELD, 3) and the photograph's name, and returns
# what the defect looks like (FIELD, FIELD, 3) and its coverage (FIELD, FIELD). _render blends the two.


def _hole(rng, image, name):
    """Break a piece out: tones of the photograph's own shadows, darkest under the upper rim."""
    coverage = _blob(rng, edge=3, rough=0.12)
    shadow, highlight = np.percentile(image, TONES, axis=(0, 1))
    inside = shadow + HOLE_DETAIL * (image - shadow)
    # The lower wall catches light, up to a third of the way to the highlights; the upper one loses a quarter.
    slope = _relief(coverage, 2.5)
    lit, dark = np.clip(-slope, 0, 1), np.clip(slope, 0, 1)
    return inside * (1 - dark / 4) + lit / 3 * (highlight - shadow), coverage


def _scratch(rng, image, name):
    """Draw a long thin curve, fading in places, toward the picture's highlights or its shadows."""
    length, angle, bend = rng.uniform(*SCRATCH_LENGTH), rng.uniform(0, np.pi), rng.uniform(-0.2, 0.2)
    middle = rng.uniform(0.35, 0.65, size=2)
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([along[1], -along[0]])
    points = [middle - along * length / 2, middle + across * bend, middle + along * length / 2]
    path = np.rint(np.array(points) * (FIELD - 1)).astype(int)
    (r0, c0), (r1, c1), (r2, c2) = path.tolist()
    rows, columns = bezier_curve(r0, c0, r1, c1, r2, c2, weight=1.0, shape=(FIELD, FIELD))
    away = np.ones((FIELD, FIELD), dtype=bool)
    away[rows, columns] = False
    half_width = rng.uniform(*SCRATCH_WIDTH) / 2 + 0.2 * _clouds(rng, 6)
    line = np.clip(half_width + 0.5 - ndimage.distance_transform_edt(away), 0, 1)
    line = ndimage.gaussian_filter(line, 0.7)  # the path lies on whole pixels: round off its steps
    coverage = line * np.clip(0.95 + 0.2 * _clouds(rng, 12), 0.5, 1)
    tone = np.percentile(image, rng.choice(TONES), axis=(0, 1))
    return image + rng.uniform(*SCRATCH_OPACITY) * (tone - image), coverage


def _foreign(rng, image, name):
    """Lay in a piece of another photograph, with the mean, contrast and most of the color around it."""
    coverage = _blob(rng, edge=3)
    other_name = str(rng.choice([photo for photo in PHOTOS if photo != name]))
    other = _crop(rng, _photo(other_name))
    around = (ndimage.gaussian_filter(coverage, 8) > 0.02) & (coverage == 0)
    piece = other[coverage > 0]
    # The floor keeps a plain piece (one brick's face) from being blown up into noise.
    relative = np.clip((other - piece.mean()) / max(piece.std(), 0.05), -2, 2)
    mean, own = image[around].mean(0), _tint(other, other_name)[coverage > 0].mean(0)
    hue = ((own / own.mean()) / (mean / mean.mean())) ** FOREIGN_COLOR
    matched = (mean + relative[..., None] * image[around].std(0)) * hue / (mean * hue).mean() * mean.mean()
    return matched * (1 + 0.12 * _relief(coverage, 2)), coverage


def _blur(rng, image, name):
    """Put a spot out of focus, where there is something to blur."""
    sigma = rng.uniform(*BLUR_SIGMA)
    blurred = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    change = abs(blurred - image).mean(-1)
    # On the plain face of a brick nothing would be seen: of four places, the one that changes most.
    coverages = [_blob(rng, edge=6) for _ in range(4)]
    return blurred, max(coverages, key=lambda coverage: (coverage * change).sum() / coverage.sum())


def _stain(rng, image, name):
    """Soak a spot: darker by about the picture's own variation, faintly colored, with a soft mottled edge."""
    coverage = _blob(rng, edge=rng.uniform(8, 14)) * np.clip(0.85 + 0.15 * _clouds(rng, 8), 0, 1)
    variation = image.std() / image.mean()
    hue = np.array(STAIN_HUES[rng.integers(len(STAIN_HUES))])
    return image * (1 - rng.uniform(*STAIN_STRENGTH) * variation * hue), coverage


_PLANT = {"hole": _hole, "scratch": _scratch, "foreign": _foreign, "blur": _blur, "stain": _stain}


def _resize(array, image_size):
    """Bring a picture (FIELD, FIELD, 3) or a coverage (FIELD, FIELD) to the asked size, without aliasing."""
    if image_size == FIELD:
        return array
    if array.ndim == 3:
        return np.stack([_resize(channel, image_size) for channel in np.moveaxis(array, -1, 0)], axis=-1)
    # Pillow's: 3 to 20 times as fast as skimage.transform.resize, and smooths by itself where it shrinks.
    resized = Image.fromarray(array.astype(np.float32)).resize((image_size, image_size), Resampling.BICUBIC)
    return np.asarray(resized, dtype=float)


def _seeds(name, i, seed):
    """Seeds of picture `i`: of its crop and light, of its noise, of its defect."""
    return np.random.SeedSequence([seed, PHOTOS.index(name), i]).spawn(3)


def _render(name, i, kind, image_size, seed):
    """Picture `i` with a defect of `kind` (None: without): (H, W, 3) uint8 and its mask (H, W) bool."""
    scene_seed, noise_seed, defect_seed = _seeds(name, i, seed)
    rng = np.random.default_rng(scene_seed)
    crop = _crop(rng, _photo(name))
    clean = _tint(np.clip(crop.mean() + rng.uniform(*CONTRAST) * (crop - crop.mean()), 0, 1), name)
    light = _light(rng)
    # Noise is drawn after resizing: a camera's noise has the size of its own pixels.
    rng = np.random.default_rng(noise_seed)
    noise = rng.uniform(*NOISE) * rng.standard_normal((image_size, image_size, 3))

    def develop(scene):
        exposed = _resize(scene * light, image_size) + noise
        return np.clip(np.rint(255 * exposed), 0, 255).astype(np.uint8)

    picture, mask = develop(clean), np.zeros((image_size, image_size), dtype=bool)
    if kind is None:
        return picture, mask
    defect, coverage = _PLANT[kind](np.random.default_rng(defect_seed), clean, name)
    # No defect leaves the range of its picture, or a look at the darkest pixel would find it.
    defect = np.clip(defect, clean.min(axis=(0, 1)), clean.max(axis=(0, 1)))
    planted = clean + coverage[..., None] * (defect - clean)
    mask = _resize(coverage, image_size) >= MIN_COVERAGE
    return np.where(mask[..., None], develop(planted), picture), mask


def _arrays(name, n_images, n_defective, image_size, seed):
    """Pictures, labels, masks and names of a set, as lists in order."""
    order = np.random.default_rng([seed, PHOTOS.index(name)]).permutation(n_images)
    kinds = {int(i): KINDS[k % len(KINDS)] for k, i in enumerate(order[:n_defective])}
    pairs = [_render(name, i, kinds.get(i), image_size, seed) for i in range(n_images)]
    arrays, masks = (list(part) for part in zip(*pairs, strict=True))
    names = [f"{name}_{i:03d}_{kinds.get(i, 'good')}" for i in range(n_images)]
    return arrays, [int(i in kinds) for i in range(n_images)], masks, names


def planted_textures(
    name: str, n_images: int = 40, n_defective: int = 12, image_size: int = 224, seed: int = 0
) -> ImageSet:
    """Make a set of texture pictures, some with a planted defect, all without any download.

    Which pictures are defective is drawn by `seed`; the kinds (`KINDS`) take turns. Apart from its defect,
    picture `i` depends on `name`, `seed`, `i` and `image_size` only: a larger set begins with the same crops
    under the same light, and a larger `n_defective` keeps the defects that were there.

    Parameters
    ----------
    name : {"brick", "grass", "gravel"}
        The photograph.
    n_images : int
        Pictures in the set, N.
    n_defective : int
        How many of them get a defect, 0 to `n_images`.
    image_size : int
        Side H = W in pixels, at least 56. The field of view is the same at every size.
    seed : int
        Not negative. The same arguments give the same bytes.

    Returns
    -------
    ImageSet
        RGB pictures with `.labels` (N,), `.masks(size)` (N, H, W) and `.names` such as "gravel_007_scratch"
        or "gravel_000_good". How the masks come about is told at the top of this module.

    Raises
    ------
    ValueError
        If an argument is outside these ranges.

    Examples
    --------
    >>> images = planted_textures("gravel", n_images=4, n_defective=2, image_size=112)
    >>> images.names
    ['gravel_000_good', 'gravel_001_scratch', 'gravel_002_hole', 'gravel_003_good']
    >>> images.labels.tolist()
    [0, 1, 1, 0]
    >>> masks = images.masks(112)
    >>> masks.shape, masks.any(axis=(1, 2)).tolist()
    ((4, 112, 112), [False, True, True, False])
    """
    if name not in PHOTOS:
        raise ValueError(f"no texture is named {name!r}: choose one of {', '.join(map(repr, PHOTOS))}")
    if n_images < 1:
        raise ValueError(f"a set needs at least one image: give n_images of 1 or more, got {n_images}")
    if not 0 <= n_defective <= n_images:
        raise ValueError(f"n_defective counts images of the set: give 0 to n_images = {n_images}, got {n_defective}")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"a scratch would vanish below {MIN_IMAGE_SIZE} pixels a side: "
            f"give image_size of {MIN_IMAGE_SIZE} or more, got {image_size}"
        )
    if seed < 0:
        raise ValueError(f"a seed is a whole number of 0 or more, got {seed}")
    arrays, labels, masks, names = _arrays(name, n_images, n_defective, image_size, seed)
    return from_arrays(arrays, labels=labels, masks=masks, names=names)


def places_in_photo(name: str, n_images: int = 40, seed: int = 0) -> np.ndarray:
    """Return where in the photograph each pixel of `planted_textures` lies: the pictures are crops that may overlap.

    Parameters
    ----------
    name, n_images, seed
        As given to `planted_textures`.

    Returns
    -------
    ndarray (N, 224, 224, 2)
        Row and column in the photograph of 512 x 512 pixels, for a picture of 224 x 224.

    Examples
    --------
    >>> places_in_photo("brick", n_images=2)[:, 112, 112].round().astype(int).tolist()  # the middle of both pictures
    [[233, 144], [236, 201]]
    """
    rows_and_columns = np.indices(_photo(name).shape).astype(float)
    scenes = [_seeds(name, i, seed)[0] for i in range(n_images)]
    crops = [[_crop(np.random.default_rng(scene), ramp) for ramp in rows_and_columns] for scene in scenes]
    return np.moveaxis(np.array(crops), 1, -1)
