"""What `compare` works out of runs: intervals, tests, places, lines, costs, and the runs of a plan."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from compared_runs import (
    NUM_IMAGES,
    pretraining_options,
    right_about,
    write_dataset,
    write_pretraining,
    write_transfer,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.metrics import average_precision_score

from hypernym.comparison.answers import RankedAnswers, SeveralAnswers, draw_precision
from hypernym.comparison.comparison import Comparison, make_comparison
from hypernym.comparison.exports import to_csv, to_json, to_markdown
from hypernym.comparison.placement import place_runs
from hypernym.comparison.plan import Plan, PlannedPretraining, PlannedTransfer, read_plan
from hypernym.comparison.runs import Pretraining, read_run
from hypernym.comparison.statistics import (
    compare_means,
    compare_seeds,
    correct_for_many,
    make_interval,
)
from hypernym.comparison.words import draw_text, tell_wins
from hypernym.downstream.config import RecipeName, TransferConfig
from hypernym.errors import HypernymError, MismatchError, RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hypernym.comparison.verdicts import Pair

shares = st.floats(0, 1, allow_subnormal=False)


def compare_folders(folders: Iterable[Path]) -> Comparison:
    return make_comparison(place_runs([read_run(folder) for folder in folders]))


def pair_of(found: Comparison, column: str, *schemes: str) -> Pair:
    (pair,) = [
        pair
        for pair in found.pairs
        if pair.column == column and {pair.better, pair.worse} == set(schemes)
    ]
    return pair


# --- statistics ---------------------------------------------------------------------------------


@given(st.lists(shares, min_size=2, max_size=6))
def test_an_interval_is_that_of_students_t(values: list[float]) -> None:
    found = make_interval(values)
    scale = stats.sem(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, len(values) - 1) * scale, abs=1e-12)


def test_one_seed_has_no_interval() -> None:
    assert make_interval([0.5]).half_width is None


@given(st.lists(st.tuples(shares, shares), min_size=3, max_size=6))
def test_seeds_are_compared_by_a_paired_t_test(values: list[tuple[float, float]]) -> None:
    first, second = (dict(enumerate(scores)) for scores in zip(*values, strict=True))
    if np.ptp(np.subtract(*zip(*values, strict=True))) < 1e-6:
        return
    found = compare_seeds({**first, 98: 0.9}, {**second, 99: 0.1})
    oracle = stats.ttest_rel(list(first.values()), list(second.values()))
    assert found is not None
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low > 0 or found.high < 0) == (oracle.pvalue < 0.05)


def test_differences_that_no_seed_moves_say_nothing() -> None:
    found = compare_seeds({0: 0.7, 1: 0.8, 2: 0.9}, {0: 0.6, 1: 0.7, 2: 0.8})
    assert found is not None
    assert found.p == 1


def test_one_shared_seed_cannot_be_tested() -> None:
    assert compare_seeds({0: 0.7, 1: 0.8}, {1: 0.6, 2: 0.5}) is None


def test_a_resampled_mean_is_that_of_a_loop_over_images() -> None:
    random = np.random.default_rng(1)
    differences_M = random.choice([-1 / 3, 0, 1 / 3, 2 / 3], size=150, p=[0.2, 0.5, 0.2, 0.1])
    found = compare_means(differences_M)
    loop = [random.choice(differences_M, 150).mean() for _ in range(4000)]
    low, high = np.quantile(loop, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert found.p == pytest.approx(2 * np.mean(np.array(loop) <= 0), abs=0.01)


@given(st.lists(shares, min_size=1, max_size=8))
def test_many_comparisons_are_corrected_by_holm(p_values: list[float]) -> None:
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        steps = [min(1, (len(p_values) - step) * p_values[order[step]]) for step in range(rank + 1)]
        assert correct_for_many(p_values)[place] == pytest.approx(max(steps))


@given(
    arrays.arrays(np.float32, (12, 3), elements=st.sampled_from([0, 0.25, 0.5, 0.75, 1])),
    arrays.arrays(np.bool_, (12, 3)),
    arrays.arrays(np.int64, 12, elements=st.integers(0, 3)),
)
def test_weighted_average_precision_is_that_of_repeated_images(
    scores_MK: np.ndarray[Any, Any], present_MK: np.ndarray[Any, Any], weights_M: np.ndarray[Any, Any]
) -> None:
    found = RankedAnswers(SeveralAnswers(scores_MK, present_MK)).score(weights_M)
    scores, present = (np.repeat(array, weights_M, axis=0) for array in (scores_MK, present_MK))
    having = present.any(axis=0) if len(present) else np.zeros(3, bool)
    oracle = [
        average_precision_score(present[:, place], scores[:, place]) for place in np.flatnonzero(having)
    ]
    assert found == pytest.approx(np.mean(oracle) if oracle else 0)


def test_precision_of_resampled_images_is_that_of_a_loop(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    present_MK = random.random((60, 3)) < 0.4
    scores_MK = (present_MK + random.standard_normal((60, 3))).astype(np.float32)
    write_transfer(tmp_path, "semantic", 0, scores_MK=scores_MK, present_MK=present_MK, score=0.5)
    found = draw_precision(tmp_path, 0)
    loop = []
    for _ in range(150):
        rows = random.integers(0, 60, 60)
        loop.append(average_precision_score(present_MK[rows], scores_MK[rows], average="macro"))
    assert np.mean(found) == pytest.approx(np.mean(loop), abs=0.015)
    assert np.std(found) == pytest.approx(np.std(loop), rel=0.2)


# --- what is real -------------------------------------------------------------------------------


def write_column(
    folder: Path,
    shares: dict[str, list[float]],
    *,
    noise: float = 0.05,
    **options: Any,  # noqa: ANN401
) -> list[Path]:
    """Write a transfer for each scheme and each share of images that it is right about."""
    return [
        write_transfer(
            folder / f"{options.get('dataset', '')}-{scheme}-{seed}".replace("/", "-"),
            scheme,
            seed,
            right_about(share, seed, noise=noise),
            **options,
        )
        for scheme, of_scheme in shares.items()
        for seed, share in enumerate(of_scheme)
    ]


def test_a_difference_that_holds_over_seeds_and_images_is_bold(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72, 0.71], "single-label": [0.5, 0.51, 0.5]}
    found = compare_folders(write_column(tmp_path, shares))
    pair = pair_of(found, "cifar linear", "semantic", "single-label")
    assert pair.is_real
    assert pair.better == "semantic"
    assert found.best == {"cifar linear": "semantic"}
    assert "**" in to_markdown(found, "title")
    assert "*" in draw_text(found)


def test_a_difference_that_seeds_do_not_bear_out_is_not_real(tmp_path: Path) -> None:
    shares = {"semantic": [0.9, 0.5, 0.7], "single-label": [0.5, 0.52, 0.51]}
    found = compare_folders(write_column(tmp_path, shares))
    pair = pair_of(found, "cifar linear", "semantic", "single-label")
    assert pair.over_images is not None
    assert pair.over_images.p < 0.01
    assert pair.reason == "not over seeds"
    assert found.best == {}


def test_a_difference_that_images_do_not_bear_out_is_not_real(tmp_path: Path) -> None:
    """Each seed has the same two images more right, of a hundred."""
    one, other = np.arange(100) < 51, np.arange(100) >= 51
    folders = []
    for seed in range(3):
        other[seed] = True  # so that the seeds differ a little
        folders.append(write_transfer(tmp_path / f"a{seed}", "semantic", seed, one))
        folders.append(write_transfer(tmp_path / f"b{seed}", "single-label", seed, other.copy()))
        one = one.copy()
        one[-1 - 2 * seed :] = True
    found = compare_folders(folders)
    pair = pair_of(found, "cifar linear", "semantic", "single-label")
    assert pair.reason == "not over seeds and images"
    assert pair.over_images is not None
    assert pair.over_images.p > 0.05


def test_p_values_grow_with_the_comparisons_of_the_table(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72, 0.71], "single-label": [0.6, 0.63, 0.6]}
    alone = compare_folders(write_column(tmp_path / "one", shares))
    others = [
        folder
        for dataset in ("a", "b", "c")
        for folder in write_column(
            tmp_path / "many",
            {"semantic": [0.5, 0.52, 0.55], "single-label": [0.52, 0.5, 0.54]},
            dataset=f"data/{dataset}",
            digest=dataset * 64,
        )
    ]
    many = compare_folders([*write_column(tmp_path / "one", shares), *others])
    few, more = (pair_of(each, "cifar linear", "semantic", "single-label") for each in (alone, many))
    assert few.p is not None
    assert more.p == pytest.approx(min(1, 4 * few.p))


def test_average_precision_is_compared_over_images_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    present_MK = random.random((200, 4)) < 0.3
    folders = []
    for scheme, strength in (("semantic", 2.0), ("single-label", 0.5)):
        for seed in range(3):
            scores_MK = (strength * present_MK + random.standard_normal((200, 4))).astype(np.float32)
            folders.append(
                write_transfer(
                    tmp_path / f"{scheme}-{seed}",
                    scheme,
                    seed,
                    scores_MK=scores_MK,
                    present_MK=present_MK,
                    score=float(average_precision_score(present_MK, scores_MK, average="macro")),
                )
            )
    pair = pair_of(compare_folders(folders), "cifar linear", "semantic", "single-label")
    assert pair.is_real
    assert pair.over_images is not None
    assert pair.over_images.difference == pytest.approx(pair.difference, abs=1e-6)
    assert pair.over_images.low < pair.difference < pair.over_images.high


def test_only_shared_seeds_are_paired(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72, 0.71], "single-label": [0.5, 0.51]}
    found = compare_folders(write_column(tmp_path, shares))
    pair = pair_of(found, "cifar linear", "semantic", "single-label")
    assert pair.seeds == (0, 1)
    assert found.grid.cells["semantic", "cifar linear"].interval.num == 3
    assert any("Not all cells have the same seeds" in note for note in found.notes)


def test_one_seed_says_that_nothing_can_be_said(tmp_path: Path) -> None:
    found = compare_folders(write_column(tmp_path, {"semantic": [0.7], "single-label": [0.3]}))
    assert any("nothing can be said" in note for note in found.notes)
    assert found.best == {}
    assert pair_of(found, "cifar linear", "semantic", "single-label").p is None
    assert "±" not in draw_text(found)


def test_one_scheme_is_a_table_without_comparisons(tmp_path: Path) -> None:
    found = compare_folders(write_column(tmp_path, {"semantic": [0.7, 0.6]}))
    assert found.pairs == ()
    assert found.wins == ()


def test_answers_that_do_not_give_the_score_are_not_tested(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72, 0.71], "single-label": [0.5, 0.51, 0.5]}
    found = compare_folders(write_column(tmp_path, shares, score=0.123))
    assert pair_of(found, "cifar linear", "semantic", "single-label").reason == "no answers an image"
    assert any("Not tested over images" in note for note in found.notes)


def test_few_shots_keep_no_answers_and_are_not_tested(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72], "single-label": [0.5, 0.51]}
    shots = [{"shots": 1, "scores": [0.5]}]
    folders = write_column(tmp_path, shares, method="few-shot", shots=shots)
    for folder in folders:
        (folder / "answers.npz").unlink()
    pair = pair_of(compare_folders(folders), "cifar few-shot", "semantic", "single-label")
    assert pair.reason == "no answers an image"


def test_answers_for_other_images_are_a_mistake(tmp_path: Path) -> None:
    folders = write_column(tmp_path, {"semantic": [0.7, 0.71], "single-label": [0.5, 0.51]})
    answers = dict(np.load(folders[-1] / "answers.npz"))
    right = answers["labels"] == answers["guesses"]
    labels = (answers["labels"] + 1).astype(np.int32)
    np.savez(folders[-1] / "answers.npz", labels=labels, guesses=np.where(right, labels, 9))
    with pytest.raises(MismatchError, match="answered for different images"):
        compare_folders(folders)


def test_wins_are_counted_over_transfers(tmp_path: Path) -> None:
    folders = write_column(
        tmp_path, {"semantic": [0.7, 0.72, 0.71], "single-label": [0.5, 0.51, 0.5]}
    ) + write_column(
        tmp_path,
        {"semantic": [0.5, 0.51, 0.52], "single-label": [0.51, 0.5, 0.5]},
        dataset="data/food",
        digest="f" * 64,
    )
    folders += [write_pretraining(tmp_path / f"p{scheme}", scheme, 0) for scheme in ("semantic",)]
    (wins,) = compare_folders(folders).wins
    assert tell_wins(wins) == "semantic beats single-label on 2 of 2 transfers, really on 1"


def test_several_transfers_of_one_pretraining_are_one_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        for again, share in enumerate((0.5, 0.7)):
            folder = tmp_path / f"{seed}-{again}"
            right = np.arange(NUM_IMAGES) < share * NUM_IMAGES
            write_transfer(folder, "semantic", seed, right, transfer_seed=10 * seed + again)
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert found.grid.cells["semantic", "cifar linear"].scores == pytest.approx({0: 0.6, 1: 0.6})
    assert any("averaged first" in note for note in found.notes)


# --- where a run belongs ------------------------------------------------------------------------


def test_rows_are_named_by_what_differs_within_a_scheme(tmp_path: Path) -> None:
    loss = {"max_weight": 1.0}
    for seed in (0, 1):
        write_pretraining(tmp_path / f"a{seed}", "semantic", seed, workers=seed)
        write_pretraining(tmp_path / f"b{seed}", "semantic", seed, loss=loss)
        write_pretraining(tmp_path / f"c{seed}", "single-label", seed)
        write_transfer(tmp_path / f"d{seed}", "semantic", seed)
        write_transfer(tmp_path / f"e{seed}", "none", seed, name="resnet50")
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert found.grid.schemes == (
        "semantic, loss.max_weight 20.0",
        "semantic, loss.max_weight 1.0",
        "single-label",
        "resnet50",
    )
    assert found.grid.cells["resnet50", "cifar linear"].scores.keys() == {0, 1}
    rows = {made.scheme: made for made in found.provenance}
    assert rows["single-label"].options == {"scheme": "single-label", "loss.max_weight": 20.0}
    assert rows["semantic, loss.max_weight 1.0"].seeds == (0, 1)


def test_random_weights_are_a_row_and_not_a_column(tmp_path: Path) -> None:
    write_transfer(tmp_path / "a", "semantic", 0, options={"untrained": False})
    write_transfer(tmp_path / "b", "semantic", 0, options={"untrained": True})
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert found.grid.schemes == ("semantic", "resnet50, untrained")
    assert [column.name for column in found.grid.columns] == ["cifar linear"]


def test_start_weights_of_each_seed_make_no_scheme_of_their_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_pretraining(tmp_path / f"a{seed}", "semantic", seed, start=f"runs/first-{seed}")
        write_pretraining(tmp_path / f"b{seed}", "semantic", seed)
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert found.grid.schemes == ("semantic, start a run", "semantic")


def test_the_same_run_made_twice_is_a_mistake(tmp_path: Path) -> None:
    folders = [write_transfer(tmp_path / name, "semantic", 0) for name in ("a", "b")]
    with pytest.raises(UsageError, match="are both seed 0 of semantic"):
        compare_folders(folders)


def test_a_dataset_that_changed_is_a_mistake(tmp_path: Path) -> None:
    write_transfer(tmp_path / "a", "semantic", 0)
    write_transfer(tmp_path / "b", "single-label", 0, digest="e" * 64)
    with pytest.raises(MismatchError, match=r"with digest dddddddd, and .*eeeeeeee"):
        compare_folders(sorted(tmp_path.iterdir()))


def test_datasets_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    write_transfer(tmp_path / "a", "semantic", 0, dataset="x/dataset")
    write_transfer(tmp_path / "b", "semantic", 0, dataset="y/dataset", digest="e" * 64)
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert [column.name for column in found.grid.columns] == ["x/dataset linear", "y/dataset linear"]


def test_pretrainings_measured_on_different_datasets_are_a_mistake(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "a", "semantic", 0)
    write_pretraining(tmp_path / "b", "single-label", 0, dataset=write_dataset(tmp_path / "d"))
    with pytest.raises(MismatchError, match="run `hypernym evaluate` on one dataset"):
        compare_folders([tmp_path / "a", tmp_path / "b"])


def test_transfers_with_other_options_have_their_own_column(tmp_path: Path) -> None:
    write_transfer(tmp_path / "a", "semantic", 0, options={"epochs": 3})
    write_transfer(tmp_path / "b", "semantic", 0, options={"epochs": 5})
    found = compare_folders(sorted(tmp_path.iterdir()))
    names = [column.name for column in found.grid.columns]
    assert names == ["cifar linear, epochs 3", "cifar linear, epochs 5"]


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda run: (run / "report.json").unlink(), "run `hypernym evaluate .* DATASET` first"),
        (lambda run: (run / "config.yaml").unlink(), r"config\.yaml cannot be read"),
        (lambda run: [(run / f).unlink() for f in ("config.yaml", "report.json")], "holds no run"),
        (lambda run: (run / "report.json").write_text("{"), "cannot be read as JSON"),
        (
            lambda run: (run / "report.json").write_text('{"format": "hypernym.report", "version": 5}'),
            "damaged: it lacks 'accuracy'",
        ),
    ],
)
def test_a_run_that_cannot_be_read_is_named(
    tmp_path: Path, break_it: Callable[[Path], object], sentence: str
) -> None:
    run = write_pretraining(tmp_path / "run", "semantic", 0)
    break_it(run)
    with pytest.raises(RunError, match=sentence):
        read_run(run)


def test_a_damaged_transfer_is_named_with_its_field(tmp_path: Path) -> None:
    run = write_transfer(tmp_path, "semantic", 0)
    report = json.loads((run / "transfer.json").read_text())
    (run / "transfer.json").write_text(json.dumps({**report, "score": "high"}))
    with pytest.raises(RunError, match=r"transfer\.json is damaged: score"):
        read_run(run)
    (run / "transfer.json").write_text(json.dumps(report))
    (run / "answers.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"answers\.npz cannot be read"):
        compare_folders([run, write_transfer(tmp_path / "other", "single-label", 0)])


def test_a_transfer_that_was_stopped_is_named(tmp_path: Path) -> None:
    run = write_transfer(tmp_path, "semantic", 0)
    (run / "transfer.json").unlink()
    with pytest.raises(RunError, match="finish it by `hypernym transfer` with --resume"):
        read_run(run)


# --- lines, costs, exports ----------------------------------------------------------------------


def test_accuracy_by_depth_is_a_line_with_the_range_over_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.4, 0.6)):
        depths = [{"depth": 0, "classes": 4, "images": 9, "accuracy": accuracy, "chance": 0.25}]
        write_transfer(tmp_path / f"{seed}", "semantic", seed, by_depth=depths)
    (chart,) = compare_folders(sorted(tmp_path.iterdir())).depths
    (point,) = chart.lines["semantic"]
    assert (point.mean, point.low, point.high) == pytest.approx((0.5, 0.4, 0.6))
    assert chart.chance == ((0, 0.25),)


def test_few_shots_are_a_line_over_images_a_class(tmp_path: Path) -> None:
    shots = [{"shots": 5, "scores": [0.4, 0.6]}, {"shots": 1, "scores": [0.2, 0.3]}]
    write_transfer(tmp_path / "run", "semantic", 0, method="few-shot", shots=shots)
    (chart,) = compare_folders([tmp_path / "run"]).shots
    points = {point.x: point.mean for point in chart.lines["semantic"]}
    assert list(points) == [1, 5]
    assert points == pytest.approx({1: 0.25, 5: 0.5})


def test_a_sweep_tells_what_settings_cost(tmp_path: Path) -> None:
    table = {"semantic": {1e-3: 0.5, 1e-2: 0.6, 1e-1: 0.4}, "single-label": {1e-3: 0.2, 1e-2: 0.6}}
    for scheme, of_scheme in table.items():
        for rate, share in of_scheme.items():
            for seed in (0, 1):
                right = np.arange(NUM_IMAGES) < round((share + 0.01 * seed) * NUM_IMAGES)
                folder = tmp_path / f"{scheme}-{rate}-{seed}"
                write_transfer(folder, scheme, seed, right, options={"optim.lr": rate})
    found = compare_folders(sorted(tmp_path.iterdir()))
    assert found.grid.columns == ()
    (sweep,) = found.sweeps
    assert (sweep.settings, sweep.left_out) == (2, 1)
    first, second = sweep.robustness
    assert (first.best, first.worst, first.spread) == pytest.approx((0.605, 0.505, 0.1))
    assert second.deviation == pytest.approx(np.std([0.205, 0.605], ddof=1))
    assert second.risk == pytest.approx(0.2)
    assert [point.x for point in sweep.charts[0].lines["semantic"]] == [1e-3, 1e-2, 1e-1]
    assert "Over 2 settings" in to_markdown(found, "title")


def test_cost_is_counted_from_the_records_of_a_run(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "a", "semantic", 0)
    write_transfer(tmp_path / "b", "semantic", 0)
    (cost,) = compare_folders(sorted(tmp_path.iterdir())).costs
    assert (cost.steps, cost.images, cost.transfer_seconds) == (100, 1000, 12)
    assert cost.hours == pytest.approx(1000 / 50 / 3600)
    assert cost.total_hours == pytest.approx(32 / 3600)


def test_the_csv_has_a_row_for_each_run_and_figure(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "a", "semantic", 0, score=0.5)
    write_transfer(tmp_path / "b", "semantic", 0)
    rows = list(csv.DictReader(io.StringIO(to_csv(compare_folders(sorted(tmp_path.iterdir()))))))
    values = {(row["column"], row["figure"]): float(row["value"]) for row in rows}
    assert values["", "semantic top-1"] == 0.5
    assert values["", "semantic top-1, summed"] == 0.125
    assert values["cifar linear", "score"] == 0.5
    assert values["cifar linear", "top5"] == 0.9
    assert len(rows) == 6


def test_markdown_shows_hostile_names_as_they_are(tmp_path: Path) -> None:
    write_transfer(tmp_path / "a", "x", 0, name="a|b<script>*c*")
    text = to_markdown(compare_folders([tmp_path / "a"]), "title")
    assert r"a\|b\<script\>\*c\*" in text


def test_all_numbers_are_plain_json(tmp_path: Path) -> None:
    shares = {"semantic": [0.7, 0.72], "single-label": [0.5, 0.51]}
    document = to_json(compare_folders(write_column(tmp_path, shares)))
    assert json.loads(json.dumps(document, allow_nan=False))["comparisons"][0]["better"] == "semantic"


# --- plans --------------------------------------------------------------------------------------


SHARED = """pretrain:
  dataset: data/tiny
  recipe: small
  options: {epochs: 6}
"""
PLAN = f"""
seeds: [0, 1]
{SHARED}schemes:
  single-label: {{scheme: single-label}}
  semantic, equal weights: {{scheme: semantic, loss: {{max_weight: 1}}}}
  elsewhere: {{source: resnet50}}
transfer:
  CIFAR linear: {{dataset: data/cifar, method: linear}}
  CIFAR by rate:
    dataset: data/cifar
    method: full
    options: {{epochs: 5}}
    sweep: {{optim.name: [adamw, sgd], optim.lr: [1e-4, 1e-3]}}
"""


def write_plan(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in PLAN
    path = folder / "plan.yaml"
    path.write_text(PLAN.replace(old, new))
    return path


def read(path: Path) -> Plan:
    return read_plan(path, TransferConfig, get_args(RecipeName))


def test_a_plan_makes_all_of_one_seed_first(tmp_path: Path) -> None:
    plan = read(write_plan(tmp_path))
    assert [run.seed for run in plan.runs] == [0] * 17 + [1] * 17
    assert [run.place for run in plan.runs[:5]] == [
        "runs/single-label-0",
        "runs/semantic-equal-weights-0",
        "transfers/cifar-linear/single-label-0",
        "transfers/cifar-linear/semantic-equal-weights-0",
        "transfers/cifar-linear/elsewhere-0",
    ]
    first, swept = plan.runs[1], plan.runs[5]
    assert isinstance(first, PlannedPretraining)
    assert first.options == {
        "epochs": 6,
        "scheme": "semantic",
        "loss": {"max_weight": 1.0},
        "seed": 0,
    }
    assert first.dataset == tmp_path / "data/tiny"
    assert isinstance(swept, PlannedTransfer)
    assert swept.place == "transfers/cifar-by-rate/single-label-0-name-adamw-lr-0.0001"
    assert swept.setting == (("optim.name", "adamw"), ("optim.lr", 1e-4))
    assert swept.options["optim"] == {"name": "adamw", "lr": 1e-4}


def test_paths_of_a_plan_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    path = write_plan(tmp_path, "source: resnet50", "source: weights")
    runs = read(path).runs
    sources = {run.source for run in runs if isinstance(run, PlannedTransfer) and not run.pretraining}
    assert sources == {str(tmp_path / "weights")}


def test_options_beside_a_source_are_those_of_its_transfers(tmp_path: Path) -> None:
    path = write_plan(tmp_path, "source: resnet50", "source: resnet50, untrained: true")
    for run in read(path).runs:
        is_elsewhere = isinstance(run, PlannedTransfer) and run.scheme == "elsewhere"
        assert run.options.get("untrained", False) == is_elsewhere


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds:", "seed:", r"no option seed \(did you mean 'seeds'\?\)"),
        ("recipe: small", "recpe: small", r"no option pretrain\.recpe \(did you mean 'recipe'\?\)"),
        ("max_weight", "max_wight", r"no option loss\.max_wight \(did you mean 'max_weight'\?\)"),
        ("epochs: 5", "epoch: 5", r"CIFAR by rate there is no option epoch \(did you mean 'epochs'"),
        ("optim.lr:", "optim.lrr:", r"no option optim\.lrr \(did you mean 'lr'\?\)"),
        ("[0, 1]", "[0, 0]", "names one twice"),
        ("elsewhere:", "Single label:", "would share the folder name 'single-label'"),
        ("elsewhere:", "'!!':", "has no letter"),
        ("[1e-4, 1e-3]", "[1e-4, 0.0001]", "two runs would share the folder"),
        ("source: resnet50", "source: 3", "must be a path or the name of a timm model"),
        ("source: resnet50", "source: resnet50, untraind: true", "did you mean 'untrained'"),
        ("method: linear", "method: linear, recipe: cifar10", "did you mean 'cifar100'"),
        ("method: linear", "method: linar", "method: input should be 'full'"),
        (SHARED, "", "no `pretrain`"),
        ("scheme: single-label", "scheme: singular", "scheme: input should be"),
        ("[0, 1]", "[0, 1", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_a_plan_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(HypernymError, match=sentence):
        read(write_plan(tmp_path, old, new))


def test_a_run_knows_its_seed_and_options(tmp_path: Path) -> None:
    run = read_run(write_pretraining(tmp_path / "run", "semantic", 7))
    assert isinstance(run, Pretraining)
    assert run.unit == 7
    assert run.options["loss.max_weight"] == pretraining_options("semantic", 7)["loss"]["max_weight"]
