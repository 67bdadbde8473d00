"""Download VisA, the Visual Anomaly data set: 12 categories of circuit boards, food, candles and capsules.

    python data_scripts/get_visa.py data/visa
    python data_scripts/get_visa.py data/visa --url ~/Downloads/VisA_20220922.tar      the same from a file

License: CC BY 4.0. Downloads VisA_20220922.tar from Amazon's public bucket amazon-visual-anomaly: 1,929,840,640 bytes,
and as much again while it is unpacked. Its authors publish no checksum; it is compared with the SHA-256 that
anomalib and others recorded. An interrupted download goes on where it was.

Writes OUT/split_csv/1cls.csv, OUT/<category>/Data/Images/{Normal,Anomaly} and OUT/<category>/Data/Masks/Anomaly, as
they are in the archive, 10,821 images. Zou et al., "SPot-the-Difference self-supervised pre-training for anomaly
detection and segmentation", ECCV 2022.
"""

from common import Archive, error_handler, get, parse, report

VISA = Archive(
    holds=("split_csv/1cls.csv", "*/test/good"),  # as published, or as the authors' script arranges it
    largest=10_000_000_000,
    url="https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
    size=1_929_840_640,
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, download, unpack."""
    options = parse(__doc__, arguments)
    with error_handler():
        get(VISA, options)
        report("visa", options.out)


if __name__ == "__main__":
    main()
