"""`hypernym compare`: from runs or a plan to a folder; what is missing is made, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compared_runs import right_about, write_dataset, write_pretraining, write_transfer
from cyclopts import App

import hypernym as hn
from hypernym.commands.compare import CompareReport, PlanReport, compare
from hypernym.comparison.plan import read_plan
from hypernym.comparison.runner import Verbs, make_runs
from hypernym.downstream.config import TransferConfig
from hypernym.errors import (
    DatasetError,
    DivergenceError,
    OutputError,
    RunError,
    StoppedError,
    UsageError,
)
from hypernym.training.config import PretrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.comparison.comparison import Failure

MADE = ["comparison.csv", "comparison.html", "comparison.json", "comparison.md", "plots"]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two schemes with two seeds, pretrained and transferred."""
    folders = []
    for scheme, share in (("semantic", 0.7), ("single-label", 0.5)):
        for seed in (0, 1):
            place = tmp_path / "given" / f"{scheme}-{seed}"
            folders.append(write_pretraining(place, scheme, seed, share))
            right = right_about(share + seed / 50, seed)
            folders.append(write_transfer(place.with_name(f"t-{place.name}"), scheme, seed, right))
    return folders


# --- runs ---------------------------------------------------------------------------------------


def test_runs_become_tables_a_page_and_plots(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = compare(runs, out=out)
    assert isinstance(report, CompareReport)
    assert sorted(path.name for path in out.iterdir()) == MADE
    assert len(list((out / "plots").iterdir())) == 7
    document = json.loads((out / "comparison.json").read_text())
    assert (document["format"], document["version"]) == ("hypernym.comparison", 1)
    assert report.runs == 8
    assert report.exit_code == 0
    assert "semantic beats single-label on 1 of 1 transfers" in str(report)


def test_a_comparison_is_made_anew_with_the_same_bytes(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = [*runs[1::2], runs[1].parent / ".." / "given" / runs[1].name]
    report = compare(given, out=out)
    assert isinstance(report, CompareReport)
    assert report.runs == 4  # one was given twice
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "plots/stale.svg").touch()
    compare(runs[1::2], out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_left_alone(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    with pytest.raises(OutputError, match="holds no comparison"):
        compare(runs, out=tmp_path)
    with pytest.raises(OutputError, match="is a file"):
        compare(runs, out=runs[0] / "config.yaml")


def test_nothing_to_compare_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run to compare"):
        compare([], out=tmp_path / "out")
    with pytest.raises(UsageError, match="--dry-run lists the runs of a plan"):
        compare([tmp_path], out=tmp_path / "out", dry_run=True)


def test_the_command_line_takes_many_runs(runs: list[Path], tmp_path: Path) -> None:
    app = App(result_action="return_value")
    app.command("hypernym.commands.compare:compare")
    report = app(["compare", *map(str, runs[1:4:2]), "--out", str(tmp_path / "out")])
    assert report.runs == 2


# --- plans --------------------------------------------------------------------------------------


PLAN = """
seeds: [0, 1]
pretrain: {dataset: tiny, recipe: small, options: {epochs: 6}}
schemes:
  single-label: {scheme: single-label}
  semantic: {scheme: semantic}
  elsewhere: {source: resnet50}
transfer:
  CIFAR: {dataset: cifar, method: linear}
"""
SWEPT = f"{PLAN}  rates: {{dataset: cifar, method: full, sweep: {{optim.lr: [1e-3, 1e-2]}}}}\n"
NUM_RUNS = 10


class World:
    """Commands that write runs without any training, and remember what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.asked: list[str] = []
        self.fails: dict[str, BaseException] = {}
        self.drawn: list[int] = []
        self.verbs = Verbs(self.pretrain, self.evaluate, self.transfer, PretrainConfig, TransferConfig)
        self.plan = folder / "plan.yaml"

    def carry_out(self) -> Sequence[Failure]:
        """Make the runs of the plan, without a page."""
        plan = read_plan(self.plan, TransferConfig, ["auto"])
        return make_runs(plan, self.out, self.verbs, lambda _: self.drawn.append(len(self.asked)))

    def pretrain(
        self, dataset: Path, run: Path, *, recipe: str, options: PretrainConfig, resume: bool
    ) -> None:
        assert (dataset.name, recipe, resume) == ("tiny", "small", True)
        self._ask("pretrain", run)
        write_pretraining(run, options.scheme, options.seed, has_report=False, epochs=options.epochs)

    def evaluate(self, run: Path, dataset: Path) -> None:
        self._ask("evaluate", run)
        scheme, _, seed = run.name.rpartition("-")
        write_pretraining(run, scheme, int(seed), 0.4, dataset=dataset)

    def transfer(
        self,
        source: str,
        dataset: Path,
        out: Path,
        *,
        recipe: str,
        options: TransferConfig,
        resume: bool,
    ) -> None:
        assert (dataset.name, recipe, resume) == ("cifar", "auto", True)
        self._ask("transfer", out)
        is_ours = (Path(source) / "config.yaml").exists()
        scheme = Path(source).name.rpartition("-")[0] if is_ours else "x"
        share = {"semantic": 0.7, "single-label": 0.5}.get(scheme, 0.3) + options.seed / 50
        write_transfer(
            out,
            scheme,
            options.seed,
            right_about(share, options.seed),
            name="" if is_ours else source,
            method=options.method,
            options={"optim.lr": options.optim.lr},
        )

    def _ask(self, verb: str, folder: Path) -> None:
        place = str(folder.relative_to(self.out))
        self.asked.append(f"{verb} {place}")
        if place in self.fails:
            raise self.fails[place]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A plan, its datasets, and commands that train nothing."""
    write_dataset(tmp_path / "tiny", "c" * 64)
    write_dataset(tmp_path / "cifar")
    made = World(tmp_path)
    made.plan.write_text(PLAN)
    return made


@pytest.fixture
def installed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, as the commands of the package."""
    for name in ("pretrain", "evaluate", "transfer"):
        monkeypatch.setattr(hn, name, getattr(world, name))
    return world


def test_a_plan_is_carried_out_and_compared(installed: World) -> None:
    shorter = SWEPT.replace("[0, 1]", "[0]").replace("  single-label: {scheme: single-label}\n", "")
    installed.plan.write_text(shorter.replace("  elsewhere: {source: resnet50}\n", ""))
    report = compare([installed.plan], out=installed.out)
    assert isinstance(report, CompareReport)
    assert installed.asked == [
        "pretrain runs/semantic-0",
        "evaluate runs/semantic-0",
        "transfer transfers/cifar/semantic-0",
        "transfer transfers/rates/semantic-0-lr-0.001",
        "transfer transfers/rates/semantic-0-lr-0.01",
    ]
    assert report.runs == 4
    assert report.exit_code == 0
    document = json.loads((installed.out / "comparison.json").read_text())
    assert document["schemes"] == ["semantic"]
    assert document["missing"] == 0
    assert document["sweeps"][0]["settings"] == 2
    cells = {(cell["scheme"], cell["column"]) for cell in document["cells"]}
    assert cells >= {("semantic", "CIFAR"), ("semantic", "semantic top-1")}


def test_a_run_that_fails_leaves_a_hole(installed: World, capsys: pytest.CaptureFixture[str]) -> None:
    installed.fails["runs/single-label-0"] = DivergenceError("the loss is not finite", 3, [])
    without = PLAN.replace("[0, 1]", "[0]").replace("  elsewhere: {source: resnet50}\n", "")
    installed.plan.write_text(without)
    report = compare([installed.plan], out=installed.out)
    assert isinstance(report, CompareReport)
    assert report.exit_code == 2
    failed = [failure.run for failure in report.failures]
    assert failed == ["runs/single-label-0", "transfers/cifar/single-label-0"]
    assert "pretrain runs/semantic-0" in installed.asked
    assert "transfer transfers/cifar/single-label-0" not in installed.asked
    assert "the loss is not finite" in (installed.out / "comparison.html").read_text()
    assert "failed: runs/single-label-0: the loss is not finite" in str(report)
    assert "4 runs to make, 0 done" in capsys.readouterr().err


def test_a_dry_run_lists_and_makes_nothing(installed: World) -> None:
    report = compare([installed.plan], out=installed.out, dry_run=True)
    assert isinstance(report, PlanReport)
    assert len(report.missing) == NUM_RUNS
    assert "10 runs to make, 0 done. Nothing was made." in str(report)
    assert installed.asked == []
    assert not installed.out.exists()


def test_several_processes_carry_out_no_plan(installed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without torchrun"):
        compare([installed.plan], out=installed.out)
    assert installed.asked == []


def test_the_page_is_made_anew_after_each_run(world: World) -> None:
    world.carry_out()
    assert "transfer transfers/cifar/elsewhere-1" in world.asked
    assert world.drawn == [2, 4, 5, 6, 7, 9, 11, 12, 13, 14]


def test_what_is_done_is_not_made_again(world: World) -> None:
    world.carry_out()
    world.asked.clear()
    (world.out / "runs/semantic-1/report.json").unlink()
    world.carry_out()
    assert world.asked == ["pretrain runs/semantic-1", "evaluate runs/semantic-1"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), StoppedError("asked to stop")])
def test_a_plan_that_was_stopped_goes_on(world: World, stop: BaseException) -> None:
    world.fails["runs/semantic-0"] = stop
    with pytest.raises(type(stop)):
        world.carry_out()
    world.fails = {}
    assert world.carry_out() == ()
    assert world.asked.count("pretrain runs/single-label-0") == 1
    assert world.asked.count("pretrain runs/semantic-0") == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs: 6", "epochs: 7", "runs/single-label-0 was made with epochs 6, and the plan has 7"),
        ("options: {epochs: 6}", "options: {}", "epochs 6, and the plan has left open"),
        ("resnet50", "resnet18", r"elsewhere-0 was made with pretrain\.source resnet50"),
        ("method: linear", "method: knn", "cifar/single-label-0 was made with method linear"),
    ],
)
def test_a_plan_that_changed_never_passes_for_what_was_made(
    world: World, old: str, new: str, sentence: str
) -> None:
    world.carry_out()
    world.asked.clear()
    world.plan.write_text(PLAN.replace(old, new))
    with pytest.raises(RunError, match=sentence):
        world.carry_out()
    assert world.asked == []


def test_a_transfer_is_not_kept_when_its_pretraining_changed(world: World, tmp_path: Path) -> None:
    world.carry_out()
    world.plan.write_text(PLAN.replace("{scheme: semantic}", "{scheme: multi-label}"))
    for seed in (0, 1):
        (world.out / f"runs/semantic-{seed}").rename(tmp_path / f"aside-{seed}")
    with pytest.raises(RunError, match=r"cifar/semantic-0 was made with pretrain\.scheme semantic"):
        world.carry_out()
    assert world.asked.count("pretrain runs/semantic-0") == 1


def test_a_dataset_that_changed_is_noticed(world: World, tmp_path: Path) -> None:
    world.carry_out()
    write_dataset(tmp_path / "cifar", "e" * 64)
    with pytest.raises(RunError, match="was made with dataset dddd"):
        world.carry_out()


def test_how_a_run_is_carried_out_may_change(world: World) -> None:
    world.carry_out()
    world.asked.clear()
    world.plan.write_text(PLAN.replace("epochs: 6", "epochs: 6, workers: 1"))
    world.carry_out()
    assert world.asked == []


def test_a_folder_in_the_way_is_named(world: World) -> None:
    world.carry_out()
    (world.out / "made.json").unlink()
    with pytest.raises(RunError, match="was not made by this comparison"):
        world.carry_out()


def test_a_dataset_that_is_missing_is_named_before_anything_is_made(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "cifar/dataset.json").unlink()
    with pytest.raises(DatasetError, match="cifar holds no finished dataset"):
        world.carry_out()
    assert world.asked == []
