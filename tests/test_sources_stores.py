"""Stores behind fsspec: what they are asked for, and what is said where they fail."""

from __future__ import annotations

import io
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.spec import (  # type: ignore[import-untyped]
    AbstractBufferedFile,
    AbstractFileSystem,
)
from hypothesis import given
from hypothesis import strategies as st
from source_files import parts_of, photo, tar_of, walk

from hypernym.cli import main
from hypernym.commands.prepare import prepare
from hypernym.data.dataset import open_dataset
from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import stores
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout
from hypernym.preparation.sources.places import open_file, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:UPath 'shop' filesystem not explicitly:UserWarning")


class ClosedError(Exception):
    """What the library of the store raises: no `OSError`."""


class Shop(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store in memory that notes what it is asked for, and that can be made to fail."""

    protocol = "shop"
    cachable = False
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[tuple[str, int]]] = []
    """Path and bytes of each request."""

    trouble: ClassVar[dict[str, Exception]] = {}
    """What is raised, by the name of a method and by path, or by one of both."""

    def raise_trouble(self, method: str, path: str) -> None:
        for key in (method, path, f"{method} {path}"):
            if key in self.trouble:
                raise self.trouble[key]

    def info(self, path: str, **_: object) -> dict[str, object]:
        path = self._strip_protocol(path)
        self.raise_trouble("info", path)
        if path in self.files:
            return {"name": path, "size": len(self.files[path]), "type": "file"}
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        path = self._strip_protocol(path)
        self.raise_trouble("ls", path)
        within = {name[len(path) + 1 :] for name in self.files if name.startswith(f"{path}/")}
        found = sorted({f"{path}/{name.partition('/')[0]}" for name in within})
        return [self.info(name) for name in found] if detail else found

    def _open(self, path: str, mode: str = "rb", **options: object) -> AbstractBufferedFile:
        self.raise_trouble("open", path)
        return ShopFile(self, path, mode, **options)


class ShopFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is not typed
    """A file of the store, as those of s3 and HTTP are: its `readline` knows no limit."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        self.fs.raise_trouble("fetch", self.path)
        data = Shop.files[self.path][start:end]
        Shop.asked.append((self.path, len(data)))
        return data


@pytest.fixture(autouse=True)
def shop() -> Iterator[type[Shop]]:
    """An empty store."""
    fsspec.register_implementation("shop", Shop, clobber=True)
    for each in (Shop.files, Shop.asked, Shop.trouble):
        each.clear()
    yield Shop
    for each in (Shop.files, Shop.asked, Shop.trouble):
        each.clear()


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,label\nin/1.jpg,a\nin/2.jpg,b\nin/gone.jpg,b\n"),
        ("a.tsv", "path\tlabel\nin/1.jpg\ta\nin/2.jpg\tb\n"),
        ("a.jsonl", '{"path": "in/1.jpg", "label": "a"}\n{"path": "in/2.jpg", "label": "b"}\n'),
    ],
)
def test_a_list_in_a_store_is_read_as_on_a_disk(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path, data in (("in/1.jpg", photo(1)), ("in/2.jpg", photo(2)), (name, text.encode())):
        (tmp_path / path).write_bytes(data)
        Shop.files[f"bucket/{path}"] = data
    rows = [(row.key, row.class_ids, row.content) for row in walk(f"shop://bucket/{name}")]
    assert rows == [(row.key, row.class_ids, row.content) for row in walk(tmp_path / name)] != []


def class_tars(count: int, num_bytes: int) -> bytes:
    inner = tar_of(("1.jpg", photo()), ("2.jpg", bytes(num_bytes)))
    return tar_of(*((f"c{number:02d}.tar", inner) for number in range(count)))


def test_headers_far_apart_cost_little_and_what_lies_in_order_is_read_in_long_stretches() -> None:
    whole = class_tars(20, 2_000_000)
    Shop.files["bucket/whole.tar"] = whole
    parts = parts_of("shop://bucket/whole.tar")
    assert len(parts) == 20
    # A request for each class tar, and a few at begin and end, where the layout is looked at.
    assert len(Shop.asked) < 30
    assert sum(size for _, size in Shop.asked) <= len(Shop.asked) * stores.LEAST_AHEAD < len(whole) / 30
    Shop.asked.clear()
    for part in parts:
        assert len([image.read() for image in part.images()]) == 2
    # All of it once, but for what was asked for in vain around each part.
    assert sum(size for _, size in Shop.asked) < 1.1 * len(whole)
    Shop.files["bucket/one.tar"] = tar_of(*((f"{n}.jpg", bytes(20_000)) for n in range(1000)))
    part = next(part for part in parts_of("shop://bucket", Layout.CLASS_TARS) if part.name == "one")
    Shop.asked.clear()
    read = [image.read() for image in part.images()]
    assert len(read) == 1000
    assert len(Shop.asked) < 60


@given(st.binary(max_size=200), st.data())
def test_a_file_in_a_store_reads_like_the_same_bytes_on_a_disk(
    content: bytes, data: st.DataObject
) -> None:
    Shop.files["bucket/file"] = content
    end = data.draw(st.none() | st.integers(0, 220))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stores, "LEAST_AHEAD", 4)
        patched.setattr(stores, "MOST_AHEAD", 32)
        truth = io.BytesIO(content)
        with open_file(place_of("shop://bucket/file"), end) as stream:
            for _ in range(8):
                if data.draw(st.booleans()):
                    position = data.draw(st.integers(0, 220))
                    assert stream.seek(position) == truth.seek(position)
                size = data.draw(st.integers(0, 80))
                if data.draw(st.booleans()):
                    assert stream.readline(size) == truth.readline(size)
                else:
                    assert stream.read(size) == truth.read(size)
            assert stream.seek(0, io.SEEK_END) == len(content)


# --- where a store fails ------------------------------------------------------------------------


def fill(folder: Path) -> None:
    """Write two class folders, on a disk and in the store."""
    for number in range(8):
        name = f"{'ant' if number < 4 else 'bee'}/{number}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo(30 * number))
        Shop.files[f"bucket/{name}"] = photo(30 * number)


@pytest.mark.parametrize("method", ["info", "ls", "open", "fetch"])
@pytest.mark.parametrize(
    "address", ["shop://bucket", "shop://bucket/a.csv", "shop://bucket/whole.tar", "shop://tables"]
)
def test_whatever_a_store_raises_is_a_sentence(method: str, address: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fill(tmp_path)
    Shop.files["bucket/a.csv"] = b"path,label\nant/1.jpg,a\n"
    Shop.files["bucket/whole.tar"] = class_tars(2, 10)
    table = io.BytesIO()
    pq.write_table(pa.table({"image": [photo()], "label": ["a"]}), table)
    Shop.files["tables/0.parquet"] = table.getvalue()
    layout = None if address != "shop://bucket" else Layout.CLASS_FOLDERS
    assert walk(address, layout) != []
    Shop.trouble[method] = ClosedError("we are closed")
    if method != "ls" or address in {"shop://bucket", "shop://tables"}:
        with pytest.raises(SourceError, match=r"cannot .*\(ClosedError: we are closed\)"):
            walk(address, layout)


def test_a_store_that_fails_in_the_middle_stops_the_run_which_then_goes_on_to_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "bucket")
    options = {"min_images": 2, "val_per_class": 1, "size": 32, "workers": 1, "duplicates": "ignore"}
    words = ["prepare", "shop://bucket", str(tmp_path / "made"), "--min-images", "2", "--val-per-class"]
    words += ["1", "--size", "32", "--workers", "1", "--duplicates", "ignore"]
    Shop.trouble["fetch bucket/bee/6.jpg"] = ClosedError("we are closed")
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: 1 parts of shop://bucket could not be worked through")
    assert "bee/6.jpg cannot be read (ClosedError: we are closed). (3 attempts)" in said[-1]
    Shop.trouble.clear()
    assert main([*words, "--resume"]) == 0
    prepare(str(tmp_path / "bucket"), tmp_path / "whole", **options)  # type: ignore[arg-type]
    digests = [open_dataset(tmp_path / name).card["digest"] for name in ("made", "whole")]
    assert digests[0] == digests[1]


class AnswerError(Exception):
    """Stands for aiohttp's ClientError, with the status of an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status}, message='...'")
        self.status = status


def absence_by(status: int) -> FileNotFoundError:
    """Return what fsspec's HTTP raises of any failure, with what it was behind."""
    absence = FileNotFoundError("shop://bucket/a.csv")
    absence.__cause__ = AnswerError(status)
    return absence


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers as if aiohttp were at work."""
    aiohttp = ModuleType("aiohttp")
    aiohttp.ClientError = AnswerError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, r"a\.csv does not exist"),
        (410, r"a\.csv does not exist"),
        (403, r"a\.csv cannot be read \(AnswerError: 403"),
        (429, r"a\.csv cannot be read \(AnswerError: 429"),
        (503, r"a\.csv cannot be read \(AnswerError: 503"),
    ],
)
def test_a_server_that_does_not_answer_is_not_taken_for_a_file_that_is_not_there(
    status: int, sentence: str
) -> None:
    Shop.trouble["info"] = absence_by(status)
    with pytest.raises(SourceError, match=sentence):
        open_source("shop://bucket/a.csv")


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("raised", [absence_by, AnswerError])
@pytest.mark.parametrize(
    ("status", "is_row"), [(404, True), (403, True), (408, False), (429, False), (500, False)]
)
def test_what_a_server_refuses_is_a_row_and_what_it_cannot_do_now_is_an_error(
    raised: Any,  # noqa: ANN401
    status: int,
    is_row: bool,
) -> None:
    Shop.files["bucket/a.csv"] = b"path,label\n1.jpg,a\n2.jpg,a\n"
    Shop.files["bucket/1.jpg"] = Shop.files["bucket/2.jpg"] = photo()
    Shop.trouble["info bucket/1.jpg"] = raised(status)
    if is_row:
        assert [row.content for row in walk("shop://bucket/a.csv")] == [Reason.UNREADABLE, photo()]
    else:
        with pytest.raises(SourceError, match=rf"1\.jpg cannot be read \(AnswerError: {status}"):
            walk("shop://bucket/a.csv")


def test_a_bug_in_the_reading_of_a_disk_stays_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("path,label\n1.jpg,a\n")

    def fail(*_: object, **__: object) -> None:
        raise ClosedError

    monkeypatch.setattr(type(tmp_path), "stat", fail)
    with pytest.raises(ClosedError):
        open_file(tmp_path / "a.csv")
