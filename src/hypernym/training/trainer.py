"""Steps, and all of their state beside the weights.

Every step seeds torch from (seed, step, rank): what is drawn in it depends on nothing before, so that no
random state is ever saved.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hypernym.data.loader import derive_seed
from hypernym.distributed import World, add_up, share_buffers
from hypernym.errors import DivergenceError, UsageError
from hypernym.inference import autocast
from hypernym.training.mixing import Mixing
from hypernym.training.optimizer import is_fused, lr_of, make_optimizer, make_schedule
from hypernym.training.options import Precision
from hypernym.training.watch import StepRecord, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from hypernym.data.loader import Batch
    from hypernym.models import Classifier
    from hypernym.training.config import TrainConfig
    from hypernym.training.task import Task

GRADIENT_NORM, STOP, LATE = "gradient_norm", "stop", "late"

MOST_BAD_STEPS = 50
"""Steps in a row whose fp16 gradients may overflow, each halving the scale, before it is no accident."""


class Stateful(Protocol):
    """What a resumed run restores."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore them."""


class Trainer:
    """A task on its device, with optimizer, schedule, scaler and the running mean of the weights."""

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        device: torch.device,
        world: World,
        *,
        num_steps: int,
        image_size: int,
    ) -> None:
        self._task = task
        self._config = config
        self._device = device
        self._world = world
        self._precision = resolve_precision(config.precision, device)
        self._classifier = task.classifier
        self._place_model()
        self._average = ModelEmaV3(self._classifier, config.ema, use_warmup=True) if config.ema else None
        self._model = self._wrap_model(image_size)
        task.forward_model = self._model
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision == torch.float16)
        self._optimizer = make_optimizer(
            self._classifier.backbone, config.optim, device, scaled=self._scaler.is_enabled()
        )
        self._schedule = make_schedule(self._optimizer, config.schedule, config.optim.lr, num_steps)
        self._mixing = Mixing(config.augment, _num_outputs(self._classifier))
        self._watch = Watch(device)
        # A scaler leaves out an update that is not finite, and so does a fused optimizer when told;
        # with any other one the host has to know before.
        self._fused = is_fused(self._optimizer)
        self._bad_steps = 0
        self.steps_done = 0

    @property
    def measured(self) -> Classifier:
        """The model that is measured and saved: the running mean of the weights, if there is one."""
        if self._average is None:
            return self._classifier
        averaged: Classifier = self._average.module
        return averaged

    def take_step(
        self, parts: Sequence[Batch], *, stop: bool = False, late: bool = False
    ) -> list[StepRecord]:
        """Forward, backward, update, on the parts of a batch; return what is known by now.

        Args:
            parts: This process's share of the batch, in equal parts.
            stop: This process was asked to stop, and
            late: to save: all processes hear of both in the records.

        Raises:
            DivergenceError: loss or gradient is not finite, on any process; nothing was updated.
        """
        torch.manual_seed(derive_seed(self._config.seed, self.steps_done, self._world.rank))
        self._classifier.train()
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        for left, batch in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            with self._keep_to_ourselves() if left else nullcontext():
                losses = self._descend(batch, len(parts))
            sums = {name: sums.get(name, 0) + losses[name] for name in losses}
        norm = self._clip()
        lr = lr_of(self._optimizer)
        # made on the host and sent along: to make them there would wait for the device
        flags = torch.tensor([float(stop), float(late)]).to(self._device, non_blocking=True)
        shares = [loss / (len(parts) * self._world.size) for loss in sums.values()]
        ours = torch.cat([torch.stack(shares), flags])
        values = torch.cat([add_up(self._world, ours), norm.reshape(1)])
        rows = torch.cat([batch.rows for batch in parts])
        named = dict.fromkeys([*sums, STOP, LATE, GRADIENT_NORM], 0.0)
        self._watch.put(StepRecord(self.steps_done + 1, lr, rows, named), values)
        records = [] if self._leaves_out_bad_updates else self.catch_up()
        self._update(values)
        self.steps_done += 1
        return [*records, *self._read(everything=False)]

    def catch_up(self) -> list[StepRecord]:
        """Return all records that are not read yet; waits for the device."""
        return self._read(everything=True)

    def prepare_to_measure(self) -> None:
        """Give all processes the same model to measure."""
        share_buffers(self._world, self.measured)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, beside the weights that are measured."""
        state = {name: part.state_dict() for name, part in self._stateful().items()}
        if self._average is not None:
            state["weights"] = self._classifier.backbone.state_dict()
        return {"steps_done": self.steps_done, **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, when the measured weights have been loaded."""
        # Of this device, not of the one that the run was saved on; before it is loaded, for it decides
        # where the optimizer keeps its number of steps.
        groups = zip(state["optimizer"]["param_groups"], self._optimizer.param_groups, strict=True)
        for saved, own in groups:
            if "fused" in saved:
                saved["fused"] = own.get("fused")
        for name, part in self._stateful().items():
            if state[name]:  # a scaler that was off has no state
                part.load_state_dict(state[name])
        if self._average is not None:
            self._classifier.backbone.load_state_dict(state["weights"])
        self.steps_done = state["steps_done"]

    @property
    def _leaves_out_bad_updates(self) -> bool:
        return self._scaler.is_enabled() or self._fused

    def _descend(self, batch: Batch, num_parts: int) -> dict[str, torch.Tensor]:
        """Add the gradient of a part of the batch; return its losses."""
        images = batch.images.to(self._device, non_blocking=True)
        if not self._config.channels_last:
            images = images.contiguous()
        targets = batch.labels if batch.present is None else batch.present
        images, targets = self._mixing(images, targets.to(self._device, non_blocking=True))
        with autocast(self._device, self._precision):
            losses = self._task.losses(images, targets, batch.rows)
        torch.autograd.backward(self._scaler.scale(losses["loss"] / num_parts))
        return {name: loss.detach().float() for name, loss in losses.items()}

    def _clip(self) -> torch.Tensor:
        self._scaler.unscale_(self._optimizer)
        parameters = list(self._classifier.parameters())
        norm = get_total_norm([each.grad for each in parameters if each.grad is not None])
        if self._config.optim.clip_norm:
            clip_grads_with_norm_(parameters, self._config.optim.clip_norm, norm)
        return norm

    def _update(self, values: torch.Tensor) -> None:
        if self._scaler.is_enabled():
            self._scaler.step(self._optimizer)
            self._scaler.update()
        elif self._fused:
            # What torch's own scaler does: the kernel looks at the flag, the host need not.
            self._optimizer.grad_scale = None  # type: ignore[attr-defined]
            self._optimizer.found_inf = (~values.isfinite().all()).float()  # type: ignore[attr-defined]
            self._optimizer.step()
        else:
            self._optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update(self._classifier, step=self.steps_done + 1)

    def _read(self, *, everything: bool) -> list[StepRecord]:
        return [self._check(record) for record in self._watch.take(everything=everything)]

    def _check(self, record: StepRecord) -> StepRecord:
        for name, value in record.values.items():
            # a scaler meets such gradients in the ordinary course of things, and lowers its scale
            if not (math.isfinite(value) or (name == GRADIENT_NORM and self._scaler.is_enabled())):
                what = name.replace("_", " ")
                raise DivergenceError(
                    f"the {what} became {value} at step {record.step}: begin a new run with a lower "
                    f"--optim.lr (now {self._config.optim.lr:g}) or --precision float32. Checkpoints "
                    f"from before it are good.",
                    record.step,
                    record.rows.tolist(),
                )
        finite = math.isfinite(record.values[GRADIENT_NORM])
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if self._bad_steps == MOST_BAD_STEPS:
            raise DivergenceError(
                f"no gradient of the last {MOST_BAD_STEPS} steps was finite, at step {record.step}: "
                f"begin a new run with --precision float32 or bf16, or a lower --optim.lr.",
                record.step,
                record.rows.tolist(),
            )
        return record

    def _place_model(self) -> None:
        """Bring the model to its device, in the form that it is trained in."""
        config, backbone = self._config, self._classifier.backbone
        if config.sync_batchnorm and self._world.size > 1:
            if self._device.type != "cuda":
                raise UsageError("--sync-batchnorm needs GPUs: torch has it for no other device.")
            self._classifier.backbone = convert_sync_batchnorm(backbone)
        self._classifier.to(self._device)
        if config.channels_last:
            self._classifier.to(memory_format=torch.channels_last)
        if config.checkpoint_gradients:
            try:
                self._classifier.backbone.set_grad_checkpointing(enable=True)  # type: ignore[operator]
            except (AttributeError, AssertionError, RuntimeError) as cause:
                raise UsageError(
                    f"--checkpoint-gradients: {config.model} cannot do that ({cause})."
                ) from cause

    def _wrap_model(self, image_size: int) -> nn.Module:
        """Return what the forward pass runs through."""
        model: nn.Module = self._classifier
        if self._world.size > 1:
            ids = [self._device.index] if self._device.type == "cuda" else None
            idle = self._settle_buckets(DistributedDataParallel(model, device_ids=ids), image_size, 1)
            model = DistributedDataParallel(
                model, device_ids=ids, gradient_as_bucket_view=True, find_unused_parameters=idle
            )
            self._settle_buckets(model, image_size, 2)
        if self._config.compile:
            compiled: nn.Module = torch.compile(model)  # type: ignore[assignment]
            return compiled
        return model

    def _settle_buckets(self, model: nn.Module, image_size: int, passes: int) -> bool:
        """Let DDP sort its buckets before the first step; tell whether some parameters get no gradient.

        It does so after its first backward pass. With three processes or more the order of a sum
        depends on the place in a bucket, so that the first step of a resumed run would differ in its
        last bits from the same step of a run that was not stopped.
        """
        buffers = [buffer.clone() for buffer in model.buffers()]
        images = torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8, device=self._device)
        for _ in range(passes):
            model(images).sum().backward()
        is_idle = [parameter.grad is None for parameter in model.parameters() if parameter.requires_grad]
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        for parameter in model.parameters():
            parameter.grad = None
        return any(is_idle)

    def _keep_to_ourselves(self) -> AbstractContextManager[Any]:
        """Add up gradients without summing them over the processes yet."""
        ddp = getattr(self._model, "_orig_mod", self._model)
        return ddp.no_sync() if isinstance(ddp, DistributedDataParallel) else nullcontext()

    def _stateful(self) -> dict[str, Stateful]:
        return {
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "scaler": self._scaler,
        }


def resolve_precision_of_answers(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format in which a model is measured during training and a teacher asked.

    On a GPU it is that of training, which is several times faster than float32; on a CPU exactness is
    worth more. `evaluate` measures in float32 everywhere.
    """
    return resolve_precision(precision, device) if device.type == "cuda" else torch.float32


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the forward pass."""
    match precision:
        case Precision.FLOAT32:
            return torch.float32
        case Precision.BF16:
            return torch.bfloat16
        case Precision.FP16:
            return torch.float16
        case Precision.AUTO if device.type != "cuda":
            return torch.float32
        case Precision.AUTO:
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if has_bf16 else torch.float16


@contextmanager
def told_what_to_try(config: TrainConfig, world: World) -> Iterator[None]:
    """Turn a lack of memory into advice.

    Raises:
        UsageError: the device has too little memory for the batch.
    """
    try:
        yield
    except torch.OutOfMemoryError as cause:
        a_part = config.batch_size // (world.size * config.accumulate)
        saves = "" if config.checkpoint_gradients else "; --checkpoint-gradients saves memory too"
        raise UsageError(
            f"there is too little memory for {a_part} images at a time: try "
            f"{' or '.join(_smaller_steps(config, world))}{saves}."
        ) from cause


def _smaller_steps(config: TrainConfig, world: World) -> list[str]:
    """Return what makes a step smaller, of what the loader can deal out (`data.order.Sharing`)."""
    ways = []
    share = config.batch_size // world.size
    if share > config.accumulate:
        least = 2 * config.accumulate
        parts = next(parts for parts in range(least, share + 1) if share % parts == 0)
        ways.append(f"--accumulate {parts}, which takes the same step in parts of {share // parts},")
    unit = math.lcm(world.size * config.accumulate, config.augment.repeats)
    if half := config.batch_size // 2 // unit * unit:
        ways.append(f"--batch-size {half}")
    return ways or ["a smaller --image-size", "another --model"]


def _num_outputs(classifier: Classifier) -> int:
    num_classes: int = classifier.backbone.num_classes  # type: ignore[assignment]
    return num_classes
