"""How many images the data sets' authors published: plain data that a copy on disk is held against.

``TEST_IMAGES[data set][category]`` is (normal, defective), of the test split where there is one. Sources:

- MVTec AD: Bergmann et al., "The MVTec anomaly detection dataset", IJCV 2021, table of the data set
- VisA: Zou et al., ECCV 2022, the authors' split file ``split_csv/1cls.csv``
- BTAD: Mishra et al., "VT-ADL", ISIE 2021, the files of its archive (2540, where 2830 were announced)
- magnetic tiles: Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", 2018, the files of their repository
"""

__all__ = ["TEST_IMAGES"]

TEST_IMAGES: dict[str, dict[str, tuple[int, int]]] = {
    "MVTec AD": {
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
    "VisA": {
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
    "BTAD": {
        "01": (21, 49),
        "02": (30, 200),
        "03": (400, 41),
    },
    "magnetic tiles": {
        "MT_Blowhole": (0, 115),
        "MT_Break": (0, 85),
        "MT_Crack": (0, 57),
        "MT_Fray": (0, 32),
        "MT_Free": (952, 0),
        "MT_Uneven": (0, 103),
    },
}
