"""Archives made to harm: nothing is written, memory is bounded, the walk ends in rows or a sentence."""

import gzip
import struct
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import (
    found,
    gnu_tar,
    names_below,
    parts_of,
    tar_of,
    walk,
    walk_or_sentence,
    write_class_tar,
)

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import tars
from hypernym.preparation.sources.part import Layout, readable
from hypernym.preparation.sources.tars import MAX_HEADER_BYTES, walk_members

BLOCK = tarfile.BLOCKSIZE


def member_of_type(kind: bytes, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo("special.JPEG")
    member.type = kind
    member.size = size
    member.linkname = "/etc/passwd"
    return member


def header_with_size(size: bytes, name: str = "bad.JPEG") -> bytes:
    """Return a header with a valid checksum whose 12 bytes of size are as given."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    return with_checksum(header)


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def member_with_pax(**headers: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("bad.JPEG")
    member.pax_headers = {name.replace("_", "."): value for name, value in headers.items()}
    return member


def first_image_then(rest: bytes) -> bytes:
    return tar_of(("whole.JPEG", b"whole"), end=False) + rest


# --- names --------------------------------------------------------------------------------------


def test_hostile_names_become_keys_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "one" / "two"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    names = [f"{tmp_path}/absolute.png", "../../up.png", "a/../../../up.png", "./here.png"]
    hostile = tar_of(*((name, b"picture") for name in names))
    whole = tar_of(*((name, hostile) for name in (f"{tmp_path}/b.tar", "../c.tar", "...tar", "..tar")))
    (tmp_path / "source.tar").write_bytes(whole)
    (tmp_path / "source.tar.gz").write_bytes(gzip.compress(whole))
    (tmp_path / "folders.tar").write_bytes(hostile)
    before = names_below(tmp_path)
    for name in ("source.tar", "source.tar.gz"):
        assert {key for key, _ in found(tmp_path / name)} == {
            f"{part}/{name}"
            for part in ("b", "c")  # names with a dot in front are hidden
            for name in names
        }
    assert {row.key: row.class_ids for row in walk(tmp_path / "folders.tar", Layout.FOLDER_TAR)} == {
        f"{tmp_path}/absolute.png": (tmp_path.parts[1],),
        "a/../../../up.png": ("a",),
        "../../up.png": (),
        "./here.png": (),
    }
    assert names_below(tmp_path) == before


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_name_that_is_not_utf8_becomes_a_key_that_is(form: int, tmp_path: Path) -> None:
    short = b"caf\xe9.JPEG".decode("utf-8", "surrogateescape")
    folder = "long" * 20 + "/" + "er" * 40 + "/"
    content = tar_of((short, b"1"), (folder + short, b"2"), form=form)
    assert found(write_class_tar(tmp_path, content)) == [
        (r"swan/caf\xe9.JPEG", b"1"),
        (rf"swan/{folder}caf\xe9.JPEG", b"2"),
    ]


NAMES = st.text(st.sampled_from("aé/.\udcff-"), min_size=1, max_size=8).map(
    lambda name: f"n{name * 30}n"
)


@given(
    st.lists(st.tuples(NAMES | NAMES.map(lambda name: name[:20]), st.binary(max_size=1100)), max_size=6),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@settings(deadline=None)
def test_a_walk_meets_the_members_that_tarfile_meets(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], form: int
) -> None:
    path = tmp_path_factory.mktemp("oracle") / "a.tar"
    try:
        path.write_bytes(tar_of(*members, form=form))
    except ValueError:  # ustar has no room for long names
        return
    with tarfile.open(path) as archive:
        truth = [(readable(member.name), member.offset_data, member.size) for member in archive]
    with path.open("rb") as stream:
        assert [(each.name, each.offset, each.size) for each in walk_members(stream)] == truth


# --- members that are no files ------------------------------------------------------------------


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
        pytest.param(member_with_pax(GNU_sparse_map="abc"), id="sparse map of letters"),
        pytest.param(member_with_pax(GNU_sparse_size="abc"), id="sparse size of letters"),
        pytest.param(member_with_pax(GNU_sparse_major="1", GNU_sparse_minor="0"), id="no sparse map"),
        pytest.param(member_of_type(b"Z"), id="unknown kind"),
    ],
)
def test_a_member_that_is_no_plain_file_is_a_row_with_a_reason(
    member: tarfile.TarInfo, tmp_path: Path
) -> None:
    class_tar = tar_of(("before.JPEG", b"1"), (member, b""), ("after.JPEG", b"2"))
    assert found(write_class_tar(tmp_path, class_tar)) == [
        ("swan/before.JPEG", b"1"),
        (f"swan/{member.name}", Reason.NOT_A_FILE),
        ("swan/after.JPEG", b"2"),
    ]
    assert names_below(tmp_path) == {"source.tar"}


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_the_sparse_files_of_gnu_tar_are_rows_and_the_walk_goes_on_behind_them(
    form: str, tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    with (folder / "2-sparse.JPEG").open("wb") as stream:
        for number in range(40):  # far more pieces than the first header has room for
            stream.seek(number * 65_536)
            stream.write(b"x" * 4096)
    for name in ("1.JPEG", "3.JPEG"):
        (folder / name).write_bytes(name.encode())
    names = sorted(path.name for path in folder.iterdir())
    gnu_tar("-C", folder, f"--format={form}", "--sparse", "-cf", tmp_path / "swan.tar", *names)
    source = write_class_tar(tmp_path, (tmp_path / "swan.tar").read_bytes())
    assert found(source) == [
        ("swan/1.JPEG", b"1.JPEG"),
        ("swan/2-sparse.JPEG", Reason.NOT_A_FILE),
        ("swan/3.JPEG", b"3.JPEG"),
    ]


def test_a_member_that_is_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "MAX_FILE_BYTES", 1000)
    archive = write_class_tar(tmp_path, tar_of(("1.jpg", bytes(1000)), ("2.jpg", bytes(1001))))
    assert found(archive) == [("swan/1.jpg", bytes(1000)), ("swan/2.jpg", Reason.TOO_LARGE)]


# --- damage -------------------------------------------------------------------------------------


def pax_then_image(records: bytes) -> bytes:
    return tar_of((member_of_type(tarfile.XHDTYPE), records), ("2.JPEG", b"2"))


# Each of these follows one whole image in a class tar.
DAMAGE = {
    "a header of noise": b"\xaa" * BLOCK + bytes(1024),
    "half a header": tarfile.TarInfo("bad.JPEG").tobuf()[:200],
    "a wrong checksum": tarfile.TarInfo("bad.JPEG").tobuf().replace(b"bad", b"bed") + bytes(1024),
    "a size of 2 to the power of 94": header_with_size(b"\x80" + b"\x7f" * 11) + bytes(1024),
    "a size below zero": header_with_size(b"\xff" * 4 + struct.pack(">q", -512)) + bytes(1024),
    "a size that leads back": header_with_size(b"\xff" * 4 + struct.pack(">q", -1536)) + bytes(1024),
    "a size that is no number": header_with_size(b"not a number") + bytes(1024),
    "a size behind the end": header_with_size(b"00000100000\0") + bytes(1024),
    "a pax size without bounds": tar_of((member_with_pax(size="9" * 30), b"x")),
    "a pax size of many digits": tar_of((member_with_pax(size="9" * 9000), b"x")),
    "a pax size below zero": tar_of((member_with_pax(size="-512"), b"x")),
    "a pax size in letters": tar_of((member_with_pax(size="many"), b"x")),
    "a pax record without end": pax_then_image(b"99 path=a\n"),
    "a pax record of other length": pax_then_image(b"9 path=abc\n"),
    "a pax record without length": pax_then_image(b"path=a\n"),
    "a pax record of length zero": pax_then_image(b"0 path=a\n"),
    "a pax record without sign": pax_then_image(b"7 path\n"),
    "a pax header of nothing": tar_of((member_of_type(tarfile.XHDTYPE), b"")),
    "a long name of nothing": tar_of((member_of_type(tarfile.GNUTYPE_LONGNAME), b"abc\0")),
    "two thousand long names": tar_of((member_of_type(tarfile.GNUTYPE_LONGNAME), b"abc\0"), end=False)
    * 2000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_in_a_class_tar_keeps_the_images_before_it_and_is_one_row(
    damage: bytes, tmp_path: Path
) -> None:
    rows = found(write_class_tar(tmp_path, first_image_then(damage)))
    assert rows[0] == ("swan/whole.JPEG", b"whole")
    assert rows[-1] == ("swan.tar", Reason.DAMAGED_ARCHIVE)
    assert len(rows) <= 3  # the member with the damage may be a row of its own


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_in_the_outer_tar_refuses_the_source(damage: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source.tar"
    source.write_bytes(tar_of(("swan.tar", tar_of(("1.JPEG", b"1"))), end=False) + damage)
    with pytest.raises(SourceError, match=r"source\.tar is not a whole, plain tar archive"):
        parts_of(source)


def test_a_hole_of_zeros_in_a_class_tar_is_damage_not_its_end(tmp_path: Path) -> None:
    class_tar = bytearray(tar_of(*((f"{number}.JPEG", b"x" * 512) for number in range(3))))
    class_tar[1024:1536] = bytes(512)  # the second header
    rows = found(write_class_tar(tmp_path, bytes(class_tar)))
    assert rows == [("swan/0.JPEG", b"x" * 512), ("swan.tar", Reason.DAMAGED_ARCHIVE)]


@pytest.mark.parametrize("content", [b"<html>", b"\x1f\x8b" + bytes(600), b"", b"x" * 2000])
def test_a_class_tar_that_is_no_tar_is_one_row(content: bytes, tmp_path: Path) -> None:
    assert found(write_class_tar(tmp_path, content)) == [("swan.tar", Reason.DAMAGED_ARCHIVE)]


def test_a_class_tar_cut_inside_an_image_has_a_truncated_image_and_a_row_for_the_rest(
    tmp_path: Path,
) -> None:
    class_tar = tar_of(("1.JPEG", b"1"), ("2.JPEG", b"2" * 2000), ("3.JPEG", b"3"))
    assert found(write_class_tar(tmp_path, class_tar[: 1024 + 512 + 700])) == [
        ("swan/1.JPEG", b"1"),
        ("swan/2.JPEG", Reason.TRUNCATED),
        ("swan.tar", Reason.DAMAGED_ARCHIVE),
    ]


CUT = tar_of(
    ("a/1.jpg", b"1"),
    ("b/" + "long" * 40 + ".jpg", b"2" * 1500),  # with an extended header
    ("b/3.jpg", b"3" * 513),
    end=False,
)
ENDS = [1024, 1024 + 1024 + 512 + 1536, len(CUT)]
"""Where each image ends in it."""


@pytest.mark.parametrize("length", range(0, len(CUT) + 1, BLOCK))
def test_a_tar_cut_at_any_block_gives_what_is_whole_and_says_what_is_lost(
    length: int, tmp_path: Path
) -> None:
    rows = found(write_class_tar(tmp_path, CUT[:length]))
    assert rows[-1] == ("swan.tar", Reason.DAMAGED_ARCHIVE)
    whole = sum(end <= length for end in ENDS)
    assert sum(isinstance(content, bytes) for _, content in rows) == whole
    assert all(content is Reason.TRUNCATED for _, content in rows[whole:-1])
    (tmp_path / "cut.tar").write_bytes(CUT[:length])
    with pytest.raises(SourceError, match=r"cut\.tar is not a whole, plain tar .*get it anew"):
        parts_of(tmp_path / "cut.tar")
    (tmp_path / "whole.tar").write_bytes(tar_of(("swan.tar", CUT))[: length + BLOCK])
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        parts_of(tmp_path / "whole.tar", Layout.TAR_OF_CLASS_TARS)


def test_an_outer_tar_whose_rest_was_never_downloaded_is_refused(tmp_path: Path) -> None:
    """Download tools claim the full size first: what is missing then is zeros."""
    class_tar = tar_of(("1.JPEG", b"1" * 1000))
    whole = tar_of(("a.tar", class_tar), ("b.tar", class_tar))
    length_of_one = len(tar_of(("a.tar", class_tar), end=False))
    source = tmp_path / "whole.tar"
    source.write_bytes(whole[:length_of_one] + bytes(2_000) + whole[length_of_one + 2_000 :])
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        parts_of(source)
    source.write_bytes(whole[:length_of_one] + bytes(tars.MAX_END_BYTES + 1))
    with pytest.raises(SourceError, match=r"whole\.tar is not a whole, plain tar .*get it anew"):
        parts_of(source)


# --- size ---------------------------------------------------------------------------------------


@contextmanager
def memory_of(most: int) -> Iterator[None]:
    """See that no more than `most` bytes are held at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def header_of_kind(kind: bytes, size: int) -> bytes:
    header = bytearray(member_of_type(kind).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % size
    return with_checksum(header)


def write_tars(folder: Path, content: bytes) -> Path:
    """Write a folder with the class tar of `swan`."""
    (folder / "tars").mkdir()
    (folder / "tars" / "swan.tar").write_bytes(content)
    return folder / "tars"


EXTENDING = [tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME]


@pytest.mark.parametrize("kind", [*EXTENDING, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK])
def test_an_extended_header_that_claims_very_much_is_not_read(kind: bytes, tmp_path: Path) -> None:
    source = write_tars(tmp_path, first_image_then(header_of_kind(kind, 256 << 20)))
    with (source / "swan.tar").open("r+b") as stream:
        stream.truncate(300 << 20)  # all of it is there, as a hole in the file
    with memory_of(8 << 20):
        rows = [content for _, content in found(source)]
    assert rows == [b"whole", Reason.DAMAGED_ARCHIVE]


@pytest.mark.parametrize("kind", EXTENDING)
def test_an_extended_header_within_bounds_is_read_quickly_whatever_it_holds(
    kind: bytes, tmp_path: Path
) -> None:
    size = MAX_HEADER_BYTES - 2 * BLOCK
    digits = header_of_kind(kind, size) + b"1" * size
    records = header_of_kind(kind, size) + b"5 a=\n" * (size // 6) + b"\n" * (size % 6)
    image = tar_of(("1.JPEG", b"1"))
    start = time.perf_counter()
    for number, content in enumerate((digits, records)):
        (tmp_path / str(number)).mkdir()
        found(
            write_tars(tmp_path / str(number), first_image_then(content + bytes(-size % BLOCK) + image))
        )
    assert time.perf_counter() - start < 120


def test_a_sparse_map_without_end_is_damage(tmp_path: Path) -> None:
    header = bytearray(header_of_kind(tarfile.GNUTYPE_SPARSE, 0))
    header[tars.EXTENDED_SPARSE] = 1
    more = bytearray(BLOCK)
    more[tars.MORE_SPARSE] = 1
    endless = with_checksum(header) + bytes(more) * (2 * MAX_HEADER_BYTES // BLOCK)
    rows = found(write_tars(tmp_path, first_image_then(endless)))
    assert rows == [("swan/whole.JPEG", b"whole"), ("swan.tar", Reason.DAMAGED_ARCHIVE)]


VERY_MANY = 40_000


@pytest.fixture(scope="module")
def very_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of members without bytes, in two folders."""
    path = tmp_path_factory.mktemp("many") / "many.tar"
    with path.open("wb") as stream:
        for number in range(VERY_MANY):
            name = f"{'a' if number < VERY_MANY // 2 else 'b'}/{number}.jpg"
            stream.write(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
        stream.write(bytes(2 * BLOCK))
    return path


def test_very_many_members_without_bytes_are_walked_in_bounded_memory(very_many: Path) -> None:
    start = time.perf_counter()
    parts = parts_of(very_many)
    count = 0
    for part in parts:
        count += sum(1 for _ in part.images())
    assert count == VERY_MANY
    assert time.perf_counter() - start < 120
    assert {len(list(part.images())) for part in parts[:2]} == {4096}


def test_a_walk_holds_no_more_than_one_member(very_many: Path) -> None:
    with very_many.open("rb") as stream, memory_of(1 << 20):
        assert sum(1 for _ in walk_members(stream, until=20_000 * BLOCK)) == 20_000


def test_an_image_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    class_tar = first_image_then(header_of_kind(tarfile.REGTYPE, 4 << 30))
    with (tmp_path / "swan.tar").open("wb") as stream:
        stream.write(class_tar)
        stream.truncate(len(class_tar) + (4 << 30) + 2 * BLOCK)
    (tmp_path / "tars").mkdir()
    (tmp_path / "swan.tar").rename(tmp_path / "tars/swan.tar")
    with memory_of(8 << 20):
        rows = [content for _, content in found(tmp_path / "tars")]
    assert rows == [b"whole", Reason.TOO_LARGE]


# --- anything at all ----------------------------------------------------------------------------

LONG = "long" * 30
SEEDS = [
    tar_of(("swan.tar", tar_of(("1.JPEG", b"1"), (f"{LONG}.JPEG", b"2"))), ("b.tar", CUT)),
    tar_of(("swan.tar", tar_of(("1.JPEG", b"1"), form=tarfile.GNU_FORMAT)), form=tarfile.GNU_FORMAT),
    tar_of(("train/a/1.jpg", b"1"), (f"train/{LONG}/{LONG}.jpg", b"2"), ("test/a/3.jpg", b"3" * 600)),
    tar_of((f"a/{LONG}.jpg", b"1"), ("b/2.jpg", b"2"), form=tarfile.GNU_FORMAT),
    tar_of(("1.jpg", b"1"), ("1.cls", b"7"), ("2.json", b'{"label": [1, "a"]}'), ("2.png", b"2")),
    tar_of((member_with_pax(GNU_sparse_map="0,1", size="1"), b"x"), ("a/2.jpg", b"2")),
]
LAYOUTS = [None, Layout.TAR_OF_CLASS_TARS, Layout.FOLDER_TAR, Layout.WEBDATASET]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a valid tar with bytes changed, pieces moved, taken out or put in twice."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["byte", "header", "cut", "take", "twice", "noise"])):
            case "byte":
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "header":  # a change that its checksum agrees with
                start = place // BLOCK * BLOCK
                header = content[start : start + BLOCK]
                field = draw(st.sampled_from([(0, 100), (124, 136), (156, 157), (257, 265), (345, 500)]))
                header[slice(*field)] = draw(
                    st.binary(min_size=field[1] - field[0], max_size=field[1] - field[0])
                )
                if len(header) == BLOCK:
                    content[start : start + BLOCK] = with_checksum(header)
            case "cut":
                del content[place:]
            case "take":
                del content[place // BLOCK * BLOCK : place // BLOCK * BLOCK + BLOCK]
            case "twice":
                start = place // BLOCK * BLOCK
                content[start:start] = content[start : start + draw(st.integers(1, 6)) * BLOCK]
            case "noise":
                content[place:place] = draw(st.binary(max_size=40))
    return bytes(content)


def check_the_front_door(content: bytes, layout: Layout | None, folder: Path) -> None:
    """See that a file of any bytes gives rows with reasons or one sentence, and writes nothing."""
    source = folder / "source.tar"
    source.write_bytes(content)
    rows, message = walk_or_sentence(source, layout)
    assert str(source) in message or not message
    assert len(rows) < 60
    assert all(isinstance(row.content, bytes | Reason) for row in rows)
    "".join(text for row in rows for text in (row.key, *row.class_ids)).encode()
    assert names_below(folder) == {"source.tar"}


@given(mutated(), st.sampled_from(LAYOUTS), st.booleans())
@settings(deadline=None, max_examples=400)
def test_a_tar_changed_in_any_way_ends_in_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    layout: Layout | None,
    is_packed: bool,
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    if is_packed:
        check_the_front_door(gzip.compress(content, 1), None, folder)
    else:
        check_the_front_door(content, layout, folder)


@given(
    st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"PAR1", b"PK\x03\x04", bytes(BLOCK)]),
    st.binary(max_size=2000),
    st.sampled_from(list(Layout)),
)
@settings(deadline=None, max_examples=200)
def test_any_bytes_in_any_layout_end_in_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes, layout: Layout
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for wanted in (None, layout):
        check_the_front_door(start + rest, wanted, folder)


@given(st.binary(min_size=BLOCK, max_size=BLOCK), st.integers(0, 3))
@settings(deadline=None, max_examples=300)
def test_any_header_with_a_right_checksum_leads_onwards(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, kind: int
) -> None:
    kinds = (b"0", b"x", b"L", b"S")
    block = bytearray(header)
    block[156:157] = kinds[kind]
    content = first_image_then(with_checksum(block) + tar_of(("a/2.jpg", b"2")))
    check_the_front_door(content, Layout.FOLDER_TAR, tmp_path_factory.mktemp("header"))
