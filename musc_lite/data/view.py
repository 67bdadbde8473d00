"""How a photo becomes what the backbone sees, and how what it sees becomes whole again.

A photo from a line is larger than what a backbone takes, and rarely a square. A `View` says what to look at, and how
closely: a region of the photo, its shape, tiles that go through the backbone one by one. For a batch it is settled
once, as a `ResolvedView`, so that all images have the same grid of patches.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import WHOLE, Region
from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import renamed_attributes

SECONDS = 300  # that the size "auto" may take, where nothing else is said
SAMPLE = 30  # photos whose sizes are read to know the usual one

Size = int | tuple[int, int]  # pixels: the side of a square, or (height, width)


def patch_grid(image_size: Size, patch_size: int, name: str = "the backbone") -> tuple[int, int]:
    """Return the patch grid (h, w) of an image size, or say which sizes would do.

    Examples
    --------
    >>> patch_grid(224, 14), patch_grid((28, 42), 14)
    ((16, 16), (2, 3))
    """
    sides = image_size if isinstance(image_size, tuple | list) else (image_size,)
    if len(sides) > 2 or not sides or not all(isinstance(side, Integral) for side in sides):
        raise ValueError(f"image_size is the side of a square in whole pixels, or (height, width), got {image_size!r}")
    for side in sides:
        if side < patch_size or side % patch_size:
            below = max(side // patch_size, 1) * patch_size
            raise ValueError(
                f"image_size must be a multiple of the patch size {patch_size} of {name}: "
                f"{below} or {below + patch_size}, not {side}"
            )
    return int(sides[0]) // patch_size, int(sides[-1]) // patch_size


def median_image_size(images: ImageSet) -> tuple[int, int]:
    """Return the usual (width, height) of some photos, the median of each, from at most 30 of them."""
    some = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int).tolist()
    width, height = np.median([images.size(i) for i in some], axis=0)
    return round(width), round(height)


def describe_patch_size(resolved_view: "ResolvedView", images: ImageSet) -> str:
    """Return in the photos' own pixels, how closely they are looked at."""
    photo = median_image_size(images)
    across, down = resolved_view.patch_extent(photo)
    return (
        f"A patch covers {_by((round(across), round(down)))} pixels of your photos ({_by(photo)}); defects much "
        "smaller than that are easily missed."
    )


def split_grid_into_tiles(
    grid: tuple[int, int], tiles: tuple[int, int]
) -> list[tuple[slice | Tensor, tuple[int, int]]]:
    """Divide a grid of patches as its tiles lie, into cells that are compared apart: also of tiles that overlap.

    Parameters
    ----------
    grid : (h, w)
        Rows and columns of patches.
    tiles : (int, int)
        Rows and columns of tiles.

    Returns
    -------
    list of (slice or Tensor (m,), (int, int))
        For each cell, row by row: which patches are in it, a slice of all of them where there is one tile, and their
        rows and columns. Each patch is in one cell.

    Examples
    --------
    >>> split_grid_into_tiles((3, 2), (2, 1))
    [(tensor([0, 1, 2, 3]), (2, 2)), (tensor([4, 5]), (1, 2))]
    """
    if tiles == (1, 1):
        return [(slice(None), grid)]
    places = torch.arange(grid[0] * grid[1]).view(grid)
    cells = [cell for band in places.tensor_split(tiles[0]) for cell in band.tensor_split(tiles[1], 1)]
    return [(cell.flatten(), (cell.shape[0], cell.shape[1])) for cell in cells]


@dataclass(frozen=True)
class ResolvedView:
    """What the backbone sees of each photo of a batch: a view, settled for all of them.

    Examples
    --------
    >>> view = ResolvedView((28, 42), 14, tiles=(2, 1), overlap=(1, 0))
    >>> view.grid, view.image_size, [tile.size for tile in view.cut(Image.new("RGB", (300, 300)))]
    ((3, 3), 42, [(42, 28), (42, 28), (42, 28)])
    """

    tile_size: tuple[int, int]  # height and width of what goes through the backbone at once, in pixels
    patch_size: int  # pixels along the side of a patch
    region: Region = WHOLE  # which part of the photo
    tiles: tuple[int, int] = (1, 1)  # rows and columns of tiles that the region is divided into
    overlap: tuple[int, int] = (0, 0)  # rows and columns of patches that a tile shares with the next one

    def check(self) -> None:
        """Raise ValueError where it is no division of photos into patches, as a damaged or crafted file may have it."""
        (left, top, right, bottom), sides = self.region, (*self.tile_size, *self.tiles, self.patch_size)
        fits = all(isinstance(side, int) and side >= 1 for side in sides) and len(sides) == 5
        fits = fits and all(0 <= cells < side for cells, side in zip(self.overlap, self.tile_grid, strict=True))
        if not (fits and 0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"{self} divides no photo into patches")

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a tile."""
        return self.tile_size[0] // self.patch_size, self.tile_size[1] // self.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns (h, w) of patches of the whole view."""
        (h, w), (rows, columns), (down, across) = self.tile_grid, self.tiles, self.overlap
        return rows * h - (rows - 1) * down, columns * w - (columns - 1) * across

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (H, W) of the whole view, which maps have too."""
        return self.grid[0] * self.patch_size, self.grid[1] * self.patch_size

    @property
    def image_size(self) -> Size:
        """The same, as one number where it is a square."""
        return self.size[0] if self.size[0] == self.size[1] else self.size

    @property
    def n_passes(self) -> int:
        """How often the backbone runs for each photo: for each tile, and for the region where it is divided."""
        n_tiles = self.tiles[0] * self.tiles[1]
        return n_tiles + (n_tiles > 1)

    def cut(self, image: Image.Image) -> list[Image.Image]:
        """Make what goes through the backbone of a photo: its tiles, row by row, and last the region at their size.

        Where there is one tile it is the region, and not there twice.
        """
        left, top, right, bottom = (s * side for s, side in zip(self.region, (*image.size, *image.size), strict=True))
        box = None if self.region == WHOLE else (left, top, right, bottom)
        whole = image.resize(self.size[::-1], Image.Resampling.BICUBIC, box)
        if self.n_passes == 1:
            return [whole]
        height, width = self.tile_size
        corners = [(x * self.patch_size, y * self.patch_size) for y, x in self._corners()]
        tiles = [whole.crop((x, y, x + width, y + height)) for x, y in corners]
        return [*tiles, image.resize((width, height), Image.Resampling.BICUBIC, box)]

    def stitch(self, tokens: Tensor) -> Tensor:
        """Put the patch tokens of the tiles together, (T, S, m, C) -> (S, M, C); where tiles overlap: the mean."""
        if self.n_passes == 1:
            return tokens[0]
        (h, w), (height, width) = self.tile_grid, self.grid
        _, n_layers, _, n_channels = tokens.shape
        whole = tokens.new_zeros(n_layers, height, width, n_channels)
        times = tokens.new_zeros(height, width, 1)
        for tile, (y, x) in zip(tokens, self._corners(), strict=False):  # the region's own tokens come last
            whole[:, y : y + h, x : x + w] += tile.unflatten(1, (h, w))
            times[y : y + h, x : x + w] += 1
        return (whole / times).flatten(1, 2)

    def patch_extent(self, photo: tuple[int, int]) -> tuple[float, float]:
        """Return what a patch covers of a photo of this (width, height): (width, height), in the photo's pixels."""
        left, top, right, bottom = self.region
        return photo[0] * (right - left) / self.grid[1], photo[1] * (bottom - top) / self.grid[0]

    def patch_box(self, m: int, photo: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return where patch m lies on a photo of this (width, height): left, top, right, bottom in the photo's pixels.

        Examples
        --------
        >>> ResolvedView((28, 28), 14, region=(0.5, 0.0, 1.0, 1.0)).patch_box(3, (80, 40))
        (60.0, 20.0, 80.0, 40.0)
        """
        width, height = self.patch_extent(photo)
        row, column = divmod(m, self.grid[1])
        left, top = self.region[0] * photo[0] + column * width, self.region[1] * photo[1] + row * height
        return left, top, left + width, top + height

    def provenance(self) -> dict[str, str]:
        """Name what is looked at."""
        lines = {"image size": _by(self.size) + f" pixels, {_by(self.grid)} patches"}
        if self.region != WHOLE:
            shares = ", ".join(f"{share:.3f}" for share in self.region)
            lines["region"] = f"{shares} (left, top, right, bottom in shares of the photo)"
        if self.n_passes > 1:
            lines["tiles"] = f"{_by(self.tiles)} of {_by(self.tile_size)} pixels"
            lines["tiles"] += f", overlapping by {_by(self.overlap)} patches" if any(self.overlap) else ""
        return lines

    def _corners(self) -> list[tuple[int, int]]:
        """Return the first row and column of each tile, in patches."""
        (h, w), (down, across) = self.tile_grid, self.overlap
        return [(i * (h - down), j * (w - across)) for i in range(self.tiles[0]) for j in range(self.tiles[1])]


def _by(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}"


@renamed_attributes(settle="resolve")
class View(Component):
    """What to look at in a photo, and how closely; by default the whole photo, resized to a square.

    Parameters
    ----------
    size : int, (int, int) or str, optional
        What goes through the backbone at once: pixels along the side of a square, or (height, width), multiples of
        the patch size. "aspect" keeps the shape of the photos, at about as many patches as the backbone's default
        square; "aspect 448": as a square of 448 pixels. Photos of different shapes take the middle one. "auto": as
        many tiles as the photos have pixels for and 300 seconds allow, by an estimate on this machine; "auto 60":
        another time. None: the backbone's default square.
    region : (left, top, right, bottom) or "auto", optional
        The part of the photo to look at, in shares of its width and height, or in pixels where all photos have one
        size. "auto": where the objects are, see `find_region`. None: the whole photo.
    tiles : int or (int, int), optional
        Rows and columns of tiles that go through the backbone one by one; a number: along the longer side.
    overlap : float
        Share of a tile that the next one shows again, 0 to 0.5.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> photos = from_arrays(list(np.zeros((2, 80, 120))))
    >>> View("aspect", tiles=2).resolve(photos, patch_size=14, default_size=224)
    ResolvedView(tile_size=(252, 196), patch_size=14, region=(0.0, 0.0, 1.0, 1.0), tiles=(1, 2), overlap=(0, 0))
    """

    def __init__(
        self,
        size: Size | str | None = None,
        *,
        region: Sequence[float] | str | None = None,
        tiles: int | tuple[int, int] | None = None,
        overlap: float = 0.0,
    ):
        self.size = size
        self.region = region
        self.tiles = tiles
        self.overlap = overlap

    @property
    def seconds(self) -> int | None:
        """How long the work may take at the size "auto"; None at any other size."""
        if not isinstance(self.size, str) or not self.size.startswith("auto"):
            return None
        return int(self.size.removeprefix("auto") or SECONDS)

    def provenance(self) -> dict[str, str]:
        """Name what chose the tiles; `ResolvedView` names what is seen."""
        return {} if self.seconds is None else {"closeness": f"what {self.seconds} s allowed"}

    def check(self) -> None:
        """Raise an error for a value that is no view of any photo."""
        if isinstance(self.size, str) and not re.fullmatch(r"(aspect|auto)( \d+)?", self.size):
            raise ValueError(
                "the size of a view is a number of pixels, (height, width), 'aspect', such as 'aspect 448', 'auto', or "
                f"such as 'auto 60' (seconds); got {self.size!r}"
            )
        if self.seconds is not None and self.tiles is not None:
            raise ValueError(f"size={self.size!r} chooses the tiles itself: give it or tiles={self.tiles!r}, not both")
        self._check_region()
        counts = self.tiles if isinstance(self.tiles, tuple | list) else (self.tiles, self.tiles)
        fits = len(counts) == 2 and all(isinstance(count, Integral) and count >= 1 for count in counts)
        if self.tiles is not None and not fits:
            raise ValueError(
                f"tiles is how many along the longer side, or (rows, columns), at least 1; got {self.tiles!r}"
            )
        if not isinstance(self.overlap, Real) or not 0 <= self.overlap <= 0.5:
            raise ValueError(
                f"overlap is the share of a tile that the next one shows again, 0 to 0.5; got {self.overlap!r}"
            )

    def resolve(
        self,
        images: ImageSet | None,
        patch_size: int,
        default_size: int,
        name: str = "the backbone",
        found: Region = WHOLE,
    ) -> ResolvedView:
        """Settle the view for a batch.

        Parameters
        ----------
        images : ImageSet or None
            Whose sizes are read where the view depends on them.
        patch_size, default_size : int
            Of the backbone.
        name : str
            What to call it in errors.
        found : Region
            What ``region="auto"`` stands for.

        Raises
        ------
        ValueError
            If the view does not fit the photos or the backbone; the message says what would.
        """
        self.check()
        if self.seconds is not None:
            raise ValueError(f"size={self.size!r} depends on what scoring costs: give the view to a detector")

        @cache
        def sizes() -> list[tuple[int, int]]:
            photos = require_images(images, self)
            return [photos.size(i) for i in range(len(photos))]

        region = found if isinstance(self.region, str) else self._in_shares(sizes)

        def aspect() -> float:
            """Width over height of the region, of the middle photo."""
            middle = float(np.median([width / height for width, height in sizes()]))
            return middle * (region[2] - region[0]) / (region[3] - region[1])

        counts: Any = (1, 1) if self.tiles is None else self.tiles
        if not isinstance(counts, tuple | list):  # along the longer side
            counts = max(1, round(counts / max(aspect(), 1))), max(1, round(counts * min(aspect(), 1)))
        tiles = int(counts[0]), int(counts[1])
        size = default_size if self.size is None else self.size
        if isinstance(size, str):
            side = int(size.removeprefix("aspect") or default_size) / patch_size
            stretch = math.sqrt(aspect() * tiles[0] / tiles[1])  # of a tile
            size = max(1, round(side / stretch)) * patch_size, max(1, round(side * stretch)) * patch_size
        h, w = patch_grid(size, patch_size, name)
        down, across = (
            min(round(self.overlap * n), n - 1) if count > 1 else 0 for n, count in zip((h, w), tiles, strict=True)
        )
        resolved_view = ResolvedView((h * patch_size, w * patch_size), patch_size, region, tiles, (down, across))
        if images is not None and (tiles != (1, 1) or region != WHOLE):
            for photo, its_size in zip(images.names, sizes(), strict=True):
                _check_room(resolved_view, photo, its_size)
        return resolved_view

    def _check_region(self) -> None:
        if self.region is None or (isinstance(self.region, str) and self.region == "auto"):
            return
        edges: list[Any] = list(self.region) if isinstance(self.region, Sequence | np.ndarray) else []
        if len(edges) != 4 or not all(isinstance(edge, Real) and math.isfinite(edge) for edge in edges):
            raise ValueError(
                "a region is (left, top, right, bottom) in shares of the photo such as (0.3, 0.2, 0.7, 0.8), or 'auto' "
                f"for where the objects are; got {self.region!r}"
            )
        left, top, right, bottom = edges
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError(
                f"the region {self.region!r} lies outside of the photo or is empty: left < right and top < bottom are "
                "counted from its upper left corner, 0 or more"
            )

    def _in_shares(self, sizes: Callable[[], list[tuple[int, int]]]) -> Region:
        """Return the region in shares; what is above 1 is in pixels."""
        if self.region is None:
            return WHOLE
        left, top, right, bottom = (float(edge) for edge in self.region)
        if max(right, bottom) > 1:
            (width, height), *others = sorted(set(sizes()))
            if others:
                raise ValueError(
                    f"the region {self.region!r} is in pixels, and the photos differ in size ({width} x {height}, "
                    f"{_by(others[0])}, ...): give it in shares of the photo, 0 to 1"
                )
            left, top, right, bottom = left / width, top / height, right / width, bottom / height
            if max(right, bottom) > 1:
                raise ValueError(
                    f"the region {self.region!r} lies outside of the photos, which have {width} x {height} pixels"
                )
        return left, top, right, bottom


def require_images(images: ImageSet | None, view: View) -> ImageSet:
    """Return the images, or say that a view cannot do without."""
    if images is None or not len(images):
        raise ValueError(f"{view} depends on the photos: give some of them")
    return images


def _check_room(resolved_view: ResolvedView, photo: str, size: tuple[int, int]) -> None:
    """Raise an error for a photo of which a patch of several tiles, or one tile, would cover less than a pixel."""
    (rows, columns), (h, w) = resolved_view.tiles, resolved_view.tile_grid
    needed = resolved_view.grid if resolved_view.tiles != (1, 1) else (1, 1)
    left, top, right, bottom = (share * side for share, side in zip(resolved_view.region, (*size, *size), strict=True))
    width, height = right - left, bottom - top
    if width < needed[1] or height < needed[0]:
        most = max(1, int(min(width // w, height // h)))
        raise ValueError(
            f"{photo} has {size[0]} x {size[1]} pixels, of which the view takes {width:.1f} x {height:.1f}: too "
            f"few for {rows} x {columns} tiles of {h} x {w} patches, since a patch would cover less than a "
            f"pixel; give at most {most} x {most} tiles, or a larger region"
        )
