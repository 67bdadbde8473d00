"""Download BTAD, the beanTech anomaly detection data set: three industrial products, 2540 images.

    python data_scripts/get_btad.py data/btad
    python data_scripts/get_btad.py data/btad --url ~/Downloads/btad.zip               the same from a file

License: sources differ. The README of its authors (pankajmishra000/VT-ADL on GitHub) says CC BY-SA 4.0, anomalib's
documentation CC BY-NC-SA 4.0 (no commercial use). Downloads btad.zip from the University of Udine; its size is not
published. Its authors publish no checksum either; it is compared with the SHA-256 that anomalib and others recorded.
An interrupted download goes on where it was.

Writes OUT/01, OUT/02 and OUT/03, each with test/ok, test/ko, ground_truth/ko and train/ok: what the archive holds in
BTech_Dataset_transformed/. Mishra et al., "VT-ADL: a vision transformer network for image anomaly detection and
localization", ISIE 2021.
"""

from common import Archive, error_handler, get, parse, report

BTAD = Archive(
    holds=("0[123]/test/ok",),
    largest=20_000_000_000,
    url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
    sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, download, unpack."""
    options = parse(__doc__, arguments)
    with error_handler():
        get(BTAD, options)
        report("btad", options.out)


if __name__ == "__main__":
    main()
