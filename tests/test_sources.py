import gzip
import io
import os
import struct
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernym.data import sources
from hypernym.data.images import ImagePolicy, Resize
from hypernym.data.pipeline import PrepareRules, run_preparation
from hypernym.data.rejections import Reason, RejectionError
from hypernym.data.selection import SelectionRule
from hypernym.data.sources import FileSpan, find_parts, open_part
from hypernym.errors import SourceError

Found = list[tuple[str, bytes | Reason]]
"""Of each image its key and what reading it gave."""

MANY = 100
"""Far more rows than any archive here has members."""


def read_all(source: Path) -> Found:
    """Walk a whole source; a walk without an end is cut at `MANY` rows a part."""
    found: Found = []
    for part in find_parts(source):
        for image in islice(open_part(part), MANY):
            assert image.class_ids == (part.class_id,)
            try:
                found.append((image.key, image.read()))
            except RejectionError as rejection:
                found.append((image.key, rejection.rejected.reason))
    return found


def tar_of(
    *members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, end: bool = True
) -> bytes:
    """Return a tar; with `end` off, it stops where the blocks that close it would begin."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = member.size or len(content)
            archive.addfile(member, io.BytesIO(content))
        length = archive.offset
    return packed.getvalue() if end else packed.getvalue()[:length]


def write_class_tar(folder: Path, class_tar: bytes) -> Path:
    """Write a source of a single class, `swan`."""
    path = folder / "source.tar"
    path.write_bytes(tar_of(("swan.tar", class_tar)))
    return path


def member_of_type(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("special.JPEG")
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


def header_with_size(size: bytes, name: str = "bad.JPEG") -> bytes:
    """Return a header with a valid checksum whose 12 bytes of size are as given."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def member_with_pax(**headers: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("bad.JPEG")
    member.pax_headers = {name.replace("_", "."): value for name, value in headers.items()}
    return member


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


# --- class folders ------------------------------------------------------------------------------


def test_a_class_folder_gives_its_files_also_those_further_down_in_byte_order(tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/10.jpg", "b/B.jpg", "b/a.jpg", "b/deep/er/1.jpg", "a/é.jpg", "a/z.jpg"]
    make_files(tmp_path, *names)
    in_order = ["a/z.jpg", "a/é.jpg", "b/10.jpg", "b/2.jpg", "b/B.jpg", "b/a.jpg", "b/deep/er/1.jpg"]
    assert [part.name for part in find_parts(tmp_path)] == ["a", "b"]
    assert read_all(tmp_path) == [(name, name.encode()) for name in in_order]


def test_subfolders_are_walked_in_byte_order(tmp_path: Path) -> None:
    make_files(tmp_path, *(f"a/{name}/1.jpg" for name in ("é", "z", "a", "B", "10", "9")))
    assert [key for key, _ in read_all(tmp_path)] == [
        f"a/{name}/1.jpg" for name in ("10", "9", "B", "a", "z", "é")
    ]


def test_hidden_files_and_hidden_class_folders_are_skipped(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "a/.DS_Store", "a/deep/.hidden.jpg", ".git/1.jpg", "loose.jpg")
    assert read_all(tmp_path) == [("a/1.jpg", b"a/1.jpg")]


def test_hidden_folders_within_a_class_are_skipped(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "a/.thumbnails/1.jpg", "a/deep/.cache/er/1.jpg")
    assert read_all(tmp_path) == [("a/1.jpg", b"a/1.jpg")]


def test_what_is_no_file_in_a_class_folder_is_a_row_with_a_reason(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a/2-pipe.jpg")
    (tmp_path / "a/3-nowhere.jpg").symlink_to(tmp_path / "absent")
    assert read_all(tmp_path)[1:] == [
        ("a/2-pipe.jpg", Reason.NOT_A_FILE),
        ("a/3-nowhere.jpg", Reason.NOT_A_FILE),
    ]


def test_a_file_name_that_is_not_utf8_becomes_a_key_that_is(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    (tmp_path / "a" / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"latin")
    (tmp_path / os.fsdecode(b"\xe9t\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"\xe9t\xe9") / "2.jpg").write_bytes(b"summer")
    assert sorted(read_all(tmp_path)) == [
        (r"\xe9t\xe9/2.jpg", b"summer"),
        ("a/1.jpg", b"a/1.jpg"),
        (r"a/\xff\xfe.jpg", b"latin"),
    ]


def test_a_file_that_is_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(tmp_path, "folders/a/1.jpg")
    os.truncate(tmp_path / "folders/a/1.jpg", sources.MAX_FILE_BYTES + 1)
    assert read_all(tmp_path / "folders") == [("a/1.jpg", Reason.TOO_LARGE)]
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1000)
    archive = write_class_tar(tmp_path, tar_of(("1.jpg", bytes(1000)), ("2.jpg", bytes(1001))))
    assert read_all(archive) == [("swan/1.jpg", bytes(1000)), ("swan/2.jpg", Reason.TOO_LARGE)]


# --- tars of class tars -------------------------------------------------------------------------


def test_a_tar_of_class_tars_is_read_in_place(tmp_path: Path) -> None:
    swan = tar_of(("swan_10.JPEG", b"ten"), ("swan_2.JPEG", b"two" * 1000))
    fish = tar_of(("fish_1.JPEG", b""), ("inside/fish_2.JPEG", b"f"), form=tarfile.USTAR_FORMAT)
    source = tmp_path / "whole.tar"
    source.write_bytes(tar_of(("swan.tar", swan), ("README", b"text"), ("folder/fish.tar", fish)))
    assert [part.class_id for part in find_parts(source)] == ["fish", "swan"]
    assert read_all(source) == [
        ("fish/fish_1.JPEG", b""),
        ("fish/inside/fish_2.JPEG", b"f"),
        ("swan/swan_10.JPEG", b"ten"),
        ("swan/swan_2.JPEG", b"two" * 1000),
    ]
    assert names_below(tmp_path) == {"whole.tar"}


def test_classes_come_in_byte_order_whatever_their_order_in_the_tar(tmp_path: Path) -> None:
    source = tmp_path / "whole.tar"
    source.write_bytes(tar_of(*((f"{name}.tar", tar_of()) for name in ("é", "b", "B", "10", "9"))))
    assert [part.name for part in find_parts(source)] == ["10", "9", "B", "b", "é"]


def test_a_class_tar_without_images_is_a_class_without_images(tmp_path: Path) -> None:
    assert read_all(write_class_tar(tmp_path, tar_of())) == []


def test_folders_inside_a_class_tar_are_no_images(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    source = write_class_tar(tmp_path, tar_of((folder, b""), ("folder/1.JPEG", b"one")))
    assert read_all(source) == [("swan/folder/1.JPEG", b"one")]


@given(st.binary(max_size=300), st.data())
@settings(deadline=None)
def test_a_span_of_a_file_reads_like_the_file_that_it_spans(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("spans") / "file"
    path.write_bytes(b"before" + content + b"after")
    with FileSpan(path, len(b"before"), len(content)) as span:
        truth = io.BytesIO(content)
        for _ in range(5):
            whence = data.draw(st.sampled_from([io.SEEK_SET, io.SEEK_END]))
            place = data.draw(st.integers(0, 320)) if whence == io.SEEK_SET else 0
            length = data.draw(st.integers(-1, 320))
            assert span.seek(place, whence) == truth.seek(place, whence)
            assert span.read(length) == truth.read(length)
            assert span.tell() == truth.tell()


# --- hostile archives ---------------------------------------------------------------------------


def test_hostile_names_become_keys_and_nothing_is_written_outside_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "one" / "two"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    names = [f"{tmp_path}/absolute.png", "../../up.png", "a/../../../up.png", "./here.png"]
    picture = png()
    hostile = tar_of(*((name, picture) for name in names))
    source = tmp_path / "source.tar"
    source.write_bytes(
        tar_of(*((name, hostile) for name in (f"{tmp_path}/b.tar", "../c.tar", "...tar", "..tar")))
    )
    assert {key for key, _ in read_all(source)} == {
        f"{part}/{name}"
        for part in ("b", "c")
        for name in names  # names with a dot in front are hidden
    }
    assert names_below(tmp_path) == {"source.tar", "one", "one/two"}
    rules = PrepareRules(ImagePolicy(32, Resize.SQUISH, 90), SelectionRule(1, 0, 0), 1_000_000)
    made = run_preparation(source, here / "dataset", rules, name_classes=list, workers=1)
    assert len(made.index("train")) == 8
    outside = {name for name in names_below(tmp_path) if not name.startswith("one/two/dataset")}
    assert outside == {"source.tar", "one", "one/two"}
    with tarfile.open(here / "dataset" / "train" / "000000.tar") as shard:
        stored = shard.getnames()
    assert len(set(stored)) == 16
    assert not any(name.startswith("/") or ".." in name.split("/") for name in stored)


def png() -> bytes:
    """Return a picture of 8 by 8 black pixels."""
    from PIL import Image

    packed = io.BytesIO()
    Image.new("RGB", (8, 8)).save(packed, "PNG")
    return packed.getvalue()


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(member_of_type(tarfile.SYMTYPE), id="symbolic link"),
        pytest.param(member_of_type(tarfile.LNKTYPE), id="hard link"),
        pytest.param(member_of_type(tarfile.CHRTYPE), id="character device"),
        pytest.param(member_of_type(tarfile.BLKTYPE), id="block device"),
        pytest.param(member_of_type(tarfile.FIFOTYPE), id="pipe"),
        pytest.param(member_of_type(tarfile.GNUTYPE_SPARSE), id="sparse file"),
        pytest.param(
            member_with_pax(GNU_sparse_map="0,1", GNU_sparse_size=f"{1 << 40}"), id="sparse bomb"
        ),
        pytest.param(member_of_type(b"Z"), id="unknown kind"),
    ],
)
def test_a_member_that_is_no_plain_file_is_a_row_with_a_reason(
    member: tarfile.TarInfo, tmp_path: Path
) -> None:
    class_tar = tar_of(("before.JPEG", b"1"), (member, b""), ("after.JPEG", b"2"))
    found = read_all(write_class_tar(tmp_path, class_tar))
    assert found == [
        ("swan/before.JPEG", b"1"),
        (f"swan/{member.name}", Reason.NOT_A_FILE),
        ("swan/after.JPEG", b"2"),
    ]
    assert names_below(tmp_path) == {"source.tar"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_name_that_is_not_utf8_becomes_a_key_that_is(form: int, tmp_path: Path) -> None:
    name = b"caf\xe9.JPEG".decode("utf-8", "surrogateescape")
    found = read_all(write_class_tar(tmp_path, tar_of((name, b"1"), form=form)))
    assert found == [(r"swan/caf\xe9.JPEG", b"1")]


# Each of these follows one whole image in a class tar.
DAMAGE = {
    "a header of noise": b"\xaa" * 512 + bytes(1024),
    "half a header": tarfile.TarInfo("bad.JPEG").tobuf()[:200],
    "a wrong checksum": tarfile.TarInfo("bad.JPEG").tobuf().replace(b"bad", b"bed") + bytes(1024),
    "a size of 2 to the power of 94": header_with_size(b"\x80" + b"\x7f" * 11) + bytes(1024),
    "a size below zero": header_with_size(b"\xff" * 4 + struct.pack(">q", -512)) + bytes(1024),
    "a size that leads back": header_with_size(b"\xff" * 4 + struct.pack(">q", -1536)) + bytes(1024),
    "a size that is no number": header_with_size(b"not a number") + bytes(1024),
    "a pax size without bounds": tar_of((member_with_pax(size="9" * 30), b"x")),
    "a sparse map of letters": tar_of((member_with_pax(GNU_sparse_map="abc"), b"x")),
    "a sparse size of letters": tar_of((member_with_pax(GNU_sparse_size="abc"), b"x")),
    "a sparse file without its map": tar_of(
        (member_with_pax(GNU_sparse_major="1", GNU_sparse_minor="0"), b"x")
    ),
    "two thousand long names": tar_of((member_of_type(tarfile.GNUTYPE_LONGNAME), b"abc\0"), end=False)
    * 2000,
}


def first_image_then(damage: bytes) -> bytes:
    return tar_of(("whole.JPEG", b"whole"), end=False) + damage


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_in_a_class_tar_keeps_the_images_before_it_and_is_one_row(
    damage: bytes, tmp_path: Path
) -> None:
    found = read_all(write_class_tar(tmp_path, first_image_then(damage)))
    assert found[0] == ("swan/whole.JPEG", b"whole")
    assert found[-1] == ("swan.tar", Reason.DAMAGED_ARCHIVE)
    assert len(found) <= 3  # the member with the damage may be a row of its own


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_from_the_first_byte_on_is_one_row_too(damage: bytes, tmp_path: Path) -> None:
    found = read_all(write_class_tar(tmp_path, damage))
    assert found[-1] == ("swan.tar", Reason.DAMAGED_ARCHIVE)
    assert len(found) <= 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_in_the_outer_tar_refuses_the_source(damage: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source.tar"
    source.write_bytes(tar_of(("swan.tar", tar_of(("1.JPEG", b"1"))), end=False) + damage)
    with pytest.raises(SourceError, match=r"source\.tar is not a whole, plain tar archive"):
        find_parts(source)


def test_a_hole_of_zeros_in_a_class_tar_is_damage_not_its_end(tmp_path: Path) -> None:
    class_tar = bytearray(tar_of(*((f"{number}.JPEG", b"x" * 512) for number in range(3))))
    class_tar[1024:1536] = bytes(512)  # the second header
    found = read_all(write_class_tar(tmp_path, bytes(class_tar)))
    assert found == [("swan/0.JPEG", b"x" * 512), ("swan.tar", Reason.DAMAGED_ARCHIVE)]


@pytest.mark.parametrize("content", [b"<html>", b"\x1f\x8b" + bytes(600), bytes(100), b"", b"x" * 2000])
def test_a_class_tar_that_is_no_tar_is_one_row(content: bytes, tmp_path: Path) -> None:
    assert read_all(write_class_tar(tmp_path, content)) == [("swan.tar", Reason.DAMAGED_ARCHIVE)]


def test_a_class_tar_cut_inside_an_image_has_a_truncated_image_and_a_row_for_the_rest(
    tmp_path: Path,
) -> None:
    class_tar = tar_of(("1.JPEG", b"1"), ("2.JPEG", b"2" * 2000), ("3.JPEG", b"3"))
    assert read_all(write_class_tar(tmp_path, class_tar[: 1024 + 512 + 700])) == [
        ("swan/1.JPEG", b"1"),
        ("swan/2.JPEG", Reason.TRUNCATED),
        ("swan.tar", Reason.DAMAGED_ARCHIVE),
    ]


def test_a_class_tar_cut_between_two_images_has_a_row_for_the_rest(tmp_path: Path) -> None:
    class_tar = tar_of(("1.JPEG", b"1"), ("2.JPEG", b"2"), ("3.JPEG", b"3"))
    assert read_all(write_class_tar(tmp_path, class_tar[:2048])) == [
        ("swan/1.JPEG", b"1"),
        ("swan/2.JPEG", b"2"),
        ("swan.tar", Reason.DAMAGED_ARCHIVE),
    ]


@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None)
def test_no_change_of_bytes_in_a_class_tar_stops_the_walk(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    long_name = "long" * 40 + ".JPEG"
    class_tar = bytearray(tar_of(("1.JPEG", b"1"), (long_name, b"2"), ("3.JPEG", b"3")))
    for place, value in changes:
        class_tar[place] = value
    found = read_all(write_class_tar(tmp_path_factory.mktemp("changed"), bytes(class_tar)))
    assert len(found) < 10


# --- sources that are refused -------------------------------------------------------------------


def outer_tar() -> bytes:
    class_tar = tar_of(("1.JPEG", b"1" * 1000))
    return tar_of(("a.tar", class_tar), ("b.tar", class_tar), end=False)


LENGTH_OF_ONE = len(outer_tar()) // 2


@pytest.mark.parametrize(
    "length",
    [100, 512, 1000, 3000, LENGTH_OF_ONE - 1, LENGTH_OF_ONE + 100, LENGTH_OF_ONE + 512, -1000, -1],
)
def test_an_outer_tar_that_is_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    source = tmp_path / "whole.tar"
    source.write_bytes(outer_tar()[:length])
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        find_parts(source)


def test_an_outer_tar_that_is_cut_between_two_class_tars_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "whole.tar"
    source.write_bytes(outer_tar()[:LENGTH_OF_ONE])
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        find_parts(source)


def test_an_outer_tar_whose_rest_was_never_downloaded_is_refused(tmp_path: Path) -> None:
    """Download tools claim the full size first: what is missing then is zeros."""
    source = tmp_path / "whole.tar"
    content = outer_tar() + bytes(10_240)
    source.write_bytes(content[:LENGTH_OF_ONE] + bytes(2_000) + content[LENGTH_OF_ONE + 2_000 :])
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        find_parts(source)


def make_nothing(_: Path) -> None:
    """Leave the path empty."""


def make_empty_file(path: Path) -> None:
    path.touch()


def make_text(path: Path) -> None:
    path.write_text("<html>" * 200)


def make_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(outer_tar()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, "does not exist: give a folder of class folders or a tar"),
        (make_empty_file, "is not a whole, plain tar archive .*get it anew"),
        (make_text, "is not a whole, plain tar archive .*get it anew"),
        (make_gzip, "is not a whole, plain tar archive"),
    ],
)
def test_what_is_no_source_is_named_with_what_to_give(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "source")
    with pytest.raises(SourceError, match=f"{tmp_path}/source {message}"):
        find_parts(tmp_path / "source")


@pytest.mark.parametrize("content", [tar_of(), tar_of(("1.JPEG", b"1"), ("notes.txt", b"2"))])
def test_a_tar_without_class_tars_holds_no_classes(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "flat.tar"
    source.write_bytes(content)
    with pytest.raises(SourceError, match=r"flat\.tar holds no classes: .*one member CLASS\.tar"):
        find_parts(source)


@pytest.mark.parametrize("names", [(), ("1.jpg", "2.jpg"), (".hidden/1.jpg",)])
def test_a_folder_without_class_folders_holds_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    make_files(tmp_path, *names)
    with pytest.raises(SourceError, match="holds no classes: a folder needs one folder of images for"):
        find_parts(tmp_path)


def test_a_class_that_is_there_twice_is_named(tmp_path: Path) -> None:
    source = tmp_path / "twice.tar"
    source.write_bytes(tar_of(("old/swan.tar", tar_of()), ("new/swan.tar", tar_of())))
    with pytest.raises(SourceError, match=r"holds swan\.tar twice: keep one"):
        find_parts(source)


def test_a_source_that_vanishes_in_between_is_named(tmp_path: Path) -> None:
    source = write_class_tar(tmp_path, tar_of(("1.JPEG", b"1")))
    (part,) = find_parts(source)
    source.unlink()
    with pytest.raises(SourceError, match=r"source\.tar cannot be opened"):
        next(open_part(part))
