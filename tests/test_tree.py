import json
import lzma
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from strategies import forests

from hypernym.errors import MismatchError, TreeError
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.taxonomies import read_taxonomy
from hypernym.hierarchy.tree import (
    ROOT,
    Inner,
    Tree,
    build_from_wordnet,
    build_tree,
    load_tree,
    save_tree,
)
from hypernym.hierarchy.wordnet import load_wordnet, name_of

FALL11 = "imagenet21k_miil_synsets.txt"
WINTER21 = "imagenet21k_miil_w21_synsets.txt"


def imagenet_ids(file_name: str) -> list[str]:
    """Return a class list that timm carries, without the seconds of importing timm."""
    timm = find_spec("timm")
    assert timm is not None
    assert timm.origin is not None
    text = (Path(timm.origin).parent / "data" / "_info" / file_name).read_text(encoding="utf-8")
    return text.split()


def build_from_edges(ids: list[str], path: Path) -> Tree:
    return build_tree(ids, read_taxonomy(path), Inner.NONE)


def write_edges(folder: Path, *rows: str, header: str = "child,parent") -> Path:
    path = folder / "taxonomy.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def parents_by_id(tree: Tree) -> dict[str, str | None]:
    return {
        child: tree.ids[parent] if parent != ROOT else None
        for child, parent in zip(tree.ids, tree.parents, strict=True)
    }


# --- ImageNet's own trees -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "num_classes", "digest"),
    [
        (WINTER21, 10_450, "5296ec8fd86b4db0eee1898e325ae61518de3641a3a481d0f794252f358e7ac4"),
        (FALL11, 11_221, "0f35263aaea20a4624d1866fe5c8af41ba3dd302dd0efca40ea209858406b3af"),
    ],
)
def test_the_tree_of_a_release_is_the_official_one_bit_for_bit(
    release: str, num_classes: int, digest: str
) -> None:
    tree = build_from_wordnet(imagenet_ids(release))
    assert len(tree.ids) == num_classes
    assert tree.parent_digest == digest


def test_every_winter21_class_has_the_ancestors_of_the_official_file(shared: Path) -> None:
    packed = (shared / "wordnet" / "official_winter21_tree.json.xz").read_bytes()
    official = json.loads(lzma.decompress(packed))
    ids = sorted(official["class_description"])
    assert ids == imagenet_ids(WINTER21)
    ancestors_CL = make_levels(build_from_wordnet(ids)).ancestors_CL.tolist()
    own_first = [[label for label in row if label != NONE][::-1] for row in ancestors_CL]
    assert own_first == official["class_tree_list"]
    names = official["class_description"]
    assert [name_of(class_id) for class_id in ids] == [
        names[class_id].replace("_", " ") for class_id in ids
    ]


@pytest.mark.parametrize(
    ("release", "classes_at_depth"),
    [
        (FALL11, [302, 1378, 2100, 2605, 2204, 1371, 716, 290, 146, 82, 26, 1]),
        (WINTER21, [302, 1067, 1823, 2486, 2165, 1353, 710, 289, 146, 82, 26, 1]),
    ],
)
def test_the_classes_at_each_depth_of_a_release_are_as_many_as_published(
    release: str, classes_at_depth: list[int]
) -> None:
    tree = build_from_wordnet(imagenet_ids(release))
    assert make_levels(tree).counts_L.tolist() == classes_at_depth
    assert tree.parents.count(ROOT) == 302


def test_the_fall11_tree_has_the_leaves_and_lone_roots_that_are_known() -> None:
    tree = build_from_wordnet(imagenet_ids(FALL11))
    inner = set(tree.parents) - {ROOT}
    roots = {label for label, parent in enumerate(tree.parents) if parent == ROOT}
    assert len(tree.ids) - len(inner) == 8_803
    assert len(roots - inner) == 249


def test_the_wordnet_tree_names_its_rule_and_records_the_edges_it_passed_over() -> None:
    tree = build_from_wordnet(imagenet_ids(FALL11))
    assert (tree.rule, tree.lexicon) == ("imagenet", "WordNet 3.0")
    hypernyms = load_wordnet().hypernyms
    assert all(parent in hypernyms[child] for child, parent in tree.edges_not_taken)
    assert len(set(tree.edges_not_taken)) == len(tree.edges_not_taken)
    passed_over = {child for child, _ in tree.edges_not_taken}
    assert len({child for child in passed_over if len(hypernyms[child]) > 1}) == 349
    assert [name_of(child) for child in passed_over if len(hypernyms[child]) == 1] == ["sun"]


def test_an_id_that_wordnet_does_not_know_is_named_with_the_way_out() -> None:
    with pytest.raises(TreeError, match=r"'n99999999' of the 2 classes is no WordNet.*--taxonomy"):
        build_from_wordnet(["n02084071", "n99999999"])


def test_of_many_unknown_ids_three_are_named_and_the_rest_counted() -> None:
    with pytest.raises(TreeError, match="'a', 'b', 'c' and 2 more of the 5 classes are no"):
        build_from_wordnet(list("abcde"))


# --- own taxonomies -----------------------------------------------------------------------------


def test_the_parent_of_a_class_is_the_nearest_class_above_names_that_are_none(tmp_path: Path) -> None:
    edges = write_edges(
        tmp_path,
        "swan,waterfowl",
        "waterfowl,winged",
        "winged,bird",
        "bird,creature",
        "creature,",
        "rose,plant",
        "plant,",
    )
    tree = build_from_edges(["bird", "rose", "swan"], edges)
    assert parents_by_id(tree) == {"bird": None, "rose": None, "swan": "bird"}
    assert (tree.rule, tree.lexicon) == ("first row", "taxonomy.csv")
    assert tree.edges_not_taken == ()


def test_a_class_that_stands_only_as_a_parent_is_a_root(tmp_path: Path) -> None:
    tree = build_from_edges(["bird", "swan"], write_edges(tmp_path, "swan,bird"))
    assert parents_by_id(tree) == {"bird": None, "swan": "bird"}


def test_the_first_of_several_parents_counts_and_the_others_are_recorded(tmp_path: Path) -> None:
    edges = write_edges(
        tmp_path, "seaplane,aircraft", "seaplane,boat", "boat,", "aircraft,vehicle", "aircraft,toy"
    )
    tree = build_from_edges(["boat", "seaplane", "toy", "vehicle"], edges)
    assert parents_by_id(tree) == {"boat": None, "seaplane": "vehicle", "toy": None, "vehicle": None}
    assert tree.edges_not_taken == (("seaplane", "boat"), ("aircraft", "toy"))


def test_the_order_of_the_classes_is_the_order_of_the_labels(tmp_path: Path) -> None:
    edges = write_edges(tmp_path, "a,c", "b,c", "c,")
    assert build_from_edges(["c", "b", "a"], edges).parents == (ROOT, 0, 0)
    assert build_from_edges(["a", "b", "c"], edges).parents == (2, 2, ROOT)


def test_spaces_a_byte_order_mark_and_further_columns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "from-a-spreadsheet.csv"
    path.write_bytes("\ufeffchild, parent, note\r\n swan , bird ,white\r\nbird,,\r\n".encode())
    assert parents_by_id(build_from_edges(["bird", "swan"], path)) == {"bird": None, "swan": "bird"}


@pytest.mark.parametrize(
    ("rows", "cycle"),
    [
        (["swan,bird", "bird,swan"], "bird > swan > bird"),
        (["swan,swan", "bird,"], "swan > swan"),
        (["swan,x", "x,y", "y,x", "bird,"], "x > y > x"),
        (["bird,swan", "swan,x", "x,y", "y,x"], "x > y > x"),
    ],
)
def test_a_cycle_is_shown_with_what_to_do(rows: list[str], cycle: str, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=f"cycle, {cycle}: remove one"):
        build_from_edges(["bird", "swan"], write_edges(tmp_path, *rows))


def test_a_cycle_over_names_that_are_no_classes_names_a_class(tmp_path: Path) -> None:
    edges = write_edges(tmp_path, "swan,x", "x,swan", "bird,")
    with pytest.raises(TreeError, match=r"cycle, .*swan"):
        build_from_edges(["bird", "swan"], edges)


def test_a_class_that_the_file_does_not_mention_is_named_with_the_nearest_and_the_row_to_add(
    tmp_path: Path,
) -> None:
    edges = write_edges(tmp_path, "swans,bird", "bird,")
    with pytest.raises(TreeError, match=r"'swan' of the 2 .*did you mean 'swans'.*`swan,PARENT`"):
        build_from_edges(["bird", "swan"], edges)


@pytest.mark.parametrize("header", ["kind,parent", "child,above", "child|parent", ""])
def test_a_file_without_the_two_columns_is_refused_with_the_line_it_needs(
    header: str, tmp_path: Path
) -> None:
    edges = write_edges(tmp_path, "swan,bird", header=header)
    with pytest.raises(TreeError, match=rf"begins with '{re.escape(header)}': its .*`child,parent`"):
        build_from_edges(["swan"], edges)


def test_a_file_without_edges_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_bytes(b"child,parent\n")
    with pytest.raises(TreeError, match=r"taxonomy\.csv holds no taxonomy"):
        build_from_edges(["swan"], path)


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"absent\.csv cannot be read"):
        build_from_edges(["swan"], tmp_path / "absent.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"child,parent\n\xff\xfe,\x80\n")
    with pytest.raises(TreeError, match=r"binary\.csv cannot be read as CSV"):
        build_from_edges(["swan"], binary)


# --- tree.json ----------------------------------------------------------------------------------


@settings(deadline=None)  # it waits for the disk
@given(forests())
def test_a_tree_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    path = tmp_path_factory.mktemp("trees") / "tree.json"
    save_tree(path, tree)
    assert load_tree(path, classes_digest=tree.classes_digest) == tree


def test_rule_lexicon_and_edges_not_taken_survive_the_file(tmp_path: Path) -> None:
    tree = Tree(("b", "a"), (1, ROOT), "first row", "plants.csv", (("b", "x"), ("b", "y")))
    save_tree(tmp_path / "tree.json", tree)
    assert load_tree(tmp_path / "tree.json", classes_digest=tree.classes_digest) == tree


@pytest.mark.parametrize("others", [("a", "b"), ("b", "a", "c"), ("b", "c")])
def test_a_tree_of_another_class_table_is_refused(others: tuple[str, ...], tmp_path: Path) -> None:
    tree = Tree(("b", "a"), (1, ROOT), "first row", "plants.csv")
    other = Tree(others, (ROOT,) * len(others), "first row", "plants.csv")
    save_tree(tmp_path / "tree.json", tree)
    with pytest.raises(MismatchError, match="hypernym tree build"):
        load_tree(tmp_path / "tree.json", classes_digest=other.classes_digest)


def test_a_missing_tree_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"does not exist: run `hypernym tree build"):
        load_tree(tmp_path / "tree.json", classes_digest="")


@pytest.mark.parametrize(
    "damage",
    [
        {"parents": {"b": "elsewhere", "a": None}},
        {"parents": {"b": "a"}},
        {"parents": {"a": None, "b": "a"}},
        {"parents": {"b": "a", "a": "b"}},
        {"parents": None},
        {"edges_not_taken": None},
        {"version": 99},
        {"format": "hypernym.dataset"},
    ],
    ids=str,
)
def test_a_tree_file_that_was_changed_by_hand_is_refused(
    damage: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "tree.json"
    tree = Tree(("b", "a"), (1, ROOT), "first row", "plants.csv")
    save_tree(path, tree)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(TreeError):
        load_tree(path, classes_digest=tree.classes_digest)
