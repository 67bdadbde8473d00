"""Download the magnetic tile defect data set: 1344 gray photographs of tiles, five kinds of defects, pixel masks.

    python data_scripts/get_magnetic_tile.py data/magnetic_tile
    python data_scripts/get_magnetic_tile.py data/magnetic_tile --url ~/Downloads/master.zip      the same from a file

License: none stated. The authors' README welcomes use with citation; one of them wrote in issue 5 of the repository
(2026) that any use is fine. Downloads the GitHub repository abin24/Magnetic-tile-defect-datasets. as a zip (the dot
belongs to its name). Its size and checksum are not published, so it is checked by what it holds.

Writes OUT/MT_Free/Imgs, OUT/MT_Blowhole/Imgs and so on, each with images (.jpg) and masks (.png), and the repository's
readme. Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", The Visual Computer, 2018.
"""

from common import Archive, error_handler, get, parse, report

MAGNETIC_TILE = Archive(
    holds=("MT_*/Imgs",),
    largest=5_000_000_000,
    url="https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip",
)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, download, unpack."""
    options = parse(__doc__, arguments)
    with error_handler():
        get(MAGNETIC_TILE, options)
        report("magnetic-tile", options.out)


if __name__ == "__main__":
    main()
