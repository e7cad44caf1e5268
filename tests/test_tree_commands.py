"""`hypernym tree` from the outside: build, check, show and export, and a model over added classes."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import networkx as nx
import pytest
from conftest import TINY

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.cli import main
from hypernym.commands import tree
from hypernym.commands.evaluate import evaluate
from hypernym.commands.predict import predict
from hypernym.commands.prepare import prepare
from hypernym.commands.pretrain import pretrain
from hypernym.data.classes import ClassTable, save_classes
from hypernym.data.dataset import CARD_VERSION, open_dataset
from hypernym.errors import RunError, TreeError, UsageError
from hypernym.files import write_json
from hypernym.hierarchy.exports import export_outline
from hypernym.hierarchy.outline import make_outline
from hypernym.hierarchy.taxonomies import read_taxonomy
from hypernym.hierarchy.tree import ROOT, Inner, Tree, build_tree, load_tree
from hypernym.hierarchy.wordnet import ParentRule
from hypernym.training.config import PretrainConfig
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL, leaves

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

BIRDS = """child,parent,name
animal,,animal
bird,animal,bird
owl,bird,owl
penguin,bird,penguin
pike,water,pike
water,animal,animal of the water
sun,,sun
"""


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A dataset as far as its tree is concerned, and beside it the taxonomy birds.csv."""
    ids = ("owl", "penguin", "pike", "sun")
    table = ClassTable(ids, ids, (10, 2000, 30, 40), (1, 2, 3, 4), (0, 0, 0, 0))
    path = tmp_path / "birds"
    path.mkdir()
    save_classes(path / "classes.csv", table)
    write_json(path / "dataset.json", "dataset", CARD_VERSION, classes_digest=table.digest)
    (tmp_path / "birds.csv").write_text(BIRDS)
    return path


@pytest.fixture
def grown(birds: Path) -> Path:
    """The same, with its tree: three inner classes are added."""
    tree.build(birds, taxonomy=birds.with_suffix(".csv"))
    return birds


# --- build --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "added"),
    [(None, ["animal", "bird", "water"]), ("branching", ["animal", "bird"]), ("none", [])],
)
def test_build_adds_the_inner_classes_asked_for(
    birds: Path, inner: str | None, added: list[str], capsys: Capture
) -> None:
    words = ["--inner", inner] if inner else []
    taxonomy = str(birds.with_suffix(".csv"))
    assert main(["tree", "build", str(birds), "--taxonomy", taxonomy, *words]) == 0
    built = load_tree(birds / "tree.json", classes_digest=open_dataset(birds).classes.digest)
    assert list(built.ids) == ["owl", "penguin", "pike", "sun", *added]
    told = f"{4 + len(added)} classes" + (f" ({len(added)} of them inner classes" if added else " from")
    assert told in capsys.readouterr().out


def test_build_takes_a_networkx_graph(birds: Path) -> None:
    graph = nx.DiGraph([("animal", "owl"), ("animal", "penguin"), ("animal", "pike")])
    graph.add_node("sun")
    report = tree.build(birds, taxonomy=graph)
    assert (report.classes, report.added, report.roots) == (5, 1, 2)
    assert report.lexicon == "a networkx graph"


def test_a_rule_of_wordnet_and_a_taxonomy_of_ones_own_do_not_go_together(birds: Path) -> None:
    with pytest.raises(UsageError, match="--rule first-hypernym speaks of WordNet"):
        tree.build(birds, taxonomy=birds.with_suffix(".csv"), rule=ParentRule.FIRST_HYPERNYM)


# --- check --------------------------------------------------------------------------------------


def test_check_prints_the_findings_of_a_tree_and_goes_on(grown: Path, capsys: Capture) -> None:
    assert main(["tree", "check", str(grown)]) == 0
    out = capsys.readouterr().out
    assert f"{grown / 'tree.json'}, 7 classes: 0 fatal, 1 warning, 3 note" in out
    assert "one child        water: animal of the water has one child, pike (pike)" in out


def test_check_exits_with_2_where_no_tree_can_be_built(birds: Path, capsys: Capture) -> None:
    taxonomy = birds.with_suffix(".csv")
    taxonomy.write_text(BIRDS.replace("sun,,sun", "sum,,sun").replace("animal,,", "animal,bird,"))
    assert main(["tree", "check", str(birds), "--taxonomy", str(taxonomy)]) == 2
    out = capsys.readouterr().out
    assert "fatal    orphan           sun: birds.csv does not mention this class" in out
    assert "fatal    cycle            bird: stands above itself, bird > animal > bird" in out
    assert "unknown id       sum: no class of the dataset has this id (did you mean 'sun'?)" in out
    assert not (birds / "tree.json").exists()
    with pytest.raises(TreeError, match="'sun' of the 4 classes"):
        tree.build(birds, taxonomy=taxonomy)


def test_check_prints_so_many_of_a_kind_and_json_has_all(grown: Path, capsys: Capture) -> None:
    assert main(["tree", "check", str(grown), "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "... and 2 more of 'added' (--limit 0 shows all)" in out
    assert out.count("note     added") == 1
    assert main(["tree", "check", str(grown), "--limit", "1", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["class_id"] for finding in findings if finding["kind"] == "added"] == [
        "animal",
        "bird",
        "water",
    ]


def test_check_of_a_tree_that_is_built_takes_no_inner(grown: Path, capsys: Capture) -> None:
    assert main(["tree", "check", str(grown), "--inner", "branching"]) == 2
    assert "--inner branching says how a taxonomy is built" in capsys.readouterr().err
    taxonomy = str(grown.with_suffix(".csv"))
    assert main(["tree", "check", str(grown), "--taxonomy", taxonomy, "--inner", "branching"]) == 0
    assert "6 classes: 0 fatal, 0 warning" in capsys.readouterr().out


def test_check_exits_with_2_where_two_classes_have_one_id(birds: Path, capsys: Capture) -> None:
    taxonomy = birds.with_suffix(".json")
    taxonomy.write_text(
        '{"air": {"other": ["owl", "penguin"]}, "water": {"other": ["pike"]}, "sun": {}}'
    )
    assert main(["tree", "check", str(birds), "--taxonomy", str(taxonomy)]) == 2
    told = "air/other (above owl, penguin) and at water/other (above pike)"
    assert f"fatal    duplicate id     other: stands at {told}" in capsys.readouterr().out
    with pytest.raises(TreeError, match=r"birds\.json: 'other' stands at air/other .*so rename one"):
        tree.build(birds, taxonomy=taxonomy)


# --- show ---------------------------------------------------------------------------------------


def test_show_draws_the_tree_with_names_ids_and_counts(grown: Path) -> None:
    assert str(tree.show(grown)).splitlines()[1:] == [
        "├── animal  2,040 train + 6 val",
        "│   ├── animal of the water  water  30 train + 3 val",
        "│   │   └── pike  30 train + 3 val",
        "│   └── bird  2,010 train + 3 val",
        "│       ├── owl  10 train + 1 val",
        "│       └── penguin  2,000 train + 2 val",
        "└── sun  40 train + 4 val",
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--under", "bird"], ["bird", "owl", "penguin"]),
        (["--under", "animal of the water"], ["water", "pike"]),
        (["--depth", "1"], ["animal", "sun"]),
        (["--under", "animal", "--depth", "2"], ["animal", "water", "bird"]),
        (["--under", "bird", "--depth", "1"], ["bird"]),
        (["--match", "PI"], ["animal", "water", "pike"]),
        (["--match", "Of The"], ["animal", "water"]),
        (["--match", "pi", "--depth", "2"], ["animal", "water"]),
        (["--match", "pike", "--depth", "1"], ["animal"]),
        (["--under", "water", "--match", "pike", "--depth", "1"], ["water"]),
    ],
)
def test_show_takes_the_part_asked_for(
    grown: Path, words: list[str], names: list[str], capsys: Capture
) -> None:
    assert main(["tree", "show", str(grown), *words, "--json"]) == 0
    assert [entry["id"] for entry in json.loads(capsys.readouterr().out)["entries"]] == names


def test_show_counts_what_it_leaves_out(grown: Path) -> None:
    assert str(tree.show(grown, depth=1)).splitlines()[1].endswith("2,040 train + 6 val  ... 5 below")


def test_show_names_the_nearest_class(grown: Path) -> None:
    with pytest.raises(TreeError, match=r"id or name 'pengiun' \(did you mean 'penguin'\?\)"):
        tree.show(grown, under="pengiun")


def test_show_that_finds_nothing_names_the_nearest_word(grown: Path, capsys: Capture) -> None:
    assert main(["tree", "show", str(grown), "--match", "Watr"]) == 2
    assert (
        "no class shown has 'Watr' in its id or name (did you mean 'water'?)" in capsys.readouterr().err
    )
    with pytest.raises(TreeError, match="no class shown has 'owl' in its id or name"):
        tree.show(grown, under="water", match="owl")


def test_show_is_plain_text_unless_it_is_on_a_terminal(
    grown: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tree", "show", str(grown)]) == 0
    assert capsys.readouterr().out == f"{tree.show(grown)}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["tree", "show", str(grown)]) == 0
    assert "\x1b[" in capsys.readouterr().out


def test_a_name_with_brackets_is_shown_as_it_is(grown: Path) -> None:
    document = json.loads((grown / "tree.json").read_text())
    document["names"]["bird"] = "[red]bird[/red]"
    (grown / "tree.json").write_text(json.dumps(document))
    assert "[red]bird[/red]  bird" in str(tree.show(grown))


# --- export -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "json", "nwk"])
def test_an_export_builds_the_same_tree(grown: Path, ending: str) -> None:
    before = (grown / "tree.json").read_text()
    out = grown.with_suffix(f".out.{ending}")
    assert tree.export(grown, out).classes == 7
    tree.build(grown, taxonomy=out)
    again = json.loads((grown / "tree.json").read_text())
    assert again["parents"] == json.loads(before)["parents"]
    assert (again["names"] == json.loads(before)["names"]) == (ending != "nwk")


def test_the_csv_has_a_row_a_class_with_depth_and_counts(grown: Path) -> None:
    tree.export(grown, grown.with_suffix(".out.csv"))
    with grown.with_suffix(".out.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["child", "parent", "name", "depth", "train", "val"]
    assert rows[1] == ["animal", "", "animal", "0", "0", "0"]
    assert rows[3] == ["pike", "water", "pike", "2", "30", "3"]


def test_the_dot_file_has_every_class_and_edge(grown: Path) -> None:
    tree.export(grown, grown.with_suffix(".dot"))
    lines = grown.with_suffix(".dot").read_text().splitlines()
    assert '  "water" [label="animal of the water"];' in lines
    assert sum(" -> " in line for line in lines) == 5


def test_an_unknown_ending_is_refused_with_those_that_are_known(grown: Path) -> None:
    with pytest.raises(
        UsageError, match=r"tree\.png names no form .*\.csv, \.json, \.dot, \.nwk, \.html"
    ):
        tree.export(grown, grown / "tree.png")


def test_a_tree_too_deep_for_json_is_refused_with_the_forms_that_hold_it(tmp_path: Path) -> None:
    ids = tuple(f"c{place:04d}" for place in range(5000))
    deep = Tree(ids, (ROOT, *range(4999)), "by hand", "none")
    outline = make_outline(deep, ClassTable(ids, ids, *[(1,) * 5000] * 3))
    with pytest.raises(UsageError, match=r"would have to nest 5,000 depths.* in \.csv or \.nwk"):
        export_outline(tmp_path / "deep.json", outline, "deep")
    assert not list(tmp_path.iterdir())
    for name in ("deep.csv", "deep.nwk"):
        export_outline(tmp_path / name, outline, "deep")
        assert build_tree(ids, read_taxonomy(tmp_path / name), Inner.NONE).parents == deep.parents


# --- a model over added classes -----------------------------------------------------------------


@pytest.fixture(scope="module")
def leafy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn dataset of leaves alone, whose tree has the inner classes above them."""
    folder = tmp_path_factory.mktemp("leafy")
    drawn = leaves(SMALL)
    draw_world(folder / "world.tar", 16, 32, 0, moved_share=0, classes=drawn, dirt=False)
    prepare(folder / "world.tar", folder / "ds", min_images=3, val_per_class=2, size=32, workers=1)
    (folder / "own.json").write_text(
        json.dumps({"animal": {"bird": ["n01621127", "n02055803"], "fish of all kinds": "n02512053"}})[
            :-1
        ]
        + ', "n11939491": {}, "n09450163": {}}'
    )
    tree.build(folder / "ds", taxonomy=folder / "own.json")
    options = PretrainConfig.model_validate(TINY)
    pretrain(folder / "ds", folder / "run", recipe="small", options=options)
    return folder


def test_a_model_has_an_output_for_each_added_class(leafy: Path) -> None:
    card = load_checkpoint(find_checkpoint(leafy / "run")).card
    dataset = open_dataset(leafy / "ds")
    added = ("animal", "bird", "fish of all kinds")
    assert card.class_ids == (*dataset.classes.ids, *added)
    assert card.class_names == (*dataset.classes.names, *added)
    assert card.classes_digest == dataset.classes.digest
    config = json.loads((find_checkpoint(leafy / "run") / "config.json").read_text())
    assert config["num_classes"] == len(dataset.classes) + 3


def test_added_classes_are_evaluated_at_their_depths(leafy: Path) -> None:
    accuracy = evaluate(leafy / "run", leafy / "ds").accuracy
    images = open_dataset(leafy / "ds").card["splits"]["val"]["images"]
    num_leaves = images // 2
    assert [depth.classes for depth in accuracy.by_depth] == [num_leaves - 3 + 1, 2, 3]
    assert [depth.images for depth in accuracy.by_depth] == [images, 6, 6]
    assert accuracy.semantic_top1 > accuracy.semantic_top1_chance


def test_predictions_lead_through_added_classes(leafy: Path, tmp_path: Path) -> None:
    import numpy as np

    from hypernym.world.drawing import draw

    draw("n01621127", 32, np.random.default_rng(0)).save(tmp_path / "owl.png")
    (found,) = predict(leafy / "run", [tmp_path / "owl.png"], threshold=0).predictions
    names = [step.name for step in found.path]
    assert len(names) == 1 or names[0] == "animal"


def test_a_run_is_not_resumed_with_another_tree(leafy: Path) -> None:
    document = (leafy / "ds/tree.json").read_bytes()
    try:
        tree.build(leafy / "ds", taxonomy=leafy / "own.json", inner=Inner.BRANCHING)
        with pytest.raises(RunError, match="was trained with another tree"):
            pretrain(leafy / "ds", leafy / "run", recipe="small", resume=True)
    finally:
        (leafy / "ds/tree.json").write_bytes(document)
