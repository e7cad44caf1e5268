"""Class tars: in a folder, in a tar, in a gzip'd tar."""

import gzip
import io
import os
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import (
    Row,
    found,
    gnu_tar,
    make_files,
    names_below,
    parts_of,
    photo,
    tar_of,
    walk,
    walk_part,
    write_class_tar,
)

from hypernym.data.rejections import Reason
from hypernym.errors import OutputError, SourceError
from hypernym.preparation.sources import streams
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout, Part
from hypernym.preparation.sources.places import FileSpan, place_of


def class_tars(folder: Path) -> Path:
    """Have GNU tar make class tars, as they are handed out: two classes, one with a folder in it."""
    make_files(folder / "raw", "swan/swan_10.JPEG", "swan/swan_2.JPEG", "fish/in/fish_1.JPEG")
    (folder / "tars").mkdir()
    for name in ("swan", "fish"):
        gnu_tar("-C", folder / "raw" / name, "-cf", folder / "tars" / f"{name}.tar", ".")
    return folder / "tars"


IN_CLASS_TARS = {
    ("fish/./in/fish_1.JPEG", b"fish/in/fish_1.JPEG"),
    ("swan/./swan_10.JPEG", b"swan/swan_10.JPEG"),
    ("swan/./swan_2.JPEG", b"swan/swan_2.JPEG"),
}


def test_the_class_tars_of_gnu_tar_are_read_from_a_folder_a_tar_and_under_gzip(
    tmp_path: Path,
) -> None:
    tars = class_tars(tmp_path)
    gnu_tar("-C", tars, "-cf", tmp_path / "whole.tar", "fish.tar", "swan.tar")
    gnu_tar("-C", tars, "-czf", tmp_path / "whole.tar.gz", "swan.tar", "fish.tar")
    for source in (tars, tmp_path / "whole.tar", tmp_path / "whole.tar.gz"):
        assert set(found(source)) == IN_CLASS_TARS
    assert {row.class_ids for row in walk(tars)} == {("swan",), ("fish",)}
    layouts = [
        open_source(str(tmp_path / name)).layout for name in ("tars", "whole.tar", "whole.tar.gz")
    ]
    assert layouts == [Layout.CLASS_TARS, Layout.TAR_OF_CLASS_TARS, Layout.GZIP_TAR_OF_CLASS_TARS]


def test_the_tar_of_tiny21k_is_read_in_place_and_in_one_pass_under_gzip(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "data" / "tiny21k.tar"
    if not source.exists():
        pytest.skip("tiny21k.tar is not in shared/data")
    with tarfile.open(source) as outer:
        names = [member.name for member in outer][:3]
    gnu_tar("-C", tmp_path, "-xf", source, *names)
    gnu_tar("-C", tmp_path, "-czf", tmp_path / "some.tar.gz", *names)
    in_place = {part.name: part for part in parts_of(source)}
    assert len(in_place) == 131
    spool = tmp_path / "spool"
    spool.mkdir()
    for streamed in open_source(str(tmp_path / "some.tar.gz")).find_parts():
        rows = walk_part(streamed.staged(spool))
        assert rows == walk_part(in_place[streamed.name])
        with tarfile.open(tmp_path / f"{streamed.name}.tar") as inner:
            assert [row.key for row in rows] == [f"{streamed.name}/{name}" for name in inner.getnames()]


def test_a_tar_of_class_tars_is_read_in_place(tmp_path: Path) -> None:
    swan = tar_of(("swan_10.JPEG", b"ten"), ("swan_2.JPEG", b"two" * 1000))
    fish = tar_of(("fish_1.JPEG", b""), ("inside/fish_2.JPEG", b"f"), form=tarfile.USTAR_FORMAT)
    source = tmp_path / "whole.tar"
    source.write_bytes(tar_of(("swan.tar", swan), ("README", b"text"), ("folder/fish.tar", fish)))
    assert [part.class_id for part in parts_of(source)] == ["fish", "swan"]
    assert found(source) == [
        ("fish/fish_1.JPEG", b""),
        ("fish/inside/fish_2.JPEG", b"f"),
        ("swan/swan_10.JPEG", b"ten"),
        ("swan/swan_2.JPEG", b"two" * 1000),
    ]
    assert names_below(tmp_path) == {"whole.tar"}


def test_classes_come_in_byte_order_whatever_their_order_in_the_tar(tmp_path: Path) -> None:
    source = tmp_path / "whole.tar"
    source.write_bytes(tar_of(*((f"{name}.tar", tar_of()) for name in ("é", "b", "B", "10", "9"))))
    assert [part.name for part in parts_of(source)] == ["10", "9", "B", "b", "é"]


def test_the_class_tars_of_splits_state_the_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "swan.tar").write_bytes(tar_of(("1.JPEG", split.encode())))
    assert walk(tmp_path) == [
        Row("train/swan/1.JPEG", ("swan",), "train", b"train"),
        Row("val/swan/1.JPEG", ("swan",), "val", b"val"),
    ]


def test_the_state_of_a_class_tar_tells_another_content(tmp_path: Path) -> None:
    (tmp_path / "swan.tar").write_bytes(tar_of(("1.JPEG", b"1")))
    (first,) = parts_of(tmp_path)
    os.utime(tmp_path / "swan.tar", ns=(1, 1))
    assert parts_of(tmp_path)[0].state != first.state
    states = set()
    for fish in (b"", b"f" * 600):
        (tmp_path / "whole.tar").write_bytes(
            tar_of(("fish.tar", fish), ("swan.tar", tar_of(("1.JPEG", b"1"))))
        )
        states.add(parts_of(tmp_path / "whole.tar")[1].state)
    assert len(states) == 2


def test_a_class_tar_without_images_is_a_class_without_images(tmp_path: Path) -> None:
    assert found(write_class_tar(tmp_path, tar_of())) == []


def test_folders_inside_a_class_tar_are_no_images(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    source = write_class_tar(tmp_path, tar_of((folder, b""), ("folder/1.JPEG", b"one")))
    assert found(source) == [("swan/folder/1.JPEG", b"one")]


def test_a_class_that_is_there_twice_is_named(tmp_path: Path) -> None:
    twice = tar_of(("old/swan.tar", tar_of()), ("new/swan.tar", tar_of()))
    (tmp_path / "twice.tar").write_bytes(twice)
    (tmp_path / "twice.tar.gz").write_bytes(gzip.compress(twice))
    for name in ("twice.tar", "twice.tar.gz"):
        with pytest.raises(SourceError, match=rf"{name} holds swan\.tar twice: keep one"):
            parts_of(tmp_path / name)


def test_a_source_that_vanishes_in_between_is_named(tmp_path: Path) -> None:
    source = write_class_tar(tmp_path, tar_of(("1.JPEG", b"1")))
    (part,) = parts_of(source)
    source.unlink()
    with pytest.raises(SourceError, match=r"source\.tar cannot be read \(No such file or directory\)"):
        next(part.images())


def test_a_mount_that_goes_away_during_the_walk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = parts_of(write_class_tar(tmp_path, tar_of(("1.JPEG", b"1"), ("2.JPEG", b"2"))))
    images = part.images()
    assert next(images).read() == b"1"
    error = OSError(116, "Stale file handle")

    def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(SourceError, match=r"source\.tar cannot be read \(Stale file handle\)"):
        next(images)
    with pytest.raises(SourceError, match=r"source\.tar cannot be read \(Stale file handle\)"):
        parts_of(tmp_path / "source.tar", Layout.TAR_OF_CLASS_TARS)


def test_an_archive_whose_disk_fails_is_an_error_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = parts_of(write_class_tar(tmp_path, tar_of(("1.JPEG", b"1"))))
    images = part.images()
    image = next(images)
    monkeypatch.setattr(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(SourceError, match=r"1\.JPEG cannot be read \(Input/output error\)"):
        image.read()


@pytest.mark.parametrize("scheme", ["file://", "memory://"])
@given(st.binary(max_size=300), st.data())
@settings(deadline=None, max_examples=25)
def test_a_span_of_a_file_reads_like_the_file_that_it_spans(
    tmp_path_factory: pytest.TempPathFactory, scheme: str, content: bytes, data: st.DataObject
) -> None:
    path = place_of(f"{scheme}{tmp_path_factory.mktemp('spans')}/file")
    path.parent.mkdir(parents=True, exist_ok=True)
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
    with FileSpan(path, len(b"before")) as span:
        assert span.read() == content + b"after"


# --- streams ------------------------------------------------------------------------------------


def gzipped(folder: Path, *members: tuple[str, bytes]) -> Path:
    path = folder / "whole.tar.gz"
    path.write_bytes(gzip.compress(tar_of(*members)))
    return path


def test_parts_of_a_stream_come_in_its_order_and_may_be_passed_over(tmp_path: Path) -> None:
    members = [(f"{name}.tar", tar_of(("1.JPEG", name.encode()))) for name in ("z", "a", "m")]
    opened = open_source(str(gzipped(tmp_path, *members)))
    assert opened.is_stream
    spool = tmp_path / "spool"
    spool.mkdir()
    contents = []
    for part in opened.find_parts():
        if part.name != "a":
            staged = part.staged(spool)
            assert (staged.name, staged.state, staged.class_id) == (part.name, part.state, part.class_id)
            contents += walk_part(staged)
    assert [(row.key, row.content) for row in contents] == [("z/1.JPEG", b"z"), ("m/1.JPEG", b"m")]
    assert len(names_below(spool)) == 2
    assert [part.name for part in opened.find_parts()] == ["z", "a", "m"]


def test_a_part_of_a_stream_is_staged_before_the_next_is_asked_for(tmp_path: Path) -> None:
    source = gzipped(tmp_path, *((f"{name}.tar", tar_of(("1.JPEG", b"1"))) for name in ("a", "b")))
    parts = open_source(str(source)).find_parts()
    first = next(parts)
    with pytest.raises(RuntimeError, match="stage it"):
        list(first.images())
    next(parts).staged(tmp_path)
    with pytest.raises(RuntimeError, match="a was asked for after the stream had moved on"):
        first.staged(tmp_path)
    last = list(parts_of(source))[-1]
    with pytest.raises(RuntimeError, match="b was asked for after the stream had moved on"):
        last.staged(tmp_path)


def test_a_stream_without_class_tars_holds_no_classes(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"whole\.tar\.gz holds no classes: .*one member CLASS\.tar"):
        parts_of(gzipped(tmp_path, ("README", b"text")))


def test_a_gzipped_tar_of_images_is_refused_with_what_to_do(tmp_path: Path) -> None:
    make_files(tmp_path / "raw", "swan/1.jpg")
    gnu_tar("-C", tmp_path / "raw", "-czf", tmp_path / "photos.tar.gz", "swan")
    with pytest.raises(SourceError, match=r"photos\.tar\.gz is a gzip'd tar of images.*gunzip"):
        parts_of(tmp_path / "photos.tar.gz")


@pytest.fixture(scope="module")
def three_classes() -> tuple[bytes, list[int]]:
    """A gzip'd tar of three classes of noise, and where each class tar ends in it."""
    members = [(f"{n}.tar", tar_of((f"{n}.JPEG", os.urandom(3000)))) for n in range(3)]
    whole = tar_of(*members)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        ends = [member.offset_data + member.size for member in archive]
    return gzip.compress(whole), ends


def test_a_truncated_stream_names_the_last_whole_class(
    three_classes: tuple[bytes, list[int]], tmp_path: Path
) -> None:
    packed, ends = three_classes
    seen = set()
    for length in (*range(40, len(packed), 97), len(packed) - 4):
        source = tmp_path / "cut.tar.gz"
        source.write_bytes(packed[:length])
        unpacked = _unpack_what_can_be(packed[:length])
        whole = sum(end <= unpacked for end in ends)
        spool = tmp_path / "spool"
        spool.mkdir(exist_ok=True)
        place = f"after {whole - 1}.tar" if whole else "before its first class tar ends"
        with pytest.raises(SourceError, match=rf"cut\.tar\.gz is damaged or cut short {place}"):
            parts_of(source)
        staged: list[Part] = []
        parts = open_source(str(source)).find_parts()
        with pytest.raises(SourceError, match=rf"cut\.tar\.gz is damaged or cut short {place}"):
            staged.extend(part.staged(spool) for part in parts)
        assert len(staged) == whole
        seen.add(whole)
    assert seen == {0, 1, 2, 3}


def _unpack_what_can_be(packed: bytes) -> int:
    length = 0
    with gzip.open(io.BytesIO(packed)) as stream, suppress(EOFError):
        while stream.read(1):
            length += 1
    return length


@pytest.mark.parametrize("place", [2, 10, 100, 2000, -6])
def test_a_damaged_stream_is_a_sentence(
    place: int, three_classes: tuple[bytes, list[int]], tmp_path: Path
) -> None:
    damaged = bytearray(three_classes[0])
    damaged[place] ^= 0x55
    if place == 10:
        damaged[10] = 0b111  # an unknown kind of block
    (tmp_path / "bad.tar.gz").write_bytes(damaged)
    with pytest.raises(SourceError, match=r"bad\.tar\.gz is damaged or cut short"):
        parts_of(tmp_path / "bad.tar.gz")


def test_a_size_beyond_all_files_in_a_stream_is_a_sentence(tmp_path: Path) -> None:
    header = tarfile.TarInfo("b.tar")
    header.size = 1 << 80
    content = tar_of(("a.tar", tar_of()), end=False) + header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    (tmp_path / "bad.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(
        SourceError, match=r"bad\.tar\.gz is damaged or cut short after a\.tar \(a size of"
    ):
        parts_of(tmp_path / "bad.tar.gz")


def test_a_full_disk_while_staging_is_a_sentence(tmp_path: Path) -> None:
    source = gzipped(tmp_path, ("a.tar", tar_of(("1.JPEG", b"1"))))
    parts = open_source(str(source)).find_parts()
    part = next(parts)
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        part.staged(tmp_path / "absent")


def test_a_bomb_of_zeros_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    size = 256 << 20
    (tmp_path / "zeros.tar").touch()
    os.truncate(tmp_path / "zeros.tar", size)
    gnu_tar("-C", tmp_path, "-cf", tmp_path / "bomb.tar", "zeros.tar")
    with (tmp_path / "bomb.tar.gz").open("wb") as packed:
        subprocess.run(["gzip", "-1", "-c", tmp_path / "bomb.tar"], stdout=packed, check=True)  # noqa: S607
    (tmp_path / "spool").mkdir()
    (part,) = [
        p.staged(tmp_path / "spool") for p in open_source(str(tmp_path / "bomb.tar.gz")).find_parts()
    ]
    (copy,) = (tmp_path / "spool").iterdir()
    assert copy.stat().st_size == size
    assert copy.stat().st_blocks * 512 < 1 << 20
    assert [row.content for row in walk_part(part)] == [Reason.DAMAGED_ARCHIVE]


def test_a_class_tar_beyond_all_bounds_is_not_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_CLASS_TAR_BYTES", 5000)
    source = gzipped(tmp_path, ("big.tar", tar_of(("1.JPEG", photo()))))
    parts = open_source(str(source)).find_parts()
    part = next(parts)
    with pytest.raises(SourceError, match=r"big\.tar claims 10240 bytes"):
        part.staged(tmp_path)


def test_class_tars_in_a_store_are_read_like_those_on_a_disk(tmp_path: Path) -> None:
    from upath import UPath

    tars = class_tars(tmp_path)
    gnu_tar("-C", tars, "-cf", tmp_path / "whole.tar", "fish.tar", "swan.tar")
    gnu_tar("-C", tars, "-czf", tmp_path / "whole.tar.gz", "fish.tar", "swan.tar")
    store = UPath("memory://archives")
    (store / "tars").mkdir(parents=True, exist_ok=True)
    for path in (*tars.iterdir(), tmp_path / "whole.tar", tmp_path / "whole.tar.gz"):
        (store / path.relative_to(tmp_path)).write_bytes(path.read_bytes())
    for name in ("tars", "whole.tar", "whole.tar.gz"):
        assert walk(f"memory://archives/{name}") == walk(tmp_path / name) != []
