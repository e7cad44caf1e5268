"""Time the losses, forward and backward, beside cross-entropy and the official algorithm.

    python benchmarks/losses.py [--device cuda] [--batch 64 256 1024] [--smoothing 0.2]

Classes and tree are ImageNet-21K-P's (11,221 classes, 12 depths). Each row is a median over
repeats in which the contestants take turns, so that a busy machine slows all of them alike; of the two
calls of a turn the second is timed, whose memory is as the contestant itself left it. The
columns are ratios within the run. Memory is what is allocated at the peak beside the logits, in units
of the logits' size; it includes the gradient.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from hypernym.hierarchy.levels import NONE, Levels, make_levels
from hypernym.hierarchy.tree import build_from_wordnet
from hypernym.losses.distillation import SemanticDistillationLoss
from hypernym.losses.multilabel import MultiLabelLoss
from hypernym.losses.semantic import SemanticSoftmaxLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    Contestant = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

MAX_WEIGHT = 20.0


class OfficialAlgorithm:
    """The official semantic softmax, rewritten from its description: targets in a Python loop."""

    def __init__(self, levels: Levels, smoothing: float, device: torch.device) -> None:
        self.levels = levels
        self.smoothing = smoothing
        self.weights = levels.weights_L(MAX_WEIGHT).tolist()
        self.classes_at = [torch.from_numpy(classes).to(device) for classes in levels.classes_at]
        self.paths = [[int(c) for c in row if c != NONE] for row in levels.ancestors_CL]
        self.position = levels.position_C.tolist()

    def make_targets(self, labels: torch.Tensor) -> torch.Tensor:
        """Fill a table image by image and depth by depth, on the CPU."""
        targets = torch.full((len(labels), self.levels.num_depths), NONE)
        for image, label in enumerate(labels.cpu().tolist()):
            for depth, ancestor in enumerate(self.paths[label]):
                targets[image, depth] = self.position[ancestor]
        return targets.to(labels.device)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum the smoothed cross-entropies of the depths over the images that have a target."""
        targets = self.make_targets(labels)
        total = logits.new_zeros(())
        for depth, classes in enumerate(self.classes_at):
            valid = targets[:, depth] != NONE
            if not valid.any():
                continue
            log_p = logits[:, classes][valid].log_softmax(dim=-1)
            shares = torch.full_like(log_p, self.smoothing / len(classes))
            shares.scatter_add_(
                1, targets[valid, depth][:, None], torch.full_like(log_p[:, :1], 1 - self.smoothing)
            )
            total = total + self.weights[depth] * -(shares * log_p).sum(dim=-1).sum() / len(labels)
        return total

    def distil(self, logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Add up the weighted squared differences of the softmax probabilities of each depth."""
        total = logits.new_zeros(())
        for classes in self.classes_at:
            student_p = logits[:, classes].softmax(dim=-1)
            teacher_p = teacher[:, classes].softmax(dim=-1)
            trusted = teacher_p.topk(-(-len(classes) // 20), dim=-1).values.sum(dim=-1)
            squares = mse_loss(student_p, teacher_p, reduction="none").sum(dim=-1)
            total = total + (trusted * squares).sum()
        return total


def main() -> None:
    """Print a table for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--smoothing", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    device = torch.device(given.device)
    levels = make_levels(build_from_wordnet(read_class_list("imagenet21k_miil_synsets.txt")))
    contestants = make_contestants(levels, given.smoothing, device)
    sizes = f"{levels.num_classes} classes, {levels.num_depths} depths"
    print(f"{sizes}, {device}, {torch.get_num_threads()} threads")
    for batch in given.batch:
        torch.manual_seed(0)
        logits = torch.randn(batch, levels.num_classes, device=device)
        labels = torch.randint(levels.num_classes, (batch,), device=device)
        times = take_turns(contestants, logits, labels, given.repeats)
        print(f"\nbatch {batch:<22}{'ms':>9}{'/ cross-entropy':>17}{'official /':>12}{'memory':>9}")
        for name, seconds in times.items():
            to_entropy = seconds / times["cross-entropy"]
            official = "official distillation" if "distillation" in name else "official algorithm"
            to_official = times[official] / seconds
            memory = measure_memory(contestants[name], logits, labels)
            print(f"{name:<28}{1e3 * seconds:9.2f}{to_entropy:17.2f}{to_official:12.1f}{memory:9.2f}")


def make_contestants(levels: Levels, smoothing: float, device: torch.device) -> dict[str, Contestant]:
    """Return the losses by name, each a function of logits and labels."""
    semantic = SemanticSoftmaxLoss(levels, levels.weights_L(MAX_WEIGHT).tolist(), smoothing).to(device)
    distillation = SemanticDistillationLoss(levels).to(device)
    binary = MultiLabelLoss(levels).to(device)
    official = OfficialAlgorithm(levels, smoothing, device)
    teachers: dict[int, torch.Tensor] = {}

    mixed: dict[int, torch.Tensor] = {}

    def teacher_of(logits: torch.Tensor) -> torch.Tensor:
        return teachers.setdefault(len(logits), logits.detach().roll(1, dims=0))

    def mix(labels: torch.Tensor) -> torch.Tensor:
        """Share each target between two labels, as mixup does."""
        if len(labels) not in mixed:
            shares_BC = one_hot(labels, levels.num_classes).float()
            mixed[len(labels)] = 0.7 * shares_BC + 0.3 * shares_BC.roll(1, dims=0)
        return mixed[len(labels)]

    return {
        "cross-entropy": lambda logits, labels: cross_entropy(logits, labels, label_smoothing=smoothing),
        "official algorithm": official,
        "semantic softmax": semantic,
        "multi-label": binary,
        "official distillation": lambda logits, _: official.distil(logits, teacher_of(logits)),
        "semantic distillation": lambda logits, labels: distillation(logits, teacher_of(logits), labels),
        "cross-entropy, mixup": lambda logits, labels: cross_entropy(
            logits, mix(labels), label_smoothing=smoothing
        ),
        "semantic softmax, mixup": lambda logits, labels: semantic(logits, mix(labels)),
        "semantic distillation, mixup": lambda logits, labels: distillation(
            logits, teacher_of(logits), mix(labels)
        ),
    }


def take_turns(
    contestants: dict[str, Contestant], logits: torch.Tensor, labels: torch.Tensor, repeats: int
) -> dict[str, float]:
    """Return the median seconds of forward and backward of each contestant."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            # The first call of a turn finds the memory as the contestant before left it.
            for is_warm in (False, True):
                leaf = logits.detach().requires_grad_()
                synchronise(logits.device)
                began = time.perf_counter()
                torch.autograd.backward(contestant(leaf, labels))
                synchronise(logits.device)
                if is_warm:
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_memory(contestant: Contestant, logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the peak of what forward and backward allocate, in units of the logits."""
    leaf = logits.detach().requires_grad_()
    if logits.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.autograd.backward(contestant(leaf, labels))
        return (torch.cuda.max_memory_allocated() - before) / logits.nbytes
    with torch.profiler.profile(profile_memory=True) as profile:
        torch.autograd.backward(contestant(leaf, labels))
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / logits.nbytes


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def read_class_list(name: str) -> list[str]:
    """Read one of the class lists that timm carries."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise SystemExit("timm is not installed")
    return (Path(spec.origin).parent / "data" / "_info" / name).read_text().split()


if __name__ == "__main__":
    main()
