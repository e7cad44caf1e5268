"""What the code would do on a GPU, walked through where there is none.

torch's fake tensors have a device, a type and a shape, and no values: an operation between two devices
is an error with them as on a GPU, and so is every step that would wait for a value.
"""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.inference import EvaluationCounter
from hypernym.losses import semantic
from hypernym.losses.distillation import Trust
from hypernym.losses.schemes import make_distillation, make_loss
from hypernym.models import Classifier, make_backbone

# animal > dog, animal > cat > kitten; plant
FIVE = Tree(("animal", "cat", "dog", "kitten", "plant"), (ROOT, 0, 0, 1, ROOT), "by hand", "none")
LEVELS = make_levels(FIVE)
WEIGHTS = LEVELS.weights_L(1.0).tolist()
KINDS = [(scheme, kind) for scheme in Scheme for kind in (None, *Distillation)]
FAKE = torch.device("cuda")


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the kernel, which needs memory to point to; tests/test_kernels.py has it."""
    monkeypatch.setattr(semantic, "HAS_TRITON", False)


def make_targets(*, shared: bool) -> torch.Tensor:
    labels = torch.zeros(8, dtype=torch.long, device=FAKE)
    return torch.zeros(8, 5, device=FAKE) if shared else labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("scheme", "kind"), KINDS)
def test_no_loss_leaves_the_gpu_or_waits_for_it(
    scheme: Scheme, kind: Distillation | None, shared: bool, masked: bool, dtype: torch.dtype
) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = torch.zeros(8, 5, device=FAKE, dtype=dtype, requires_grad=True)
        targets = make_targets(shared=shared)
        known = torch.ones(8, 5, dtype=torch.bool, device=FAKE) if masked else None
        if kind is None:
            criterion = make_loss(scheme, LEVELS, label_smoothing=0.1, weights_L=WEIGHTS).to(FAKE)
            value = criterion(logits, targets, known)
        else:
            distance = make_distillation(kind, scheme, LEVELS, trust=Trust.PAPER, temperature=2.0)
            value = distance.to(FAKE)(logits, torch.zeros_like(logits), targets, known)
        assert (value.device.type, value.dtype, value.shape) == ("cuda", torch.float32, ())


@pytest.mark.parametrize("scheme", Scheme)
def test_what_is_measured_stays_on_the_gpu_and_does_not_wait(scheme: Scheme) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        counter = EvaluationCounter(LEVELS, scheme, FAKE, keep_scores=False)
        counter.update(torch.zeros(8, 5, device=FAKE), make_targets(shared=False))


def test_pixels_are_normalised_where_the_model_is() -> None:
    model = Classifier(
        make_backbone("test_resnet", num_classes=5, image_size=64), (0.5,) * 3, (0.25,) * 3
    )
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        images = torch.zeros(8, 3, 64, 64, dtype=torch.uint8, device=FAKE)
        assert model.to(FAKE)(images).device.type == "cuda"
