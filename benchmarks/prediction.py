"""What naming a folder of photos costs, beside timm's own inference loop.

    python benchmarks/prediction.py photos.tar

Both read the same checkpoint folder (the weights are random: they cost the same), the same files, with
the same view, batch size and number of loading processes, in this one process and in turns. Each turn
begins with a path and ends with answers on disk, and starts its own loading processes; the model is
loaded before. timm's loop is that of its `inference.py`: `ImageDataset`, `create_loader`, softmax, top-k
of the leaves, CSV. hypernym's is `predict --out`: paths of the tree of ImageNet-21K-P (11,221 classes,
12 depths), a row a picture in Parquet, by the part.

Below the two stands what each stage of hypernym's takes by itself.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config

from hypernym.checkpoint import Card, save_checkpoint
from hypernym.data.transforms import Preprocessing
from hypernym.hierarchy.rule import Rule
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import build_from_wordnet
from hypernym.models import Classifier, make_backbone
from hypernym.prediction.batches import Views, cut
from hypernym.prediction.gathering import gather
from hypernym.prediction.job import Job, Loading, Wanted
from hypernym.prediction.parts import Parts
from hypernym.prediction.predictor import Predictor, load

if TYPE_CHECKING:
    from collections.abc import Callable

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Print images a second of both, the ratio, and the stages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path, help="a tar of photos")
    parser.add_argument("--model", default="mobilenetv3_small_100")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--copies", type=int, default=5, help="of each photo, as files of their own")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        number = unpack(given.photos, folder / "photos", given.copies)
        make_checkpoint(folder / "checkpoint", given.model, given.size)
        print(
            f"{number} photos, {given.model} at {given.size} px on {given.device}, batches of "
            f"{given.batch_size}, {given.workers} loading processes, {given.threads} threads"
        )
        model = load(folder / "checkpoint", device=given.device)
        ways: dict[str, Callable[[], object]] = {
            "timm's inference loop": make_timm(folder, given),
            "hypernym predict --out": make_ours(model, folder, given),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(given.repeats + 1):  # the first turn warms up
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                if turn:
                    times[name].append(time.perf_counter() - began)
        theirs, ours = times.values()
        for name, own in times.items():
            print(f"{name:24}{number / statistics.median(own):8.0f} images/s")
        ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
        print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        time_stages(model, folder, given.batch_size)


def unpack(tar: Path, folder: Path, copies: int) -> int:
    """Write each photo of a tar several times; return how many files there are."""
    number = 0
    with tarfile.open(tar) as archive:
        for member in archive:
            if data := archive.extractfile(member):
                photo = data.read()
                for copy in range(copies):
                    path = folder / f"class{copy}" / Path(member.name).name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(photo)
                    number += 1
    return number


def make_checkpoint(folder: Path, name: str, size: int) -> None:
    """Write a checkpoint with the tree of ImageNet-21K-P and random weights."""
    table = Path(timm.__file__).parent / "data/_info/imagenet21k_miil_synsets.txt"
    tree = build_from_wordnet(tuple(table.read_text().split()))
    preprocessing = Preprocessing(size, MEAN, STD, "center", "bicubic", 0.875)
    card = Card(tree.ids, tree.ids, tree, preprocessing, Scheme.SEMANTIC, "")
    backbone = make_backbone(name, num_classes=len(tree.ids), image_size=size)
    save_checkpoint(folder, Classifier(backbone, MEAN, STD), card, {"epoch": 0, "step": 0})


def make_timm(folder: Path, given: argparse.Namespace) -> Callable[[], None]:
    """Return timm's way: the loop of its inference.py."""
    name = f"local-dir:{folder / 'checkpoint'}"
    model = timm.create_model(name, pretrained=True).to(given.device).eval()
    view = resolve_data_config(model=model)

    @torch.inference_mode()
    def infer() -> None:
        dataset = create_dataset("", root=folder / "photos")
        loader = create_loader(
            dataset,
            batch_size=given.batch_size,
            use_prefetcher=True,
            num_workers=given.workers,
            device=torch.device(given.device),
            **view,
        )
        rows: list[object] = []
        for images, _ in loader:
            probabilities, labels = model(images).softmax(-1).topk(5)
            rows += zip(labels.cpu().numpy(), probabilities.cpu().numpy(), strict=True)
        names = dataset.filenames(basename=True)
        with (folder / "timm.csv").open("w") as stream:
            csv.writer(stream).writerows(zip(names, rows, strict=True))

    return infer


def make_ours(model: Predictor, folder: Path, given: argparse.Namespace) -> Callable[[], None]:
    """Return hypernym's way: `predict --out`, but for loading the model."""

    def predict() -> None:
        out = folder / "answers.parquet"
        out.unlink(missing_ok=True)
        wanted = Wanted(Rule.PATH, 0.5, answers=True, features=False)
        loading = Loading(given.batch_size, given.workers)
        job = Job(model, wanted, loading, None, lambda *_: None)
        gathered = gather([str(folder / "photos")])
        job.write(gathered, Parts(out, {}, resume=False), out=out, embed=None)

    return predict


def time_stages(model: Predictor, folder: Path, batch_size: int) -> None:
    """Print milliseconds an image of each stage of hypernym's, in this process."""
    views = Views(model.card.preprocessing)
    batches = list(cut(gather([str(folder / "photos")]), batch_size))[:4]
    number = sum(map(len, batches))
    seen = [views[batch] for batch in batches]
    logits = [model.run(batch.images).logits for batch in seen]
    stages: dict[str, Callable[[], object]] = {
        "read and decode": lambda: [
            picture.decode(model.card.preprocessing.size) for batch in batches for picture in batch
        ],
        "the same, and resize": lambda: [views[batch] for batch in batches],
        "model": lambda: [model.run(batch.images).logits.cpu() for batch in seen],
        "path": lambda: [
            list(model.answer(batch, found, rule=Rule.PATH, threshold=0.5))
            for batch, found in zip(seen, logits, strict=True)
        ],
    }
    for name, stage in stages.items():
        spent = []
        for _ in range(3):
            began = time.perf_counter()
            stage()
            spent.append(time.perf_counter() - began)
        print(f"  {name:22}{1000 * min(spent) / number:6.2f} ms an image")
    shutil.rmtree(folder / "photos")


if __name__ == "__main__":
    main()
