"""A model and the dataset that it is judged on: what every method is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hypernym.checkpoint import Card
from hypernym.data.images import Resize
from hypernym.data.transforms import Preprocessing, crop_mode_of
from hypernym.downstream.labels import find_tree
from hypernym.downstream.protocol import assign_roles
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Scheme

if TYPE_CHECKING:
    import torch

    from hypernym.data.dataset import Dataset
    from hypernym.distributed import World
    from hypernym.downstream.config import TransferConfig
    from hypernym.downstream.protocol import Roles
    from hypernym.downstream.source import Source
    from hypernym.hierarchy.levels import Levels
    from hypernym.hierarchy.tree import Tree
    from hypernym.models import Classifier


@dataclass(frozen=True)
class Case:
    """A model, a dataset, and the part that each image of it plays."""

    source: Source
    roles: Roles
    tree: Tree
    config: TransferConfig
    device: torch.device
    world: World

    @property
    def dataset(self) -> Dataset:
        """The dataset."""
        return self.roles.dataset

    @property
    def several_labels(self) -> bool:
        """Whether images have several labels."""
        return bool(self.dataset.card["several_labels"])

    @cached_property
    def levels(self) -> Levels:
        """The tree as arrays."""
        return make_levels(self.tree)

    @property
    def view(self) -> Preprocessing:
        """How the model sees a picture: with its own mean and std, and as the dataset was prepared."""
        size = self.config.image_size or self.source.size
        crop_mode = crop_mode_of(Resize(self.dataset.card["images"]["resize"]))
        return Preprocessing(size, self.source.mean, self.source.std, crop_mode)

    @property
    def card(self) -> Card:
        """What travels with the transferred model."""
        names = self.tree.name_all(self.dataset.classes.names)
        scheme = Scheme.MULTI_LABEL if self.several_labels else Scheme.SINGLE_LABEL
        return Card(self.tree.ids, names, self.tree, self.view, scheme, self.dataset.card["digest"])

    def make_classifier(self, config: TransferConfig) -> Classifier:
        """Return the model with a new head.

        Raises:
            UsageError: its weights cannot be read or do not fit, or it cannot take the size.
        """
        return self.source.make_classifier(self.tree, self.view.size, config)


def set_up_case(
    source: Source, dataset: Dataset, config: TransferConfig, device: torch.device, world: World
) -> Case:
    """Give each image of a dataset its part.

    Raises:
        DatasetError: there is nothing to test on, or too little to hold any image out.
    """
    roles = assign_roles(dataset, config.hold_out, config.seed)
    return Case(source, roles, find_tree(dataset), config, device, world)
