from __future__ import annotations

import io
import itertools
import multiprocessing
import pickle
import random
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hypernym.data.dataset import Dataset, open_dataset
from hypernym.data.loader import Batch, make_eval_loader, make_train_loader
from hypernym.data.order import Request, Sharing, Sizes, TrainOrder, balance_rows
from hypernym.data.policies import GREY, OPERATIONS, apply_randaugment, make_policy, shear
from hypernym.data.rows import SplitRows
from hypernym.data.shards import INDEX_ROW, index_path
from hypernym.data.transforms import Augmentation, TrainTransform, draw, draw_crop, to_tensor
from hypernym.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypernym.data.policies import Operation

CPU = torch.device("cpu")
ALL = Augmentation(policy="randaugment", cutout=0.5, erase=0.5)
"""Everything at once."""

PLAIN = Augmentation(view="squash", flip=0.0)
"""Nothing at all."""


def chance_of(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - it draws pictures


def load(
    dataset: Dataset,
    augmentation: Augmentation = ALL,
    *,
    epoch: int = 0,
    first_step: int = 0,
    workers: int = 0,
    **options: Any,  # noqa: ANN401 - those of `make_train_loader`
) -> list[Batch]:
    options = {"size": 32, "batch_size": 12, "seed": 3, "pin": False, **options}
    loader = make_train_loader(SplitRows(dataset, "train"), augmentation, workers=workers, **options)
    return list(loader.batches(epoch, first_step))


def assert_equal(found: Iterable[Batch], expected: Iterable[Batch]) -> None:
    for own, other in zip(found, expected, strict=True):
        for one, two in zip(own, other, strict=True):
            assert (one is None) == (two is None)
            assert one is None or two is None or torch.equal(one, two)


def order_of(num_images: int, *, epoch: int = 0, **options: Any) -> list[Request]:  # noqa: ANN401
    labels = np.zeros(num_images, np.int32)
    order = TrainOrder(labels, Sharing(**options), Sizes(32, 32, 1), balance=0.0, seed=5)
    order.move_to(epoch, 0)
    return list(order)


def decoded(dataset: Dataset, row: int, split: str = "train") -> torch.Tensor:
    jpeg = dataset.reader(split).read(dataset.index(split)[row])
    with Image.open(io.BytesIO(jpeg)) as image:
        return to_tensor(np.array(image))


@pytest.fixture(scope="module")
def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth picture with an edge."""
    y, x = np.mgrid[:48, :48]
    pixels = np.stack([5 * x, 5 * y, 100 + 2 * x - y], axis=2)
    pixels[10:20, 30:40] = 250
    return pixels.astype(np.uint8)


# --- the order ---------------------------------------------------------------------------------


def test_an_epoch_is_the_permutation_of_its_seed_cut_into_steps() -> None:
    for epoch in (0, 4):
        rows = [request.rows for request in order_of(103, epoch=epoch, batch_size=10)]
        expected = np.random.default_rng([5, epoch]).permutation(103)[:100].reshape(10, 10)
        assert np.array_equal(rows, expected)


@given(
    accumulate=st.integers(1, 4),
    world=st.integers(1, 4),
    repeats=st.integers(1, 3),
    factor=st.integers(1, 2),
)
def test_processes_and_parts_share_out_one_and_the_same_order(
    accumulate: int, world: int, repeats: int, factor: int
) -> None:
    batch_size = 12 * factor
    if batch_size % (accumulate * world):
        return
    alone = order_of(100, batch_size=batch_size, repeats=repeats)
    shares = [
        order_of(
            100,
            batch_size=batch_size,
            accumulate=accumulate,
            repeats=repeats,
            rank=rank,
            world=world,
        )
        for rank in range(world)
    ]
    # Step by step and part by part, the processes one after another.
    together = [request for parts in zip(*shares, strict=True) for request in parts]
    for field in ("rows", "repeats"):
        whole = np.concatenate([getattr(request, field) for request in alone])
        assert np.array_equal(np.concatenate([getattr(part, field) for part in together]), whole)


def test_a_batch_that_cannot_be_dealt_out_is_refused_with_the_nearest_that_can() -> None:
    with pytest.raises(UsageError, match=r"130 cannot be .* 4 processes in 2 parts each: give 128"):
        Sharing(130, accumulate=2, world=4)
    with pytest.raises(UsageError, match=r"128 does not hold each image .* 3 times: give 129"):
        Sharing(128, repeats=3)
    with pytest.raises(UsageError, match="give 120"):
        Sharing(128, repeats=3, world=8)
    with pytest.raises(UsageError, match="more than the 8 training images"):
        order_of(8, batch_size=9)


def test_repeats_put_each_image_into_a_step_as_often_and_keep_the_number_of_steps() -> None:
    requests = order_of(100, batch_size=12, repeats=3)
    assert len(requests) == len(order_of(100, batch_size=12)) == 8
    for request in requests:
        pairs = set(zip(request.rows.tolist(), request.repeats.tolist(), strict=True))
        assert len(pairs) == 12
        assert np.unique(request.rows, return_counts=True)[1].tolist() == [3] * 4
    assert len(np.unique([request.rows for request in requests])) == 32


def test_repeats_of_an_image_go_to_different_processes() -> None:
    shares = [order_of(24, batch_size=12, repeats=3, rank=rank, world=3) for rank in range(3)]
    for parts in zip(*shares, strict=True):
        assert all(np.array_equal(part.rows, parts[0].rows) for part in parts)
        assert [set(part.repeats.tolist()) for part in parts] == [{0}, {1}, {2}]


@given(
    images_C=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any),
    count=st.integers(1, 300),
    balance=st.floats(0.01, 1),
    seed=st.integers(0, 99),
)
def test_classes_are_drawn_in_proportion_and_their_images_evenly(
    images_C: list[int], count: int, balance: float, seed: int
) -> None:
    labels_N = np.repeat(np.arange(len(images_C)), images_C).astype(np.int32)
    labels_N = np.random.default_rng(seed).permutation(labels_N)
    rows = balance_rows(labels_N, count, balance, np.random.default_rng(seed))
    assert len(rows) == count
    shares_C = np.array([images ** (1 - balance) if images else 0.0 for images in images_C])
    drawn_N = np.bincount(rows, minlength=len(labels_N))
    for label, share in enumerate(shares_C / shares_C.sum()):
        drawn = drawn_N[labels_N == label]
        assert abs(drawn.sum() - share * count) < 1 + 1e-6
        assert not len(drawn) or drawn.max() - drawn.min() <= 1


def test_balanced_batches_differ_by_epoch_and_mix_classes(dataset: Dataset) -> None:
    batches = load(dataset, PLAIN, balance=1.0, size=8)
    labels = torch.cat([batch.labels for batch in batches])
    assert torch.bincount(labels).max() - torch.bincount(labels).min() <= 1
    assert all(len(set(batch.labels.tolist())) > 3 for batch in batches)
    other = load(dataset, PLAIN, balance=1.0, size=8, epoch=1)
    assert not torch.equal(batches[0].rows, other[0].rows)


def test_the_size_grows_evenly_in_steps_of_sixteen_to_the_last_epoch() -> None:
    sizes = Sizes(100, 220, 5)
    assert [sizes.size_of(epoch) for epoch in range(5)] == [96, 128, 160, 192, 220]
    assert Sizes(8, 32, 1).size_of(0) == 32
    assert [Sizes(8, 32, 2).size_of(epoch) for epoch in range(2)] == [16, 32]
    with pytest.raises(UsageError, match="first-size 48 is above"):
        Sizes(48, 32, 3)


def test_batches_of_an_epoch_have_its_size(dataset: Dataset) -> None:
    loader = make_train_loader(
        SplitRows(dataset, "train"),
        ALL,
        size=48,
        first_size=16,
        epochs=3,
        batch_size=8,
        seed=0,
        workers=1,
        pin=False,
    )
    for epoch, size in enumerate((16, 32, 48)):  # persistent processes: they are told the epoch
        assert {batch.images.shape for batch in loader.batches(epoch, 0)} == {(8, 3, size, size)}


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["randaugment", "rand-m9-mstd0.5-inc1"])
def test_the_number_of_loading_processes_changes_no_pixel(dataset: Dataset, policy: str) -> None:
    augmentation = replace(ALL, policy=policy)
    assert_equal(load(dataset, augmentation, workers=2), load(dataset, augmentation))


def test_the_number_of_processes_and_parts_changes_no_pixel(dataset: Dataset) -> None:
    alone = load(dataset)
    for world, accumulate in ((2, 1), (3, 1), (1, 3), (2, 2)):
        shares = [load(dataset, rank=rank, world=world, accumulate=accumulate) for rank in range(world)]
        together = itertools.chain.from_iterable(zip(*shares, strict=True))
        parts = world * accumulate
        for whole, *batches in zip(alone, *[iter(together)] * parts, strict=True):
            assert torch.equal(torch.cat([batch.images for batch in batches]), whole.images)
            assert torch.equal(torch.cat([batch.rows for batch in batches]), whole.rows)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_from_any_step(dataset: Dataset, workers: int) -> None:
    loader = make_train_loader(
        SplitRows(dataset, "train"),
        ALL,
        size=32,
        batch_size=12,
        accumulate=2,
        seed=3,
        workers=workers,
        pin=False,
    )
    whole = list(loader.batches(2, 0))
    assert len(whole) == 2 * loader.steps_per_epoch
    next(loader.batches(1, 0))  # left behind in its middle
    assert_equal(loader.batches(2, 3), whole[6:])


def test_a_batch_names_the_rows_and_labels_of_its_pictures(dataset: Dataset) -> None:
    for batch in load(dataset, PLAIN):
        assert batch.images.dtype == torch.uint8
        assert batch.labels.dtype == batch.rows.dtype == torch.int64
        assert batch.present is None
        assert batch.labels.tolist() == dataset.index("train")[batch.rows.numpy()]["label"].tolist()
        for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
            assert torch.equal(image, decoded(dataset, row))


def test_augmentation_differs_between_images_epochs_and_repeats(dataset: Dataset) -> None:
    augmentation = replace(PLAIN, cutout=0.5)
    pictures: dict[int, list[torch.Tensor]] = {}
    for epoch in range(2):
        for batch in load(dataset, augmentation, epoch=epoch, repeats=2):
            for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
                pictures.setdefault(row, []).append(image)
    assert any(len(images) == 4 for images in pictures.values())
    for images in pictures.values():
        assert not any(torch.equal(one, two) for one, two in itertools.combinations(images, 2))
    holes = {draw(augmentation, chance_of(text), 32, 32, 32).hole for text in "abcdef"}
    assert len(holes) == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_all_labels_of_an_image_are_told_where_it_has_several(several: Dataset, workers: int) -> None:
    table = several.labels("train")
    for batch in load(several, PLAIN, workers=workers):
        assert batch.present is not None
        assert batch.present.shape == (12, 3)
        for row, label, present in zip(batch.rows, batch.labels, batch.present, strict=True):
            expected = table["label"][table["row"] == int(row)]
            assert present.nonzero().flatten().tolist() == sorted(expected.tolist())
            assert present[label]


def test_evaluation_deals_out_whole_batches(several: Dataset) -> None:
    def batches(**share: int) -> list[Batch]:
        loader = make_eval_loader(
            SplitRows(several, "train"), lambda image: image, batch_size=4, workers=0, pin=False, **share
        )
        return list(loader)

    alone = batches()
    assert torch.cat([batch.rows for batch in alone]).tolist() == list(
        range(len(several.index("train")))
    )
    assert all(len(batch.rows) == 4 for batch in alone[:-1])
    assert all(batch.present is not None for batch in alone)
    for rank in range(3):
        assert_equal(batches(rank=rank, world=3), alone[rank::3])
    assert batches(rank=50, world=51) == []


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("device", [None, CPU])
def test_a_damaged_image_stops_with_its_shard_and_place(
    dataset: Dataset, tmp_path: Path, workers: int, device: torch.device | None
) -> None:
    folder = shutil.copytree(dataset.path, tmp_path / "dataset")
    entry = dataset.index("train")[7]
    with (folder / "train" / "000000.tar").open("r+b") as stream:
        stream.seek(int(entry["offset"]) + 100)
        stream.write(b"damaged")
    with pytest.raises(DatasetError) as told:
        load(open_dataset(folder), PLAIN, workers=workers, device=device)
    assert str(told.value).startswith(f"{folder / 'train' / '000000.tar'} is damaged at byte")
    assert str(int(entry["offset"])) in str(told.value)
    assert "Traceback" not in str(told.value)


def test_what_is_stored_and_is_no_picture_stops_with_its_place(dataset: Dataset, tmp_path: Path) -> None:
    folder = shutil.copytree(dataset.path, tmp_path / "dataset")
    index = np.load(folder / "train.index.npy")
    index[7]["crc32"] = zlib.crc32(b"")
    index[7]["size"] = 0
    np.save(folder / "train.index.npy", index)
    with pytest.raises(DatasetError, match=rf"byte {index[7]['offset']} that cannot be decoded"):
        load(open_dataset(folder), PLAIN)


# --- augmentation ------------------------------------------------------------------------------


def states() -> tuple[object, ...]:
    numpy: Any = np.random.get_state()  # noqa: NPY002 - it must not change
    return random.getstate(), numpy[1].tobytes(), numpy[2], torch.get_rng_state().tolist()


@pytest.mark.parametrize(
    "policy", ["", "randaugment", "rand-m9-mstd0.5-inc1", "augmix-m5-w3", "original", "v0", "3a"]
)
def test_a_policy_is_drawn_from_the_seed_alone_and_disturbs_nobody(
    dataset: Dataset, policy: str
) -> None:
    augmentation = Augmentation(policy=policy, cutout=0.2, erase=0.5)
    before = states()
    first = load(dataset, augmentation)
    assert states() == before
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - timm draws from it
    torch.manual_seed(1)
    assert_equal(load(dataset, augmentation), first)
    if policy:
        unchanged = load(dataset, replace(augmentation, policy=""))
        assert not torch.equal(unchanged[0].images, first[0].images)


@pytest.mark.parametrize(
    ("policy", "hint"),
    [("randaugmnt", "'randaugment'"), ("augmax-m5", "'augmix'"), ("rand-z5", "timm cannot make")],
)
def test_an_unknown_policy_is_refused_at_once_with_the_nearest(
    dataset: Dataset, policy: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        load(dataset, Augmentation(policy=policy), workers=2)


@pytest.mark.parametrize("factor", [0.3, -0.3, 4 / 30, -1 / 30, 0.0])
def test_shearing_is_bilinear(picture: np.ndarray[Any, np.dtype[np.uint8]], factor: float) -> None:
    image = Image.fromarray(picture)
    oracle = image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1, factor, 0, 0, 1, 0),
        Image.Resampling.BILINEAR,
        fillcolor=GREY,
    )
    error = np.abs(np.asarray(shear(image, factor)).astype(int) - np.asarray(oracle)).max(axis=2)
    # At the edge of what came in, Pillow does not mix.
    assert (error > 2).sum() <= image.height


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_of_randaugment_changes_the_picture_and_not_its_size(
    picture: np.ndarray[Any, np.dtype[np.uint8]],
    operation: Operation,
    level: int,
) -> None:
    image = Image.fromarray(picture)
    changed = operation(image, level, chance_of(2))
    assert changed.size == image.size
    assert changed.mode == "RGB"
    assert np.array_equal(np.asarray(image), picture)
    if level == 9:
        assert not np.array_equal(np.asarray(changed), picture)


def test_randaugment_leaves_a_quarter_of_the_pictures_alone(
    picture: np.ndarray[Any, np.dtype[np.uint8]],
) -> None:
    chance = chance_of(0)
    alone = sum(apply_randaugment(picture, chance) is picture for _ in range(1000))
    assert 200 < alone < 300


def test_cutout_paints_one_square_in_one_color(dataset: Dataset) -> None:
    clipped = 0
    for batch in load(dataset, replace(PLAIN, cutout=0.5)):
        for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
            changed = (image != decoded(dataset, row)).any(dim=0).nonzero()
            (top, left), (bottom, right) = changed.amin(0).tolist(), (changed.amax(0) + 1).tolist()
            assert bottom - top <= 16 >= right - left
            # What has the color already does not change: at most a row or a column at an edge.
            whole = (bottom - top, right - left) == (16, 16)
            at_edge = top == 0 or left == 0 or bottom == 32 or right == 32
            assert whole or at_edge or min(bottom - top, right - left) >= 15
            clipped += at_edge
            hole = image[:, top:bottom, left:right]
            assert torch.equal(hole, hole[:, :1, :1].expand_as(hole))
    assert clipped


def test_erasing_turns_a_rectangle_to_noise_as_often_as_told(dataset: Dataset) -> None:
    erased = 0
    batches = load(dataset, replace(PLAIN, erase=0.25))
    for batch in batches:
        for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
            changed = (image != decoded(dataset, row)).any(dim=0).nonzero()
            if not len(changed):
                continue
            erased += 1
            (top, left), (bottom, right) = changed.amin(0).tolist(), (changed.amax(0) + 1).tolist()
            assert len(changed) > 0.95 * (bottom - top) * (right - left)
            assert 0.01 < (bottom - top) * (right - left) / 32**2 < 0.4
    assert 0.15 < erased / sum(len(batch.rows) for batch in batches) < 0.35


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    min_scale=st.floats(0.01, 1),
    seed=st.integers(0, 2**32),
)
def test_a_crop_lies_in_the_picture(height: int, width: int, min_scale: float, seed: int) -> None:
    top, left, bottom, right = draw_crop(chance_of(seed), height, width, min_scale)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width


def test_crops_keep_at_least_the_least_share_and_reach_everywhere() -> None:
    chance = chance_of(0)
    boxes = [draw_crop(chance, 224, 224, 0.25) for _ in range(2000)]
    shares = [(box.bottom - box.top) * (box.right - box.left) / 224**2 for box in boxes]
    assert min(shares) > 0.24
    assert 0.5 < np.mean(shares) < 0.65
    assert min(box.top for box in boxes) == min(box.left for box in boxes) == 0
    assert max(box.bottom for box in boxes) == max(box.right for box in boxes) == 224


@pytest.mark.parametrize("view", ["crop", "squash"])
def test_a_view_has_the_pixels_of_its_part_mirrored_as_often_as_told(
    picture: np.ndarray[Any, np.dtype[np.uint8]],
    view: Any,  # noqa: ANN401
) -> None:
    augmentation = Augmentation(view=view, flip=0.5)
    transform = TrainTransform(augmentation, 24)
    mirrored = 0
    for seed in range(60):
        drawn = draw(augmentation, chance_of(seed), 48, 48, 24)
        image_HWC = torch.empty(24, 24, 3, dtype=torch.uint8)
        transform.write(picture, chance_of(seed), image_HWC)
        top, left, bottom, right = drawn.view
        oracle = Image.fromarray(picture[top:bottom, left:right])
        pixels = np.asarray(oracle.resize((24, 24), Image.Resampling.BICUBIC)).astype(int)
        expected = pixels[:, ::-1] if drawn.mirrored else pixels
        mirrored += drawn.mirrored
        assert np.abs(image_HWC.numpy() - expected).max() <= 2
    assert 20 < mirrored < 40


# --- on a device -------------------------------------------------------------------------------


def test_a_device_draws_the_same_and_shows_nearly_the_same(several: Dataset) -> None:
    augmentation = Augmentation(cutout=0.3, erase=0.5)
    here = load(several, augmentation, size=24)
    there = load(several, augmentation, size=24, device=CPU, workers=1)
    for own, other in zip(here, there, strict=True):
        assert torch.equal(own.labels, other.labels)
        assert torch.equal(own.rows, other.rows)
        assert other.images.dtype == torch.uint8
        assert own.images.stride() == other.images.stride()
        assert (own.images.int() - other.images.int()).abs().float().mean() < 1
    assert_equal(load(several, augmentation, size=24, device=CPU), there)


def test_a_policy_on_a_device_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="randaugment works in the loading processes only"):
        load(dataset, device=CPU)


# --- large datasets ----------------------------------------------------------------------------


@pytest.fixture
def large(dataset: Dataset, tmp_path: Path) -> Dataset:
    """An index of three million rows over the shards of the drawn world."""
    shutil.copy(dataset.path / "dataset.json", tmp_path)
    (tmp_path / "train").symlink_to(dataset.path / "train")
    small, rows = dataset.index("train"), 3_000_000
    path = index_path(tmp_path, "train")
    index = np.lib.format.open_memmap(path, "w+", INDEX_ROW, (rows,), version=(1, 0))
    for first in range(0, rows, len(small)):
        index[first : first + len(small)] = small[: rows - first]
    return replace(dataset, path=tmp_path)


def test_nothing_that_grows_with_the_dataset_is_sent_or_copied(large: Dataset) -> None:
    before = set(multiprocessing.active_children())
    loader = make_train_loader(
        SplitRows(large, "train"), PLAIN, size=32, batch_size=8, seed=0, workers=1, pin=False
    )
    batches = loader.batches(0, 0)
    first = next(batches)
    (process,) = set(multiprocessing.active_children()) - before
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    assert own < 60_000  # kB; the index has 72 MB, and its order 24
    # A process that is not forked gets a pickled copy.
    sent = pickle.dumps(loader.loader.dataset)
    assert len(sent) < 2000
    request = next(iter(loader.order))
    assert_equal([pickle.loads(sent)[request]], [first])  # noqa: S301 - our own


def test_no_policy_is_made_of_an_empty_name() -> None:
    assert make_policy("", 32) is None
