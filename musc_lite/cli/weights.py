"""The command `weights`: get the weights of a backbone, or take them from a file."""

from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import plain_errors


def weights(
    names: Annotated[list[str] | None, typer.Argument(help="Backbones; by default the embedded dinov2_vits14.")] = None,
    from_file: Annotated[Path | None, typer.Option(help="Take the weights of one backbone from this file.")] = None,
) -> None:
    """Fetch the weights of backbones before they are needed, for example before a class or a flight."""
    with plain_errors():
        from musc_lite.backbones.load import EMBEDDED, find_weights, keep_weights, load_backbone

        names = names or [EMBEDDED]
        if from_file is not None:
            if len(names) > 1:
                raise ValueError(f"--from-file takes the weights of one backbone, got {', '.join(names)}")
            keep_weights(names[0], from_file)
        for name in names:
            backbone = load_backbone(name)
            print(f"{backbone} is ready: {find_weights(name)}\nSHA-256 over its weights: {backbone.weights_sha256}")
        if from_file is not None and names != [EMBEDDED]:
            print("Every tensor fits; that they are the published ones is not checked: compare the SHA-256.")
