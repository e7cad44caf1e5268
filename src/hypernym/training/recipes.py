"""Recipes: configurations that are known to work. Each opens with its command and expected result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernym.training.config import AugmentOptions, OptimOptions, PretrainConfig

if TYPE_CHECKING:
    from hypernym.training.config import RecipeName


def standard() -> PretrainConfig:
    """Return the defaults: a ResNet-50 for photos of 224 px on a GPU.

    hypernym pretrain DATASET RUN

    Expected: not measured yet; the values are the paper's where the paper states them.
    """
    return PretrainConfig()


def small() -> PretrainConfig:
    """Return a recipe for pictures of 64 px or less on a laptop.

    hypernym pretrain DATASET RUN --recipe small

    Expected, of one seed on two cores: on 18,619 photos of 64 px in 127 classes (`--image-size 48`)
    semantic top-1 58 %, chance 6 %; on the drawn world in 12 epochs 66 %, chance 13 % (docs/log.md).
    """
    return PretrainConfig(
        model="test_resnet",
        epochs=16,
        batch_size=64,
        optim=OptimOptions(lr=4e-3),
        augment=AugmentOptions(min_scale=0.4),
    )


def resolve_config(recipe: RecipeName, given: dict[str, Any]) -> PretrainConfig:
    """Lay the options that were given over a recipe."""
    match recipe:
        case "standard":
            base = standard()
        case "small":
            base = small()
    return PretrainConfig.model_validate(overlay(base.model_dump(), given))


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`, group by group."""
    merged = dict(below)
    for key, value in above.items():
        is_group = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = overlay(below[key], value) if is_group else value
    return merged
