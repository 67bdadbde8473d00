"""The data sets that are known by name, one record each: a new one is one record here and one script in data_scripts/.

Sources of the numbers of images:

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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from musc_lite.data.discovery import user_path
from musc_lite.utils.errors import DataNotFoundError

if TYPE_CHECKING:  # the command line reads the names before it needs NumPy
    from musc_lite.data.image_set import ImageSet

__all__ = ["CATALOG", "PUBLISHED_METRICS", "DataSet", "look_up", "presets"]

PUBLISHED_METRICS = ("image_auroc", "image_f1_max", "image_ap", "pixel_auroc", "pixel_f1_max", "pixel_ap", "aupro")


def with_test_folder(root: Path, known: Iterable[str]) -> list[str]:
    """List the folders that hold a folder ``test``, as the categories of MVTec AD do, whether known or not."""
    return sorted(folder.parent.name for folder in root.glob("*/test") if folder.is_dir())


def by_name(root: Path, known: Iterable[str], inside: str) -> list[str]:
    """List the known categories that are folders in the root, or in its folder `inside`, where loaders look too."""
    return [name for name in known if (root / name).is_dir() or (root / inside / name).is_dir()]


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is to be known of one data set.

    Attributes
    ----------
    name : str
        On the command line.
    title : str
        In sentences.
    script : str
        What gets or makes it, in data_scripts/.
    loader : str
        "module:function"; imported when it is first used, so that reading the catalog takes no time.
    takes : tuple of str
        What the loader is called with. Without "root" the data set needs no folder, without "category" it is one whole.
    categories : callable
        Lists those that are there, called with the root and the names in `counts`.
    counts : dict
        (normal, defective) test images as published, by category (magnetic tiles: by folder); a loader warns of others.
    figures : dict
        `PUBLISHED_METRICS` as published, in percent, by category, and their "mean".
    preset : dict
        The parameters of `MuSc` with which they were measured.
    """

    name: str
    title: str
    script: str
    loader: str
    takes: tuple[str, ...] = ("root", "category")
    categories: Callable[[Path, Iterable[str]], list[str]] = with_test_folder
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    preset: Mapping[str, object] = field(default_factory=dict)

    @property
    def needs_root(self) -> bool:
        """Whether it is read from a folder."""
        return "root" in self.takes

    def find_categories(self, root: str | Path | None) -> list[str]:
        """List the categories that are there.

        Raises
        ------
        ValueError
            If it needs a folder and none is given.
        DataNotFoundError
            If there are none.
        """
        if not self.needs_root:
            return self.categories(Path(), self.counts)  # which need no folder
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
        figures = self.figures.get(category)
        return (
            None
            if figures is None
            else {name: round(x / 100, 4) for name, x in zip(PUBLISHED_METRICS, figures, strict=True)}
        )


def look_up(name: str) -> DataSet:
    """Give the record of a data set.

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
    """Give the paper's settings for each data set that it was measured on."""
    return {name: data_set.preset for name, data_set in CATALOG.items() if data_set.preset}


PAPER = {
    "backbone": "ViT-L-14-336-gelu",  # plain GELU, see `MuSc.published`
    "image_size": 518,
    "layers": "even",
    "r": (1, 3, 5),
    "interval": (0.0, 0.3),
    "windows": (1, 2, 3),
}

MVTEC = DataSet(
    name="mvtec",
    title="MVTec AD",
    script="get_mvtec.py",
    loader="musc_lite.data.loaders:load_mvtec",
    counts={
        "bottle": (20, 63),
        "cable": (58, 92),
        "capsule": (23, 109),
        "carpet": (28, 89),
        "grid": (21, 57),
        "hazelnut": (40, 70),
        "leather": (32, 92),
        "metal_nut": (22, 93),
        "pill": (26, 141),
        "screw": (41, 119),
        "tile": (33, 84),
        "toothbrush": (12, 30),
        "transistor": (60, 40),
        "wood": (19, 60),
        "zipper": (32, 119),
    },
    figures={
        "bottle": (99.92, 99.21, 99.98, 98.48, 79.17, 83.04, 96.10),
        "cable": (98.99, 97.30, 99.42, 95.76, 60.97, 57.70, 89.62),
        "capsule": (96.45, 94.88, 99.30, 98.96, 49.80, 48.45, 95.49),
        "carpet": (99.88, 99.44, 99.96, 99.45, 73.33, 76.05, 97.58),
        "grid": (98.66, 96.49, 99.54, 98.16, 43.94, 38.24, 93.92),
        "hazelnut": (99.61, 98.55, 99.79, 99.38, 73.41, 73.28, 92.24),
        "leather": (100.0, 100.0, 100.0, 99.72, 62.84, 64.47, 98.74),
        "metal_nut": (96.92, 97.38, 99.25, 86.12, 46.22, 47.54, 89.34),
        "pill": (96.24, 95.89, 99.31, 97.47, 65.54, 67.25, 98.01),
        "screw": (82.17, 88.89, 90.88, 98.77, 41.87, 36.12, 94.40),
        "tile": (100.0, 100.0, 100.0, 97.90, 74.71, 78.90, 94.64),
        "toothbrush": (100.0, 100.0, 100.0, 99.53, 70.19, 67.79, 95.48),
        "transistor": (99.42, 95.00, 99.19, 91.38, 59.24, 58.40, 77.21),
        "wood": (98.51, 98.33, 99.52, 97.24, 68.64, 74.75, 94.50),
        "zipper": (99.84, 99.17, 99.96, 98.40, 62.48, 61.89, 94.46),
        "mean": (97.77, 97.37, 99.07, 97.11, 62.16, 62.26, 93.45),
    },
    preset=PAPER,
)

VISA = DataSet(
    name="visa",
    title="VisA",
    script="get_visa.py",
    loader="musc_lite.data.loaders:load_visa",
    categories=partial(by_name, inside="1cls"),
    counts={
        "candle": (100, 100),
        "capsules": (60, 100),
        "cashew": (50, 100),
        "chewinggum": (50, 100),
        "fryum": (50, 100),
        "macaroni1": (100, 100),
        "macaroni2": (100, 100),
        "pcb1": (100, 100),
        "pcb2": (100, 100),
        "pcb3": (101, 100),
        "pcb4": (101, 100),
        "pipe_fryum": (50, 100),
    },
    figures={
        "candle": (96.55, 91.26, 96.45, 99.36, 39.56, 28.36, 97.62),
        "capsules": (88.62, 86.43, 93.77, 98.71, 50.85, 43.90, 88.20),
        "cashew": (98.54, 95.57, 99.30, 99.33, 74.88, 77.63, 94.30),
        "chewinggum": (98.42, 96.45, 99.30, 99.54, 61.33, 61.21, 88.39),
        "fryum": (98.64, 97.44, 99.43, 99.43, 58.13, 50.43, 94.38),
        "macaroni1": (89.33, 82.76, 88.64, 99.51, 21.90, 15.25, 96.37),
        "macaroni2": (68.03, 69.96, 67.37, 97.14, 11.06, 3.91, 88.84),
        "pcb1": (89.28, 84.36, 89.89, 99.50, 80.49, 88.36, 92.76),
        "pcb2": (93.20, 88.66, 94.46, 97.39, 34.38, 21.86, 86.06),
        "pcb3": (93.52, 86.92, 93.48, 98.05, 40.23, 41.03, 92.32),
        "pcb4": (98.43, 92.89, 98.47, 98.70, 46.38, 44.72, 92.66),
        "pipe_fryum": (98.34, 96.04, 99.16, 99.40, 67.56, 67.90, 97.32),
        "mean": (92.57, 89.06, 93.31, 98.71, 48.90, 45.38, 92.43),
    },
    preset=PAPER | {"windows": (1, 8, 9)},
)

BTAD = DataSet(
    name="btad",
    title="BTAD",
    script="get_btad.py",
    loader="musc_lite.data.loaders:load_btad",
    categories=partial(by_name, inside="BTech_Dataset_transformed"),
    counts={
        "01": (21, 49),
        "02": (30, 200),
        "03": (400, 41),
    },
    figures={
        "01": (98.74, 97.96, 99.53, 97.49, 59.73, 58.76, 85.05),
        "02": (90.23, 95.38, 98.41, 95.36, 58.20, 55.16, 68.64),
        "03": (99.52, 88.37, 95.62, 99.20, 55.64, 57.53, 96.62),
        "mean": (96.16, 93.90, 97.85, 97.35, 57.86, 57.15, 83.43),
    },
    preset=PAPER,
)

MAGNETIC_TILE = DataSet(
    name="magnetic-tile",
    title="magnetic tiles",
    script="get_magnetic_tile.py",
    loader="musc_lite.data.loaders:load_magnetic_tile",
    takes=("root",),
    categories=lambda root, known: ["magnetic_tile"],
    counts={
        "MT_Blowhole": (0, 115),
        "MT_Break": (0, 85),
        "MT_Crack": (0, 57),
        "MT_Fray": (0, 32),
        "MT_Free": (952, 0),
        "MT_Uneven": (0, 103),
    },
)

TEXTILES = DataSet(
    name="textiles",
    title="simulated textiles",
    script="get_textiles.py",
    loader="musc_lite.data.loaders:load_mvtec",
)

BOARDS_AND_TOYS = DataSet(
    name="boards-and-toys",
    title="circuit boards and toys",
    script="get_boards_and_toys.py",
    loader="musc_lite.data.loaders:load_mvtec",
)

TEXTURES = DataSet(
    name="textures",
    title="planted-defect textures",
    script="make_textures.py",
    loader="musc_lite.data.synthetic:planted_textures",
    takes=("category",),
    categories=lambda root, known: list(resolve_name("musc_lite.data.synthetic:PHOTOS")),
)

CATALOG = {each.name: each for each in (MVTEC, VISA, BTAD, MAGNETIC_TILE, TEXTILES, BOARDS_AND_TOYS, TEXTURES)}
