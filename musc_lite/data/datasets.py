"""The data sets that are known by name, one record each: a new one is one record here and one script in data_scripts/.

Sources of the numbers of images in ``published.csv``:

- MVTec AD: Bergmann et al., "The MVTec anomaly detection dataset", IJCV 2021, table of the data set
- VisA: Zou et al., ECCV 2022, the authors' split file ``split_csv/1cls.csv``
- BTAD: Mishra et al., "VT-ADL", ISIE 2021, the files of its archive (2540, where 2830 were announced)
- magnetic tiles: Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", 2018, the files of their repository

The presets are the paper's settings for each data set; the figures are what MuSc's authors gave in percent, of the
published code's README (results of different datasets; reproduced "with the default settings of the paper"): CLIP
ViT-L/14 trained at 336 pixels and run at 518. Its two tables of VisA disagree in one place, where pixel F1-max of
pipe_fryum and the mean have changed places; here they are the right way round. The published mean of VisA's pixel
AUROC, 98.71, is not the mean of its categories, 98.84; it is left as it is.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from musc_lite.data.discovery import user_path
from musc_lite.utils.errors import DataNotFoundError

if TYPE_CHECKING:  # the command line reads the names before it needs NumPy
    from musc_lite.data.image_set import ImageSet

PUBLISHED_METRICS = ("image_auroc", "image_f1_max", "image_ap", "pixel_auroc", "pixel_f1_max", "pixel_ap", "aupro")


def _published() -> dict[str, dict[str, Any]]:
    """Read published.csv: by data set the `counts` and `figures`, each by category."""
    found: dict[str, dict[str, Any]] = {}
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        for name, category, *numbers in [*csv.reader(file)][1:]:
            of_set = found.setdefault(name, {"counts": {}, "figures": {}})
            if numbers[0]:
                of_set["counts"][category] = int(numbers[0]), int(numbers[1])
            if numbers[2]:
                of_set["figures"][category] = tuple(map(float, numbers[2:]))
    return found


def with_test_folder(root: Path, known: Iterable[str]) -> list[str]:
    """List the folders that hold a folder ``test``, as the categories of MVTec AD do, whether known or not."""
    return sorted(folder.parent.name for folder in root.glob("*/test") if folder.is_dir())


def by_name(root: Path, known: Iterable[str], inside: str) -> list[str]:
    """List the known categories that are folders in the root, or in its folder `inside`, where loaders look too."""
    return [name for name in known if (root / name).is_dir() or (root / inside / name).is_dir()]


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is to be known of one data set."""

    name: str  # on the command line
    title: str  # in sentences
    script: str  # what gets or makes it, in data_scripts/
    # "module:function"; imported when it is first used, so that reading the catalog takes no time.
    loader: str
    # What the loader is called with. Without "root" it needs no folder, without "category" it is one whole.
    takes: tuple[str, ...] = ("root", "category")
    # Lists the categories that are there, called with the root and the names in `counts`.
    categories: Callable[[Path, Iterable[str]], list[str]] = with_test_folder
    # (normal, defective) test images as published, by category (magnetic tiles: by folder); a loader warns of others.
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # `PUBLISHED_METRICS` as published, in percent, by category, and their "mean".
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # The parameters of `MuSc` with which they were measured.
    preset: Mapping[str, object] = field(default_factory=dict)

    def find_categories(self, root: str | Path | None) -> list[str]:
        """List the categories that are there.

        Raises
        ------
        ValueError
            If it needs a folder and none is given.
        DataNotFoundError
            If there are none.
        """
        if "root" not in self.takes:
            return self.categories(Path(), self.counts)
        if root is None:
            script = f"data_scripts/{self.script}"
            raise ValueError(f"{self.name} is read from a folder: give it with --root ({script} gets the data)")
        root = user_path(root)
        if not root.is_dir():
            raise DataNotFoundError(f"there is no folder {root}: give the one that holds the categories of {self.name}")
        if found := self.categories(root, self.counts):
            return found
        raise DataNotFoundError(f"{root} holds no category of {self.name}: give the folder that holds its categories")

    def load(self, root: str | Path | None, category: str) -> "ImageSet":
        """Load the test images of one category, with their labels.

        Raises
        ------
        DataNotFoundError
            If there is no such category, or it has no labels.
        """
        if "category" not in self.takes and category not in (known := self.find_categories(root)):
            raise DataNotFoundError(f"{self.name} is one category, {known[0]!r}; there is no {category!r}")
        given = {"root": root, "category": category}
        images = resolve_name(self.loader)(*(given[name] for name in self.takes))
        if images.labels is None:
            where = f"{root}/{category}"
            raise DataNotFoundError(f"{where} has no labels: its test folder must hold a folder 'good' or 'ok'")
        return images

    def published_metrics(self, category: str) -> dict[str, float] | None:
        """Look up a category's published figures, in 0..1 as `evaluate` gives them; None where there are none.

        Examples
        --------
        >>> CATALOG["mvtec"].published_metrics("screw")["image_auroc"]
        0.8217
        """
        if category not in self.figures:
            return None
        return {name: round(x / 100, 4) for name, x in zip(PUBLISHED_METRICS, self.figures[category], strict=True)}


def look_up(name: str) -> DataSet:
    """Return the record of a data set.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists all.

    Examples
    --------
    >>> look_up("btad").title
    'BTAD'
    """
    if name not in CATALOG:
        raise ValueError(f"the data set must be one of {', '.join(CATALOG)}, got {name!r}")
    return CATALOG[name]


def presets() -> dict[str, Mapping[str, object]]:
    """Return the paper's settings for each data set that it was measured on."""
    return {name: data_set.preset for name, data_set in CATALOG.items() if data_set.preset}


PAPER = {
    "backbone": "ViT-L-14-336-gelu",  # plain GELU, see `MuSc.published`
    "image_size": 518,
    "layers": "even",
    "r": (1, 3, 5),
    "interval": (0.0, 0.3),
    "rescoring_sizes": (1, 2, 3),
}

LOADERS = "musc_lite.data.loaders"
DATA_SETS = (
    DataSet("mvtec", "MVTec AD", "get_mvtec.py", f"{LOADERS}:load_mvtec", preset=PAPER),
    DataSet(
        "visa",
        "VisA",
        "get_visa.py",
        f"{LOADERS}:load_visa",
        categories=partial(by_name, inside="1cls"),
        preset=PAPER | {"rescoring_sizes": (1, 8, 9)},
    ),
    DataSet(
        "btad",
        "BTAD",
        "get_btad.py",
        f"{LOADERS}:load_btad",
        categories=partial(by_name, inside="BTech_Dataset_transformed"),
        preset=PAPER,
    ),
    DataSet(
        "magnetic-tile",
        "magnetic tiles",
        "get_magnetic_tile.py",
        f"{LOADERS}:load_magnetic_tile",
        takes=("root",),
        categories=lambda root, known: ["magnetic_tile"],
    ),
    DataSet("textiles", "simulated textiles", "get_textiles.py", f"{LOADERS}:load_mvtec"),
    DataSet("boards-and-toys", "circuit boards and toys", "get_boards_and_toys.py", f"{LOADERS}:load_mvtec"),
    DataSet(
        "textures",
        "planted-defect textures",
        "make_textures.py",
        "musc_lite.data.synthetic:planted_textures",
        takes=("category",),
        categories=lambda root, known: list(resolve_name("musc_lite.data.synthetic:PHOTOS")),
    ),
)
_KNOWN = _published()
CATALOG = {each.name: replace(each, **_KNOWN.get(each.name, {})) for each in DATA_SETS}
