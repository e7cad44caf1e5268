"""Decoding and augmentation on a training device, instead of in the loading processes.

Those then only read bytes. What is random is drawn as for them, so the boxes are the same; the pixels
are those of the device's own decoder and resizer.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate
from torchvision.io import decode_jpeg

from hypernym.data.transforms import INTERPOLATION, Drawn, draw, draw_noise
from hypernym.errors import UsageError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from hypernym.data.transforms import Augmentation


def check_device_augmentation(augmentation: Augmentation) -> None:
    """Check that a device can do all of it.

    Raises:
        UsageError: there is a policy.
    """
    if augmentation.policy:
        raise UsageError(
            f"--augment.policy {augmentation.policy} works in the loading processes only: leave "
            f"--augment.on-device off, or give no policy."
        )


def augment_on_device(
    jpegs: Sequence[torch.Tensor],
    chances: Iterable[random.Random],
    augmentation: Augmentation,
    size: int,
    device: torch.device,
) -> torch.Tensor:
    """Decode and augment B stored JPEGs.

    Args:
        jpegs: The bytes of each, uint8 (N,), on the CPU.
        chances: The random numbers of each; each is used before the next is asked for.
        augmentation: Without a policy.
        size: Pixels of a side.
        device: Where to.

    Returns:
        uint8 (B, 3, size, size), on the device, channels-last.

    Raises:
        RuntimeError: an image is no whole JPEG.
    """
    shape = (len(jpegs), 3, size, size)
    images_BCHW = torch.empty(shape, dtype=torch.uint8, device=device, memory_format=torch.channels_last)
    # Torchvision 0.29 announces that its decoders move to TorchCodec.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        # One call for all of them: a GPU decodes a batch at once.
        decoded = decode_jpeg(list(jpegs), mode="RGB", device=device)
    for image_CHW, pixels_CHW, chance in zip(images_BCHW, decoded, chances, strict=True):
        height, width = pixels_CHW.shape[1:]
        drawn = draw(augmentation, chance, height, width, size)
        image_CHW.copy_(_view(pixels_CHW, drawn, size))
        if drawn.hole:
            top, left, bottom, right = drawn.hole
            for channel_HW, value in zip(image_CHW, drawn.color, strict=True):
                channel_HW[top:bottom, left:right] = value
        if drawn.erased:
            top, left, bottom, right = drawn.erased
            noise_HWC = torch.from_numpy(draw_noise(chance, drawn.erased)).to(device)
            image_CHW[:, top:bottom, left:right] = noise_HWC.permute(2, 0, 1)
    return images_BCHW


def _view(pixels_CHW: torch.Tensor, drawn: Drawn, size: int) -> torch.Tensor:
    """Return the part of the picture that is seen, at its size and as it is mirrored: uint8 or float."""
    top, left, bottom, right = drawn.view
    view_CHW = pixels_CHW[:, top:bottom, left:right]
    if view_CHW.shape[1:] != (size, size):
        # In float: a GPU has no kernel for bytes. Bicubic interpolation overshoots.
        view_1CHW = view_CHW.unsqueeze(0).float()
        resized_1CHW = interpolate(view_1CHW, (size, size), mode=INTERPOLATION, antialias=True)
        view_CHW = resized_1CHW[0].round_().clamp_(0, 255)
    return view_CHW.flip(2) if drawn.mirrored else view_CHW
