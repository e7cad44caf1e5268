from pathlib import Path

from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import ROOT, build_from_wordnet
from hypernym.hierarchy.wordnet import name_of
from hypernym.world.archive import draw_world
from hypernym.world.classes import CLASSES, SMALL


def test_the_declared_tree_is_the_one_that_wordnet_gives() -> None:
    ids = tuple(sorted(drawn.id for drawn in CLASSES))
    tree = build_from_wordnet(ids)
    parents = [ids[parent] if parent != ROOT else None for parent in tree.parents]
    declared = {drawn.id: drawn.parent for drawn in CLASSES}
    assert dict(zip(ids, parents, strict=True)) == declared
    assert {drawn.id: drawn.name for drawn in CLASSES} == {
        class_id: name_of(class_id) for class_id in ids
    }


def test_the_world_is_large_and_deep_enough_to_show_something() -> None:
    tree = build_from_wordnet(sorted(drawn.id for drawn in CLASSES))
    levels = make_levels(tree)
    assert levels.num_classes >= 24
    assert levels.num_depths >= 4


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tar", "b.tar", "c.tar")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        draw_world(path, images_per_leaf=2, size=16, seed=seed, classes=SMALL)
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other
