"""A server in a thread of the tests, and pictures to send to it."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch

from hypernym.checkpoint import Card, find_checkpoint, read_architecture, save_checkpoint
from hypernym.data.transforms import Preprocessing
from hypernym.hierarchy.rule import Rule
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import Tree
from hypernym.models import Classifier
from hypernym.prediction.predictor import load
from hypernym.serving.app import make_app
from hypernym.serving.examples import make_examples
from hypernym.serving.models import ServedModel
from hypernym.serving.schema import Defaults, Limits
from hypernym.serving.server import address_of, make_server, open_socket
from hypernym.serving.service import Service
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

OWL = "n01621127"
LIMITS = {"max_bytes": 1 << 20, "max_pixels": 1_000_000, "max_pictures": 16}


def draw_bytes(class_id: str = OWL, *, seed: int = 0, size: int = 64, form: str = "JPEG") -> bytes:
    """Return a file with a drawn picture."""
    stream = io.BytesIO()
    draw(class_id, size, np.random.default_rng(seed)).save(stream, form)
    return stream.getvalue()


def make_service(runs: Mapping[str, Path], **limits: int) -> Service:
    """Return a service of runs by name; `limits` replace some of `LIMITS`."""
    bounds = Limits(**{**LIMITS, **limits})
    models = []
    for name, run in runs.items():
        model = ServedModel(name, load(run, device="cpu"), batch_size=8)
        models.append((model, model.describe(read_architecture(find_checkpoint(run)))))
    return Service(
        models,
        make_examples(None, models[0][0].directory.ids, bounds),
        defaults=Defaults(rule=Rule.PATH, threshold=0.5),
        limits=bounds,
        threads=2,
    )


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Serve on a free port of the loopback address; give the address."""
    with open_socket("127.0.0.1", 0) as listening:
        server = make_server(make_app(service), ["box.example"])
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield address_of(listening)
        finally:
            server.should_exit = True
            thread.join()


def save_untrained(out: Path, names: Sequence[str], parents: Sequence[int], seed: int) -> Path:
    """Save a model that was never trained, over classes with these names and parents."""
    ids = tuple(f"class-{label:03d}" for label in range(len(names)))
    torch.manual_seed(seed)
    backbone = timm.create_model("test_resnet", num_classes=len(ids))
    torch.nn.init.normal_(backbone.get_classifier().weight, std=0.3)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    card = Card(
        ids,
        tuple(names),
        Tree(ids, tuple(parents), "by hand", "none"),
        Preprocessing(32, mean, std, "squash"),
        Scheme.SEMANTIC,
        "none",
    )
    save_checkpoint(out, Classifier(backbone, mean, std), card, {})
    return out
