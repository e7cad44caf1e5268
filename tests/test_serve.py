"""The server: its JSON API, its bounds, and who may ask."""

from __future__ import annotations

import asyncio
import io
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest
from PIL import Image
from pydantic import ValidationError
from served import OWL, draw_bytes, make_service, served

from hypernym.cli import main
from hypernym.commands.serve import serve
from hypernym.errors import RunError, SourceError, UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.prediction.predictor import load
from hypernym.serving import directory, server, uploads
from hypernym.serving.app import make_app
from hypernym.serving.batcher import Batcher
from hypernym.serving.directory import Directory
from hypernym.serving.examples import Example, make_examples
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import Limits
from hypernym.serving.server import address_of, is_loopback, make_server, open_socket, run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hypernym.prediction.predictor import Predictor
    from hypernym.serving.service import Service

Files = list[tuple[str, tuple[str, bytes]]]


def files(*contents: bytes) -> Files:
    return [("images", (f"{number}.jpg", data)) for number, data in enumerate(contents)]


@pytest.fixture(scope="module")
def service(run: Path) -> Service:
    return make_service({"one": run, "two": run})


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with served(service) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return load(run, device="cpu")


def sentence(answer: httpx.Response, status: int) -> str:
    """Return the sentence of a refusal."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert list(told) == ["error"]
    assert re.search(r"\.$", told["error"])
    return str(told["error"])


# ---- answers


@pytest.mark.parametrize("rule", list(Rule))
def test_answers_are_those_of_predict(client: httpx.Client, predictor: Predictor, rule: Rule) -> None:
    pictures = [draw_bytes(seed=seed) for seed in range(5)]
    data = {"rule": rule.value} | ({} if rule is Rule.LEAF else {"threshold": "0.3"})
    answers = client.post("api/predict", files=files(*pictures), data=data).json()["images"]
    expected = predictor.predict(pictures, rule=rule, threshold=None if rule is Rule.LEAF else 0.3)
    for answer, wanted in zip(answers, expected, strict=True):
        (found,) = answer["answers"]
        for steps, kind in ((wanted.path, "path"), (wanted.beyond, "beyond")):
            assert [step["id"] for step in found[kind]] == [step.class_id for step in steps]
            shares = [step["probability"] for step in found[kind]]
            assert shares == pytest.approx([step.probability for step in steps], abs=1e-5)


def test_probabilities_of_all_classes_come_in_the_order_of_the_tree(
    client: httpx.Client, predictor: Predictor
) -> None:
    picture = draw_bytes(seed=3)
    data = {"probabilities": "true"}
    told = client.post("api/predict", files=files(picture), data=data).json()["images"][0]
    (found,) = told["answers"]
    batch = next(iter(predictor.load(predictor_pictures(picture), batch_size=1)))
    expected = predictor.probabilities(predictor.run(batch.images).logits)[0]
    assert found["probabilities"] == pytest.approx(expected.tolist(), abs=1e-5)
    tree = client.get("api/tree").json()
    by_id = dict(zip(tree["ids"], found["probabilities"], strict=True))
    for step in found["path"] + found["beyond"]:
        assert by_id[step["id"]] == step["probability"]


def predictor_pictures(*data: bytes) -> list[uploads.UploadedPicture]:
    return [uploads.UploadedPicture(one, "picture", 10**6) for one in data]


def test_several_models_answer_in_the_order_of_asking(client: httpx.Client) -> None:
    data = {"model": ["two", "one", "two"]}
    told = client.post("api/predict", files=files(draw_bytes()), data=data).json()
    assert [answer["model"] for answer in told["images"][0]["answers"]] == ["two", "one"]


def test_a_picture_that_cannot_be_read_holds_up_no_other(client: httpx.Client) -> None:
    told = client.post("api/predict", files=files(b"no picture", draw_bytes(), b"")).json()["images"]
    assert [bool(picture["answers"]) for picture in told] == [False, True, False]
    assert told[0]["error"].startswith("not an image")
    assert told[1]["error"] is None
    assert told[2]["error"] == "empty"


def test_questions_of_many_clients_are_answered_each_by_its_own_answer(
    client: httpx.Client, predictor: Predictor
) -> None:
    pictures = [draw_bytes(seed=seed, form="PNG") for seed in range(12)]
    expected = [prediction.path + prediction.beyond for prediction in predictor.predict(pictures)]

    def ask(number: int) -> list[tuple[str, float]]:
        data = {"threshold": str(number / 40)}
        answer = client.post("api/predict", files=files(pictures[number]), data=data).json()
        (found,) = answer["images"][0]["answers"]
        return [(step["id"], step["probability"]) for step in found["path"] + found["beyond"]]

    with ThreadPoolExecutor(4) as pool:
        for found, steps in zip(pool.map(ask, range(12)), expected, strict=True):
            assert [class_id for class_id, _ in found] == [step.class_id for step in steps]
            shares = [share for _, share in found]
            assert shares == pytest.approx([step.probability for step in steps], abs=1e-5)


# ---- classes


def test_classes_are_found_by_name_and_id(client: httpx.Client) -> None:
    found = client.get("api/classes", params={"query": "OWL"}).json()
    assert found == [{"id": OWL, "name": "owl", "above": ["animal", "vertebrate", "bird"]}]
    assert client.get("api/classes", params={"query": OWL}).json() == found
    assert len(client.get("api/classes", params={"limit": 2}).json()) == 2


def test_a_class_is_described_as_the_tree_has_it(run: Path, client: httpx.Client) -> None:
    tree = load(run, device="cpu").tree
    levels = make_levels(tree)
    for label, class_id in enumerate(tree.ids):
        told = client.get(f"api/classes/{class_id}").json()
        above = [int(ancestor) for ancestor in levels.ancestors_CL[label] if ancestor >= 0][:-1]
        assert [name["id"] for name in told["ancestors"]] == [tree.ids[one] for one in above]
        children = {tree.ids[one] for one, parent in enumerate(tree.parents) if parent == label}
        assert {name["id"] for name in told["children"]} == children
        assert told["output"] == label
        assert told["depth"] == levels.depth_C[label]
        below = sum(label in levels.ancestors_CL[one] for one in range(len(tree.ids))) - 1
        assert told["num_below"] == below


def test_an_unknown_class_of_very_many_is_told_without_a_suggestion(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Directory(predictor.card)
    with pytest.raises(RefusalError) as refusal:
        found.describe(f"{OWL}0")
    assert refusal.value.sentence == f"the model has no class '{OWL}0' (did you mean '{OWL}'?)."
    monkeypatch.setattr(directory, "MOST_COMPARED", len(found) - 1)
    with pytest.raises(RefusalError) as refusal:
        found.describe(f"{OWL}0")
    assert refusal.value.sentence == f"the model has no class '{OWL}0'."


def test_a_directory_counts_depths_and_roots(predictor: Predictor) -> None:
    directory = Directory(predictor.card)
    assert (len(directory), directory.num_depths, directory.num_roots) == (9, 4, 3)


# ---- the written schema


def resolve(schema: Any, whole: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {**schema, "components": whole["components"]}


@pytest.mark.parametrize(
    ("address_asked", "path"),
    [
        ("api/models", "/api/models"),
        ("api/examples", "/api/examples"),
        ("api/tree", "/api/tree"),
        ("api/classes?query=a", "/api/classes"),
        (f"api/classes/{OWL}", "/api/classes/{class_id}"),
        ("health", "/health"),
    ],
)
def test_answers_are_as_the_schema_says(client: httpx.Client, address_asked: str, path: str) -> None:
    whole = client.get("openapi.json").json()
    answer = client.get(address_asked)
    told = whole["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), resolve(told, whole))


def test_predictions_and_refusals_are_as_the_schema_says(client: httpx.Client) -> None:
    whole = client.get("openapi.json").json()
    predict = whole["paths"]["/api/predict"]["post"]
    form = predict["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"images", "model", "rule", "threshold", "probabilities"}
    jsonschema.Draft202012Validator.check_schema(resolve(form, whole))
    asked: list[tuple[dict[str, str | list[str]], int]] = [
        ({"probabilities": "true", "model": ["one", "two"]}, 200),
        ({"model": "three"}, 404),
        ({"threshold": "2"}, 422),
    ]
    for data, status in asked:
        answer = client.post("api/predict", files=files(draw_bytes(), b"no"), data=data)
        assert answer.status_code == status
        schema = predict["responses"][str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), resolve(schema, whole))


def test_the_schema_refers_to_nothing_outside(client: httpx.Client) -> None:
    text = client.get("openapi.json").text
    assert set(re.findall(r'"\$ref": ?"(#?)', text)) == {"#"}
    assert client.get("docs").status_code == 404


# ---- refusals


@pytest.mark.parametrize(
    ("data", "status", "part"),
    [
        ({"model": "on"}, 404, "did you mean 'one'?"),
        ({"rule": "paht"}, 422, "rule 'paht'"),
        ({"threshold": "x"}, 422, "threshold 'x'"),
        ({"threshold": "nan"}, 422, "threshold"),
        ({"rule": "leaf", "threshold": "0.5"}, 422, "rule leaf never stops"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(
    client: httpx.Client, data: dict[str, str], status: int, part: str
) -> None:
    answer = client.post("api/predict", files=files(draw_bytes()), data=data)
    assert part in sentence(answer, status)


def test_what_is_no_picture_is_told_in_a_sentence(client: httpx.Client) -> None:
    assert "0.jpg: not an image" in sentence(client.post("api/predict", files=files(b"GIF?")), 422)
    whole = draw_bytes(size=128)
    assert "truncated" in sentence(client.post("api/predict", files=files(whole[:900])), 422)
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    assert "not an image" in sentence(client.post("api/predict", files=files(svg)), 422)


def test_a_body_that_is_no_form_is_told_in_a_sentence(client: httpx.Client) -> None:
    assert "multipart" in sentence(client.post("api/predict", json={"images": ["/etc/passwd"]}), 415)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "form" in sentence(client.post("api/predict", content=b"nothing", headers=form), 400)
    bare = {"Content-Type": "multipart/form-data"}
    assert "boundary" in sentence(client.post("api/predict", content=b"x", headers=bare), 400)
    assert "no picture" in sentence(client.post("api/predict", files={"model": (None, "one")}), 422)
    odd = {"Content-Type": "multipart/form-data; boundary=x; charset=undefined"}
    content = b'--x\r\nContent-Disposition: form-data; name="a..b"\r\n\r\na\r\n--x--\r\n'
    assert "charset" in sentence(client.post("api/predict", content=content, headers=odd), 400)
    other = {"files": ("a.jpg", b"x")}
    assert "called images" in sentence(client.post("api/predict", files=other), 422)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 404),
        ("api/classes/n0", 404),
        ("api/classes?limit=0", 422),
        ("api/tree?model=three", 404),
        ("examples/99", 404),
        ("examples/x", 422),
        ("api/predict", 405),
    ],
)
def test_addresses_that_lead_nowhere_are_told_in_a_sentence(
    client: httpx.Client, path: str, status: int
) -> None:
    sentence(client.get(path), status)


# ---- bounds


def test_a_large_body_is_refused_with_and_without_a_length(client: httpx.Client) -> None:
    large = bytes(2 << 20)
    assert "larger than 1 MiB" in sentence(client.post("api/predict", files=files(large)), 413)

    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(1 << 15)

    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("api/predict", content=chunks(), headers=form)
    assert "larger than 1 MiB" in sentence(answer, 413)


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    Image.new("1", (1001, 1000)).save(stream, "PNG")

    def decode(_: bytes, __: int) -> None:
        raise AssertionError

    monkeypatch.setattr(uploads, "decode_image", decode)
    told = sentence(client.post("api/predict", files=files(stream.getvalue())), 422)
    assert "1001 x 1000 pixels, and at most 1 million are taken" in told


def test_more_pictures_than_may_wait_are_refused(client: httpx.Client) -> None:
    answer = client.post("api/predict", files=files(*[b"x"] * 9), data={"model": ["one", "two"]})
    assert "9 pictures for 2 models are more than the 16" in sentence(answer, 422)
    answer = client.post("api/predict", files=files(*[b"x"] * 17))
    assert "more than 16 pictures" in sentence(answer, 422)


def test_the_kind_of_a_body_is_told_in_small_or_large_letters(client: httpx.Client) -> None:
    request = client.build_request("POST", "api/predict", files=files(draw_bytes()))
    for kind, status in (("Multipart/Form-Data", 200), ("multipart/form-database", 415)):
        boundary = request.headers["Content-Type"].partition(";")[2]
        headers = {"Content-Type": f"{kind};{boundary}"}
        answer = client.post("api/predict", content=request.read(), headers=headers)
        assert answer.status_code == status


def test_a_form_of_many_or_large_fields_is_refused(client: httpx.Client) -> None:
    many = [("model", (None, b"one"))] * 40
    sentence(client.post("api/predict", files=many), 400)
    sentence(client.post("api/predict", files=[("model", (None, bytes(8000)))]), 400)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for what must come within a minute, half of what a gate is shut for."""
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Gate:
    """A model's work that waits until it is opened, or for two minutes."""

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self.is_open = threading.Event()
        self.entered = threading.Event()
        self._work = work

    def __call__(self, questions: Sequence[Any]) -> Sequence[Any]:
        self.entered.set()
        self.is_open.wait(120)
        return self._work(questions)


def test_a_full_queue_is_told_503_and_empties_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service({"one": run}, max_pictures=4)
    batcher = service.find_model("one").batcher
    gate = Gate(batcher._answer)
    monkeypatch.setattr(batcher, "_answer", gate)
    with served(service) as address, httpx.Client(base_url=address, timeout=60) as client:

        def ask(_: int) -> httpx.Response:
            return client.post("api/predict", files=files(draw_bytes()))

        with ThreadPoolExecutor(4) as pool:
            waiting = list(map(pool.submit, [ask] * 4, range(4)))
            while client.get("health").json()["waiting"] < 4:
                time.sleep(0.01)
            refused = ask(5)
            assert "too many pictures are waiting" in sentence(refused, 503)
            assert refused.headers["Retry-After"] == "1"
            gate.is_open.set()
            assert [future.result().status_code for future in waiting] == [200] * 4
        assert ask(6).status_code == 200
        assert client.get("health").json() == {"status": "ok", "waiting": 0, "limit": 4}


def test_a_client_that_leaves_frees_its_place(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service({"one": run}, max_pictures=2)
    batcher = service.find_model("one").batcher
    gate = Gate(batcher._answer)
    monkeypatch.setattr(batcher, "_answer", gate)
    with served(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        request = client.build_request("POST", "api/predict", files=files(draw_bytes()))
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        sent = f"POST /api/predict HTTP/1.1\r\n{head}\r\n".encode() + request.read()

        def count() -> int:
            return int(client.get("health").json()["waiting"])

        for _ in range(3):
            with socket.create_connection(("127.0.0.1", request.url.port or 0)) as connection:
                connection.sendall(sent)
                wait_until(lambda: count() == 1)
                assert gate.entered.wait(60)
            wait_until(lambda: count() == 0)
        assert not gate.is_open.is_set()
        gate.is_open.set()
        assert client.post("api/predict", files=files(draw_bytes())).status_code == 200
    assert batcher.questions == 2  # the first was begun; the two after it were given up in time


SLOW = (
    b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
)


def connect(address: str, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0), timeout=60)
    connection.sendall(sent)
    return connection


def test_slow_clients_hold_up_no_other(run: Path) -> None:
    with served(make_service({"one": run}, max_pictures=2)) as address:
        slow = [connect(address, SLOW) for _ in range(20)]
        for _ in range(5):
            answer = httpx.post(f"{address}/api/predict", files=files(draw_bytes()), timeout=30)
            assert answer.status_code == 200  # in half of `READ_SECONDS`
        for one in slow:
            one.close()


def test_slow_clients_are_given_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "READ_SECONDS", 0.5)
    service = make_service({"one": run}, max_pictures=2)
    with served(service) as address:
        slow = [connect(address, SLOW) for _ in range(20)]
        for one in slow:
            assert one.recv(1000).startswith(b"HTTP/1.1 408")
            one.close()
        wait_until(lambda: service.memory.taken == 0)


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


def test_connections_are_bounded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 6)
    with served(make_service({"one": run})) as address:
        held = [connect(address, HEAD) for _ in range(6)]
        assert httpx.get(f"{address}/health").status_code == 503
        for one in held:
            one.close()
        wait_until(lambda: httpx.get(f"{address}/health").status_code == 200)


TOO_SLOW = HEAD.replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\n"
"""Refused at once, and its body read by nobody."""


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n", TOO_SLOW])
def test_a_connection_without_a_whole_head_is_closed(
    sent: bytes, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    with served(make_service({"one": run})) as address, connect(address, sent) as connection:
        connection.settimeout(0.1)
        for _ in range(600):
            with suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
                if not connection.recv(1000):
                    return
                continue
            with suppress(OSError):
                connection.sendall(b"x")  # a letter now and then lengthens nothing
        pytest.fail("it was left open for a minute")


def test_a_request_under_way_is_not_closed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 3)
    service = make_service({"one": run})
    batcher = service.find_model("one").batcher
    gate = Gate(batcher._answer)
    monkeypatch.setattr(batcher, "_answer", gate)
    threading.Timer(5, gate.is_open.set).start()
    with served(service) as address, httpx.Client(base_url=address) as client:
        assert client.get("health").status_code == 200
        assert client.post("api/predict", files=files(draw_bytes())).status_code == 200


def test_an_answer_that_is_not_taken_is_dropped(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 2)
    monkeypatch.setattr(server, "FLUSH_SECONDS", 0.2)
    is_lost = threading.Event()

    class Watched(server.Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            is_lost.set()

    monkeypatch.setattr(server, "Connection", Watched)
    service = make_service({"one": run})
    example = service.examples[0]
    service.examples = (Example(example.name, bytes(32 << 20), example.media_type),)
    asking = HEAD.replace(b"/health", b"/examples/0") + b"\r\n"
    with served(service) as address, connect(address, asking) as connection:
        assert is_lost.wait(60)
        taken = 0
        with suppress(ConnectionResetError):
            while some := connection.recv(1 << 20):
                taken += len(some)
    assert 0 < taken < 32 << 20


def test_bodies_together_take_a_bounded_memory(run: Path) -> None:
    service = make_service({"one": run})
    service.memory.limit = 1000
    with served(service) as address:
        answer = httpx.post(f"{address}/api/predict", files=files(draw_bytes()))
        assert "too much is being sent" in sentence(answer, 503)
        service.memory.limit = 10**6
        assert httpx.post(f"{address}/api/predict", files=files(draw_bytes())).status_code == 200
        assert service.memory.taken == 0


def test_a_model_that_fails_is_told_and_answers_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = make_service({"one": run})
    batcher = service.find_model("one").batcher
    work = batcher._answer

    def fail(_: Sequence[Any]) -> Sequence[Any]:
        raise ZeroDivisionError

    with served(service) as address:
        monkeypatch.setattr(batcher, "_answer", fail)
        answer = httpx.post(f"{address}/api/predict", files=files(draw_bytes()))
        assert "the server failed" in sentence(answer, 500)
        monkeypatch.setattr(batcher, "_answer", work)
        assert httpx.post(f"{address}/api/predict", files=files(draw_bytes())).status_code == 200
        assert service.places.taken == 0
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_batcher_gathers_what_comes_while_it_works_and_skips_what_was_cancelled() -> None:
    sizes: list[int] = []

    def work(questions: Sequence[int]) -> list[int]:
        sizes.append(len(questions))
        return [-question for question in questions]

    gate = Gate(work)
    batcher: Batcher[int, int] = Batcher(gate, 4, "test")
    first = batcher.ask(0)
    assert gate.entered.wait(10)
    futures = [batcher.ask(number) for number in range(1, 8)]
    assert futures[2].cancel()
    gate.is_open.set()
    kept = [future for future in futures if future is not futures[2]]
    assert first.result() == 0
    assert [future.result(10) for future in kept] == [-1, -2, -4, -5, -6, -7]
    batcher.close()
    assert sizes == [1, 3, 3]
    assert (batcher.batches, batcher.questions) == (3, 7)


# ---- who may ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("LOCALHOST:7860", 200),
        ("[::1]:7860", 200),
        ("192.168.1.5", 200),
        ("box.example", 200),
        (socket.gethostname(), 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("evil.example:localhost", 403),
        ("a@localhost", 403),
        ("localhost:1.evil.example", 403),
    ],
)
def test_a_name_that_is_not_its_own_is_refused(client: httpx.Client, host: str, status: int) -> None:
    assert client.get("health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://[::1"]
)
def test_a_page_of_another_origin_is_refused(client: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin}
    for answer in (
        client.post("api/predict", files=files(draw_bytes()), headers=headers),
        client.get("api/models", headers=headers),
        client.options("api/predict", headers={**headers, "Access-Control-Request-Method": "POST"}),
    ):
        sentence(answer, 403)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_its_own_page_may_ask(client: httpx.Client, address: str) -> None:
    answer = client.post("api/predict", files=files(draw_bytes()), headers={"Origin": address})
    assert answer.status_code == 200


def test_every_answer_carries_the_headers_that_protect_it(client: httpx.Client) -> None:
    refused = client.get("/", headers={"Host": "evil.example"})
    for answer in (client.get("/"), client.get("tree.js"), client.get("nothing"), refused):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "page.css/../../guard.py",
        "guard.py",
        "examples/..%2f0",
        "file=/etc/passwd",
        "gradio_api/file=/etc/passwd",
        "api/classes/..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_path_of_a_request_is_opened(address: str, path: str) -> None:
    host = httpx.URL(address)
    with socket.create_connection((host.host, host.port)) as connection:
        request = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert b"root:" not in answer
    assert b"import" not in answer


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x.jpg", "http://127.0.0.1:9/x.png", "<b>x</b>"])
def test_the_name_of_a_file_is_only_a_label(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("hypernym.prediction.pictures.PictureFile.decode", refuse)
    told = client.post("api/predict", files=[("images", (name, draw_bytes()))]).json()
    assert told["images"][0]["name"] == name
    assert "not an image" in sentence(
        client.post("api/predict", files=[("images", ("a.jpg", b"/etc/passwd"))]), 422
    )


def test_a_large_picture_is_not_written_to_a_disk(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    picture = draw_bytes(form="PNG") + bytes((1 << 20) - 40_000)
    assert client.post("api/predict", files=files(picture)).status_code == 200


# ---- examples


def test_drawn_examples_are_of_classes_that_the_model_knows(client: httpx.Client) -> None:
    found = client.get("api/examples").json()
    assert {example["name"] for example in found} == {
        "fish.jpg",
        "owl.jpg",
        "penguin.jpg",
        "daisy.jpg",
        "sun.jpg",
    }
    for example in found:
        answer = client.get(example["url"])
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert client.post("api/predict", files=files(answer.content)).status_code == 200


def test_examples_of_a_folder_are_its_pictures(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}.png").write_bytes(draw_bytes(form="PNG"))
    (tmp_path / "00.txt").write_text("no picture")
    (tmp_path / "01.jpg").write_bytes(bytes(100_000))
    (tmp_path / "02.jpg").write_bytes(draw_bytes()[:700])
    (tmp_path / "03.jpg").write_bytes(b"")
    Image.new("1", (1001, 1000)).save(tmp_path / "04.gif")
    (tmp_path / "05-b.png").write_bytes(forge_png(60_000, 60_000))
    (tmp_path / "05-a.png").write_bytes(forge_png(12_000, 9_000))
    limits = Limits(max_bytes=50_000, max_pixels=1_000_000, max_pictures=1)
    found = make_examples(tmp_path, (), limits)
    assert [example.name for example in found] == [f"{number:02d}.png" for number in range(12)]
    assert {example.media_type for example in found} == {"image/png"}
    none = limits.model_copy(update={"max_bytes": 5})
    with pytest.raises(SourceError, match="holds no picture"):
        make_examples(tmp_path, (), none)
    with pytest.raises(SourceError, match="is no folder"):
        make_examples(tmp_path / "nothing", (), none)
    assert make_examples(None, ("own-class",), none) == []


def forge_png(width: int, height: int) -> bytes:
    """Return a small file that claims to be a large picture."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    data = stream.getvalue()
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


# ---- the command


def test_a_port_that_is_taken_is_a_mistake_of_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--host 127\.0\.0\.1 --port {port} cannot .*in use"):
            serve([run], port=port)
    with pytest.raises(UsageError, match=r"--host no\.such\.host\.invalid"):
        serve([run], host="no.such.host.invalid")
    with pytest.raises(RunError):
        serve([run / "nothing"], port=0)
    assert capsys.readouterr().out == ""


def test_a_package_that_is_missing_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hypernym.commands.serve.find_spec", lambda name: None if name == "uvicorn" else name
    )
    with pytest.raises(
        UsageError, match=r"uvicorn, which is not installed: pip install 'hypernym\[serve\]'"
    ):
        serve([run])


def test_options_that_allow_nothing_or_everything_are_refused(run: Path) -> None:
    for name, value in (
        ("max_mb", math.inf),
        ("max_mb", 1e-9),
        ("max_megapixels", math.inf),
        ("max_megapixels", math.nan),
        ("threshold", math.nan),
    ):
        with pytest.raises(ValidationError) as mistake:
            serve(run, port=0, **{name: value})  # type: ignore[arg-type]
        (problem,) = mistake.value.errors()
        assert problem["loc"] == (name,)
    with pytest.raises(ValidationError, match="at least 1 item"):
        serve([])
    with pytest.raises(UsageError, match=r"--queue 1 has no place .* 2 models"):
        serve([run, run], queue=1)
    with pytest.raises(UsageError, match="rule leaf never stops"):
        serve([run], rule=Rule.LEAF, threshold=0.9)


def test_the_command_line_names_an_option_that_is_wrong(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(run), "--max-mb", "inf"]) == 2
    assert capsys.readouterr().err == "error: --max-mb inf: input should be a finite number.\n"


def test_a_server_is_not_begun_where_no_signal_would_end_it(run: Path) -> None:
    async def serve_here() -> None:
        serve(run)

    with pytest.raises(UsageError, match=r"event loop .* or another thread: run `hypernym serve`"):
        asyncio.run(serve_here())
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(UsageError, match=r"event loop .* or another thread"),
    ):
        pool.submit(serve, run).result()


def test_one_path_is_taken_for_a_list_of_it(tmp_path: Path) -> None:
    for given in (tmp_path / "nothing", str(tmp_path / "nothing")):
        with pytest.raises(RunError, match="nothing"):
            serve(given, port=0)


ADDRESSES = [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)]  # noqa: S104 - it is told of


@pytest.mark.parametrize(("host", "is_safe"), ADDRESSES)
def test_the_address_is_one_that_a_browser_takes(host: str, is_safe: bool) -> None:
    with open_socket(host, 0) as listening:
        assert is_loopback(listening) == is_safe
        url = httpx.URL(address_of(listening))
        assert url.port == listening.getsockname()[1]
        assert url.host == (host if is_safe else socket.gethostname().lower())


def test_ctrl_c_ends_a_server_cleanly(run: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    service = make_service({"ended": run})
    with open_socket("127.0.0.1", 0) as listening:
        server = make_server(make_app(service), [])

        def stop() -> None:
            while not server.started:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=stop)
        thread.start()
        run_server(server, listening)
        thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert not [one for one in threading.enumerate() if one.name == "model ended"]


def test_the_command_tells_where_it_listens_and_ends_by_a_signal(run: Path) -> None:
    code = (
        "from pathlib import Path; from hypernym.commands.serve import serve; "
        f"print(serve([Path({str(run)!r}), Path({str(run)!r})], port=0, host='0.0.0.0', device='cpu'))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stderr.readline()
        match = re.fullmatch(
            r"Serving run \(9 classes\), run-2 \(9 classes\) at http://\S+:(\d+) \(Ctrl-C ends it\)\n",
            first,
        )
        assert match, first
        note = process.stderr.readline()
        assert "nobody is asked for a password" in note
        answer = httpx.post(f"http://127.0.0.1:{match[1]}/api/predict", files=files(draw_bytes()))
        assert answer.status_code == 200
        process.terminate()
        out, rest = process.communicate(timeout=120)
    assert process.returncode == 0
    assert rest == ""
    assert "1 pictures named" in out
