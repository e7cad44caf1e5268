"""Every form of a taxonomy is read, and a tree comes back from each form that is written."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import forests

from hypernym.data.classes import ClassTable
from hypernym.errors import TreeError
from hypernym.hierarchy.exports import export_outline
from hypernym.hierarchy.findings import check_taxonomy, check_tree
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.outline import make_outline
from hypernym.hierarchy.taxonomies import Taxonomy, read_taxonomy
from hypernym.hierarchy.tree import (
    ROOT,
    Inner,
    Tree,
    build_from_wordnet,
    build_tree,
    load_tree,
    save_tree,
)
from hypernym.hierarchy.wordnet import ParentRule, load_wordnet

CIFAR100 = Path(__file__).parents[1] / "docs/examples/cifar100.csv"
PETS = {"animal": None, "cat": "animal", "dog": "animal", "plant": None}


def parents_by_id(tree: Tree) -> dict[str, str | None]:
    return {
        child: tree.ids[parent] if parent != ROOT else None
        for child, parent in zip(tree.ids, tree.parents, strict=True)
    }


def make_classes(ids: tuple[str, ...]) -> ClassTable:
    return ClassTable(ids, ids, (3,) * len(ids), (1,) * len(ids), (0,) * len(ids))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, name: str, text: str) -> Taxonomy:
    return read_taxonomy(write(folder, name, text))


def stated(taxonomy: Taxonomy) -> dict[str, str | None]:
    """Return the parent that counts of each id of a taxonomy."""
    return {node: taxonomy.parent_of(node) for node in taxonomy.parents}


# --- round trips --------------------------------------------------------------------------------


def written(tree: Tree, folder: Path, form: str) -> Path | nx.DiGraph[str]:
    """Write a tree in a form and return what is to be read."""
    outline = make_outline(tree, make_classes(tree.ids))
    match form:
        case "tree.json":
            save_tree(folder / "tree.json", tree)
            return folder / "tree.json"
        case "folders":
            top = folder / "folders"
            paths: dict[str | None, Path] = {None: top}
            for entry in outline:
                paths[entry.id] = paths[entry.parent] / entry.id
                paths[entry.id].mkdir(parents=True)
            return top
        case "graph":
            graph: nx.DiGraph[str] = nx.DiGraph()
            graph.add_nodes_from(tree.ids)
            graph.add_edges_from(
                (tree.ids[parent], child)
                for child, parent in zip(tree.ids, tree.parents, strict=True)
                if parent != ROOT
            )
            return graph
        case _:
            export_outline(folder / f"tree{form}", outline, "a tree")
            return folder / f"tree{form}"


@pytest.mark.parametrize("form", [".csv", ".json", ".nwk", "tree.json", "folders", "graph"])
@given(tree=forests(max_classes=15))
def test_a_tree_comes_back_from_every_form(
    tmp_path_factory: pytest.TempPathFactory, form: str, tree: Tree
) -> None:
    taxonomy = read_taxonomy(written(tree, tmp_path_factory.mktemp("trees"), form))
    back = build_tree(tree.ids, taxonomy, Inner.ALL)
    assert (back.ids, back.parents, back.num_added) == (tree.ids, tree.parents, 0)
    assert not list(check_taxonomy(tree.ids, taxonomy))


IDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@pytest.mark.parametrize("form", [".csv", ".json", ".nwk"])
@given(ids=st.lists(IDS, min_size=3, max_size=3, unique=True))
def test_ids_of_any_signs_come_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, ids: list[str]
) -> None:
    tree = Tree(tuple(ids), (ROOT, 0, 1), "drawn", "a test")
    taxonomy = read_taxonomy(written(tree, tmp_path_factory.mktemp("trees"), form))
    assert parents_by_id(build_tree(ids, taxonomy, Inner.ALL)) == parents_by_id(tree)


def test_newick_is_one_tree_with_a_nameless_root_only_where_it_needs_one(tmp_path: Path) -> None:
    one = Tree(("a", "b", "c d"), (ROOT, 0, 0), "by hand", "none")
    written(one, tmp_path, ".nwk")
    assert (tmp_path / "tree.nwk").read_text() == "(b,'c d')a;\n"
    two = Tree(("a", "b", "c"), (ROOT, ROOT, 0), "by hand", "none")
    written(two, tmp_path, ".nwk")
    assert (tmp_path / "tree.nwk").read_text() == "((c)a,b);\n"


# --- networkx as the oracle ---------------------------------------------------------------------


@given(forests(), st.data())
def test_inner_classes_depths_and_ancestors_are_those_that_networkx_finds(
    tree: Tree, data: st.DataObject
) -> None:
    graph = written(tree, Path(), "graph")
    assert isinstance(graph, nx.DiGraph)
    ids = sorted(data.draw(st.sets(st.sampled_from(tree.ids), min_size=1)))
    above = set[str]().union(*(nx.ancestors(graph, node) for node in ids))
    met = graph.subgraph(above | set(ids))
    branching = {node for node in met if met.out_degree(node) > 1}
    for inner, added in (
        (Inner.ALL, above - set(ids)),
        (Inner.BRANCHING, branching - set(ids)),
        (Inner.NONE, set[str]()),
    ):
        built = build_tree(ids, read_taxonomy(graph), inner)
        assert built.ids == (*ids, *sorted(added))
        assert built.num_labels == len(ids)
        levels = make_levels(built)
        for index, node in enumerate(built.ids):
            ancestors = nx.ancestors(graph, node) & set(built.ids)
            assert levels.depth_C[index] == len(ancestors)
            places = levels.ancestors_CL[index][: len(ancestors)]
            assert {built.ids[place] for place in places} == ancestors


# --- the forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "child,parent\ncat,animal\ndog,animal\nplant,\n"),
        ("a.csv", "Child; Parent\r\ncat;animal\r\n\r\ndog;animal\r\nplant;\r\n"),
        ("a.csv", "photos\tPARENT\tchild\n3\tanimal\tcat\n4\tanimal\tdog\n"),
        ("a.json", '{"animal": {"cat": {}, "dog": null}, "plant": {}}'),
        ("a.json", '[{"animal": ["cat", "dog"]}, "plant"]'),
        ("a.json", '[{"id": "animal", "children": [{"id": "cat"}, "dog"]}, {"id": "plant"}]'),
        ("a.json", '[{"id": "", "name": "animal", "children": ["cat", "dog"]}, {"name": "plant"}]'),
        ("a.json", '{"name": "animal", "children": [{"name": "cat", "size": 3}, "dog", []]}'),
        ("a.json", '{"child_2_parent": {"cat": "animal", "dog": "animal"}}'),
        ("a.nwk", "((cat,dog)animal,plant);"),
        ("a.newick", "('cat':0.1,dog:2e-3)animal:1;\nplant;\n"),
        ("a.nwk", "((cat,dog)animal,plant);[a comment] [another]\n"),
        ("a.NWK", "[a comment] (((cat), dog)animal [&&NHX:S=x] , , plant);"),
    ],
)
def test_each_form_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    found = stated(read(tmp_path, name, text))
    assert found.items() >= {key: PETS[key] for key in ("animal", "cat", "dog")}.items()
    assert found.items() <= PETS.items()


def test_names_come_from_columns_records_and_nodes(tmp_path: Path) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph([("a", "c")])
    graph.nodes["c"]["name"] = "cat"
    forms = [
        read(tmp_path, "a.csv", "child,parent,name\nc,a,cat\nc,b,another\n"),
        read(tmp_path, "a.json", '{"id": "a", "children": [{"id": "c", "name": "cat"}]}'),
        read_taxonomy(graph),
    ]
    assert [taxonomy.names["c"] for taxonomy in forms] == ["cat"] * 3
    assert all(build_tree(["c"], taxonomy, Inner.NONE).names == {"c": "cat"} for taxonomy in forms)


def test_hidden_folders_and_files_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "animal/cat").mkdir(parents=True)
    (tmp_path / ".git/objects").mkdir(parents=True)
    write(tmp_path, "animal/readme.txt", "")
    assert stated(read_taxonomy(tmp_path)) == {"animal": None, "cat": "animal"}


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.txt", "cat", r"a\.txt is no taxonomy .*\.csv, \.json, \.nwk"),
        ("a.json", "{", r"a\.json cannot be read as JSON"),
        ("a.json", '{"cat": {}, "cat": {"tabby": {}}}', "the key 'cat' stands twice"),
        ("a.json", '{"cat": 5}', r"a\.json: 5 is no part of a taxonomy"),
        ("a.json", '{"": {}}', "is no part of a taxonomy"),
        ("a.json", "[" * 100_000, r"cannot be read as JSON"),
        ("a.json", "{}", "there is not one id in it"),
        ("a.csv", "child,parent\n,animal\n", "row 2: 'animal' has no child"),
        ("a.csv", "", r"a\.csv begins with '': its first line has to name the columns"),
        ("a.csv", "child,parent\n", "there is not one id in it"),
        ("a.csv", "cat,animal\n", r"begins with 'cat,animal': its first line .* `child,parent`"),
        ("a.csv", "child|parent\ncat|animal\n", r"'child\|parent': .* a comma, a semicolon or a tab"),
        ("a.csv", 'child,parent\ncat,a\n"dog,a\nowl,a\n', r"row 3: 'dog,a.* over several lines: close"),
        ("a.nwk", "", "there is not one id in it"),
        ("a.nwk", "(cat,dog)animal", "semicolon"),
        ("a.nwk", "(cat,dog;", "near ';'"),
        ("a.nwk", "cat);", r"near '\);'"),
        ("a.nwk", "(cat)(dog);", r"near '\(dog\);'"),
        ("a.nwk", "cat 'dog';", "near \"'dog';\""),
    ],
)
def test_a_broken_taxonomy_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(TreeError, match=sentence):
        read(tmp_path, name, text)


def test_a_missing_taxonomy_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"nowhere does not exist: a taxonomy is a \.csv"):
        read_taxonomy(tmp_path / "nowhere")
    with pytest.raises(TreeError, match="not one id"):
        read_taxonomy(tmp_path)


# --- networkx -------------------------------------------------------------------------------------


def test_a_multigraph_is_read_and_a_name_that_is_none_is_no_name() -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph([("animal", "cat"), ("animal", "cat")])
    graph.nodes["cat"]["name"] = None
    taxonomy = read_taxonomy(graph)
    assert stated(taxonomy) == {"animal": None, "cat": "animal"}
    assert taxonomy.names == {}
    assert [finding.kind for finding in check_taxonomy(["cat"], taxonomy)] == ["stated twice"]


def test_graphs_without_direction_and_nodes_without_an_id_are_refused() -> None:
    edges: list[tuple[str, str]] = [("animal", "cat")]
    for graph in (nx.Graph(edges), nx.MultiGraph(edges)):
        with pytest.raises(TreeError, match="edges without a direction: give a DiGraph"):
            read_taxonomy(graph)
    with pytest.raises(TreeError, match="a node whose id is empty"):
        read_taxonomy(nx.DiGraph([*edges, ("animal", "")]))


# --- ids at two places ----------------------------------------------------------------------------


TWO_OTHERS = {
    "a.json": '{"birds": {"other": {"x": {}}}, "fish": {"other": {"y": {}}}}',
    "b.json": '[{"id": "birds", "children": [{"id": "other", "children": ["x"]}]}, {"fish": '
    '{"other": "y"}}]',
    "a.nwk": "(((x)other)birds,((y)other)fish);",
    "folders": "birds/other/x fish/other/y",
}


def make(folder: Path, name: str, text: str) -> Taxonomy:
    """Read a text in the form that its name says, or folders inside folders."""
    if name != "folders":
        return read(folder, name, text)
    for place in text.split():
        (folder / name / place).mkdir(parents=True)
    return read_taxonomy(folder / name)


@pytest.mark.parametrize("name", TWO_OTHERS)
def test_two_classes_with_one_id_are_fatal_and_both_places_named(tmp_path: Path, name: str) -> None:
    taxonomy = make(tmp_path, name, TWO_OTHERS[name])
    (found,) = [each for each in check_taxonomy(["x", "y"], taxonomy) if each.severity == "fatal"]
    assert (found.kind, found.class_id) == ("duplicate id", "other")
    told = "stands at birds/other (above x) and at fish/other (above y)"
    assert found.sentence == f"{told}: these are two classes with one id, so rename one"
    with pytest.raises(TreeError, match="'other' stands at birds/other"):
        build_tree(["x", "y"], taxonomy, Inner.ALL)


def test_two_classes_with_one_id_are_a_warning_where_the_dataset_has_neither(tmp_path: Path) -> None:
    text = TWO_OTHERS["a.json"][:-1] + ', "insects": {"bee": {}}}'
    taxonomy = read(tmp_path, "a.json", text)
    found = [f"{each.severity} {each.kind}" for each in check_taxonomy(["bee"], taxonomy)]
    assert found.count("warning duplicate id") == 1
    assert not any(line.startswith("fatal") for line in found)
    assert parents_by_id(build_tree(["bee"], taxonomy, Inner.ALL)) == {"bee": "insects", "insects": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"a": {"x": {}}, "b": ["x"]}'),
        ("a.json", '{"a": {"x": {"y": {}}}, "b": {"x": ["y"]}}'),  # a graph, written out as a tree
        ("a.json", '{"a": {"x": {"y": {}}}, "b": ["x"]}'),
        ("a.nwk", "((x)a,(x)b);"),
        ("folders", "a/x b/x"),
    ],
)
def test_one_class_at_two_places_is_a_warning_and_the_first_counts(
    tmp_path: Path, name: str, text: str
) -> None:
    taxonomy = make(tmp_path, name, text)
    found = {each.class_id: each for each in check_taxonomy(["x"], taxonomy)}["x"]
    assert (str(found.severity), found.kind) == ("warning", "duplicate id")
    assert found.sentence.startswith("stands at a/x and at b/x and is taken as one class: if there are")
    assert parents_by_id(build_tree(["x"], taxonomy, Inner.ALL)) == {"x": "a", "a": None}


@pytest.mark.parametrize(
    "text", ["((cat,dog)95,(oak,elm)95);", "((cat,dog)100:1,(oak,elm)100)100;", "((cat,dog)0.9,oak)0.9;"]
)
def test_support_values_are_not_taken_for_classes(tmp_path: Path, text: str) -> None:
    taxonomy = read(tmp_path, "a.nwk", text)
    fatal = [each for each in check_taxonomy(["cat", "oak"], taxonomy) if each.severity == "fatal"]
    assert fatal[0].kind == "duplicate id"
    assert "take it out if it is a support value (Newick)" in fatal[0].sentence
    with pytest.raises(TreeError, match="support value"):
        build_tree(["cat", "oak"], taxonomy, Inner.ALL)


def test_a_number_is_an_id_like_any_other(tmp_path: Path) -> None:
    taxonomy = read(tmp_path, "a.nwk", "((9606,9598)9604)9443;")
    assert parents_by_id(build_tree(["9606"], taxonomy, Inner.ALL)) == {
        "9606": "9604",
        "9604": "9443",
        "9443": None,
    }
    assert not taxonomy.duplicates


def test_a_chain_without_names_may_be_as_deep_as_it_likes(tmp_path: Path) -> None:
    taxonomy = read(tmp_path, "a.nwk", f"{'(' * 5000}cat{')' * 5000}animal;")
    assert stated(taxonomy) == {"animal": None, "cat": "animal"}


# --- rules and inner classes --------------------------------------------------------------------


def test_the_rules_of_wordnet_differ_where_imagenet_chose_for_itself() -> None:
    ids = ["n04524313", "n04576211", "n07705931", "n13134947"]  # two vehicles, two fruits
    imagenet = build_from_wordnet(ids)
    first = build_from_wordnet(ids, ParentRule.FIRST_HYPERNYM)
    assert (imagenet.rule, first.rule) == ("imagenet", "first-hypernym")
    assert imagenet.parents == (ROOT, ROOT, ROOT, ROOT)
    for child, parent in parents_by_id(first).items():
        assert parent is None or parent == load_wordnet().hypernyms[child][0]
    assert first.parents != imagenet.parents


def test_wordnet_gives_leaf_classes_the_inner_classes_above_them() -> None:
    tree = build_from_wordnet(["n01621127", "n02055803"], inner=Inner.BRANCHING)  # owl, penguin
    assert parents_by_id(tree) == {"n01621127": "n01503061", "n02055803": "n01503061", "n01503061": None}
    assert tree.name_all(("owl", "penguin")) == ("owl", "penguin", "bird")


def test_cifar100_gains_its_20_superclasses() -> None:
    leaves = sorted(node for node, ups in read_taxonomy(CIFAR100).parents.items() if ups)
    tree = build_tree(leaves, read_taxonomy(CIFAR100), Inner.ALL)
    levels = make_levels(tree)
    assert (len(leaves), tree.num_labels, tree.num_added) == (100, 100, 20)
    assert levels.counts_L.tolist() == [20, 100]
    assert [tree.parents.count(index) for index in range(100, 120)] == [5] * 20
    assert parents_by_id(tree)["maple_tree"] == "trees"
    assert tree.name_all(leaves)[leaves.index("maple_tree")] == "maple tree"
    kinds = [finding.kind for finding in check_tree(tree, make_classes(tuple(leaves)))]
    assert kinds == ["added"] * 20


def test_cifar100_has_the_classes_of_its_pictures(shared: Path) -> None:
    import tarfile

    with tarfile.open(shared / "data/cifar100.tar") as archive:
        found = {name.split("/")[1] for name in archive.getnames() if name.endswith(".png")}
    assert found == {node for node, ups in read_taxonomy(CIFAR100).parents.items() if ups}


def test_added_classes_survive_the_file_and_leave_the_digest_alone(tmp_path: Path) -> None:
    taxonomy = read(tmp_path, "a.json", '{"animal": {"cat": {}, "dog": {}}}')
    tree = build_tree(["cat", "dog"], taxonomy, Inner.ALL)
    plain = build_tree(["cat", "dog"], taxonomy, Inner.NONE)
    assert tree.classes_digest == plain.classes_digest
    assert tree.names == {"animal": "animal"}
    save_tree(tmp_path / "tree.json", tree)
    assert load_tree(tmp_path / "tree.json", classes_digest=plain.classes_digest) == tree


@pytest.mark.parametrize("num_labels", [0, 1, 3, -1, "2", None])
def test_a_wrong_number_of_labels_in_the_file_is_noticed(tmp_path: Path, num_labels: object) -> None:
    taxonomy = read(tmp_path, "a.json", '{"animal": {"cat": {}, "dog": {}}}')
    tree = build_tree(["cat", "dog"], taxonomy, Inner.ALL)
    path = tmp_path / "tree.json"
    save_tree(path, tree)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_labels": num_labels}))
    with pytest.raises(TreeError, match="is damaged"):
        load_tree(path, classes_digest=tree.classes_digest)


# --- findings -----------------------------------------------------------------------------------


def findings_of(folder: Path, ids: list[str], text: str, inner: Inner = Inner.ALL) -> list[str]:
    """Return "severity kind class" of all that is found."""
    taxonomy = read(folder, "a.csv", f"child,parent,name\n{text}\n")
    found = list(check_taxonomy(ids, taxonomy))
    if not any(finding.severity == "fatal" for finding in found):
        found += check_tree(build_tree(ids, taxonomy, inner), make_classes(tuple(ids)))
    assert all(finding.sentence for finding in found)
    return [f"{finding.severity} {finding.kind} {finding.class_id}" for finding in found]


def test_a_sound_tree_gives_no_finding(tmp_path: Path) -> None:
    assert findings_of(tmp_path, ["a", "b", "c", "d"], "b,a\nc,a\nd,") == []


def test_every_orphan_and_every_cycle_is_fatal_and_named(tmp_path: Path) -> None:
    found = findings_of(tmp_path, ["a", "b", "lost", "x"], "a,b\nb,a\nx,x\nlast,")
    assert [line for line in found if line.startswith("fatal")] == [
        "fatal orphan lost",
        "fatal cycle a",
        "fatal cycle x",
    ]
    assert "note unknown id last" in found


def test_what_is_odd_about_a_tree_is_told_class_by_class(tmp_path: Path) -> None:
    rows = "b,a\nc,a\nb,a\nc,z\nz,\nd,e\ne,f\nf,\ng,,same\nh,,same"
    found = findings_of(tmp_path, ["b", "c", "d", "g", "h"], rows)
    assert sorted(found) == sorted(
        [
            "warning stated twice b",
            "note added a",
            "note added e",
            "note added f",
            "warning one child e",
            "warning one child f",
            "note lone at depth d",
            "note several parents c",
            "note shared name g",
        ]
    )


def test_a_class_without_training_images_is_a_warning() -> None:
    tree = Tree(("a", "b"), (ROOT, ROOT), "by hand", "none")
    table = ClassTable(("a", "b"), ("a", "b"), (3, 0), (1, 0), (0, 0))
    found = list(check_tree(tree, table))
    assert [(finding.severity, finding.kind, finding.class_id) for finding in found] == [
        ("warning", "no images", "b")
    ]
