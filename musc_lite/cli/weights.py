"""The command `weights`: get the weights of a backbone, or take them from a file."""

from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import error_handler


def weights(
    names: Annotated[list[str] | None, typer.Argument(help="Backbones. Default: the bundled dinov2_vits14.")] = None,
    from_file: Annotated[Path | None, typer.Option(help="Import the weights of one backbone from this file.")] = None,
) -> None:
    """Download the weights of backbones in advance, for example before a class."""
    with error_handler():
        from musc_lite.backbones.load import EMBEDDED, install_weights, load_backbone, locate_weights

        names = names or [EMBEDDED]
        if from_file is not None:
            if len(names) > 1:
                raise ValueError(f"--from-file takes the weights of one backbone, got {', '.join(names)}")
            install_weights(names[0], from_file)
        for name in names:
            backbone = load_backbone(name)
            print(f"{backbone} is ready: {locate_weights(name)}\nSHA-256 over its weights: {backbone.weights_sha256}")
        if from_file is not None and names != [EMBEDDED]:
            print("Every tensor fits; that they are the published ones is not checked: compare the SHA-256.")
