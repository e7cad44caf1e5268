"""A task is forward and loss: what is learned from a batch, as named numbers.

The loop optimises and saves `task.classifier`, and nothing else of a task. Where it wraps the
classifier (for several processes, or compiled), it puts the wrapper in the place of
`task.forward_model`, so that the weights keep their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch.nn.functional import pad

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from hypernym.models import Classifier
    from hypernym.training.cache import CachedTeacher
    from hypernym.training.teacher import Teacher


class Task(Protocol):
    """What the loop trains."""

    classifier: Classifier
    """What is optimised and saved."""

    forward_model: Callable[[torch.Tensor], torch.Tensor]
    """Maps images to logits: the classifier, or what the loop has wrapped it in."""

    def losses(
        self, images: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Map a batch to scalars; `loss` is the one descended.

        Args:
            images: uint8 or float (B, 3, H, W), in 0..255.
            targets: Labels, int64 (B,), or shares of labels (B, K), float or bool, of the K labels of
                the class table or of all C classes; of an image with several labels each is 1.
            rows: Rows of the index of the training split, int64 (B,).
        """
        ...


class LabelTask:
    """Learn from labels alone."""

    def __init__(self, classifier: Classifier, criterion: nn.Module) -> None:
        self.classifier = classifier
        self.forward_model: Callable[[torch.Tensor], torch.Tensor] = classifier
        self.criterion = criterion

    def losses(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        rows: torch.Tensor | None = None,  # noqa: ARG002 - a teacher may ask for them
    ) -> dict[str, torch.Tensor]:
        """Return the loss of the labels."""
        logits_BC = self.forward_model(images)
        return {"loss": self.criterion(logits_BC, _to_classes(targets, logits_BC))}


class DistillTask:
    """Learn from a teacher, beside the labels or alone.

        loss = label + alpha * teacher

    Shares of labels go to the distance as they are: it trusts the teacher at a depth by the share of
    the target that reaches it (see `losses.distillation`).
    """

    def __init__(
        self,
        classifier: Classifier,
        criterion: nn.Module | None,
        distance: nn.Module,
        teacher: Teacher | CachedTeacher,
        alpha: float,
    ) -> None:
        """Make the task.

        Args:
            classifier: The student.
            criterion: The loss of the labels; None leaves them out.
            distance: Of student to teacher; see `losses.schemes.make_distillation`.
            teacher: Its logits are in the order of the student's classes.
            alpha: The factor of the distance.
        """
        self.classifier = classifier
        self.forward_model: Callable[[torch.Tensor], torch.Tensor] = classifier
        self.criterion = criterion
        self.distance = distance
        self.teacher = teacher
        self.alpha = alpha

    def losses(
        self, images: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `loss`, and its parts: `teacher`, and `label` where labels are learned from.

        Without labels the distance is not told them either: the teacher is trusted at each depth as
        far as it is sure.
        """
        teacher_BC = self.teacher(images, rows)
        known_C = self.teacher.known_C
        known_BC = None if known_C is None else known_C.expand_as(teacher_BC)
        student_BC = self.forward_model(images)
        if self.criterion is None:
            distance = self.distance(student_BC, teacher_BC, None, known_BC)
            return {"loss": self.alpha * distance, "teacher": distance}
        targets = _to_classes(targets, student_BC)
        label = self.criterion(student_BC, targets)
        distance = self.distance(student_BC, teacher_BC, targets, known_BC)
        return {"loss": label + self.alpha * distance, "label": label, "teacher": distance}


def _to_classes(targets: torch.Tensor, logits_BC: torch.Tensor) -> torch.Tensor:
    """Return labels as they are, and shares as floats for each class: inner classes come last."""
    if targets.ndim == 1:
        return targets
    return pad(targets.float(), (0, logits_BC.shape[1] - targets.shape[1]))
