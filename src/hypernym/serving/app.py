"""The addresses of the server: a page for people, a JSON API for programs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hypernym import __version__
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import (
    ClassDetails,
    ClassMatch,
    ClassTree,
    ExamplePicture,
    Health,
    PredictAnswer,
    PredictForm,
    Problem,
)
from hypernym.serving.schema import Service as ServiceDetails
from hypernym.serving.uploads import read_upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hypernym.serving.service import Service

SCRIPTS = ("page.js", "search.js", "tree.js", "answers.js", "server.js", "dom.js")
"""Modules of the page; each imports only from those after it."""

PAGE = {"": "text/html", "page.css": "text/css"} | dict.fromkeys(SCRIPTS, "text/javascript")
"""The files of the page by address, and of what kind they are."""

PREFIX = "#/components/schemas/{model}"

ModelName = Annotated[
    str | None, Query(description="Name of the model; the first if not given.", examples=["semantic"])
]


def make_app(service: Service) -> FastAPI:
    """Return the application; it closes the service when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="hypernym",
        version=__version__,
        description="Names pictures by paths of a label tree. Whatever is refused is answered by a JSON "
        "object with one sentence, `error`.",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_page(app, service)
    _add_questions(app, service)
    _add_classes(app, service)
    _add_refusals(app)
    return app


def _add_page(app: FastAPI, service: Service) -> None:
    """Add the page and its examples, which are no part of the API."""
    for address, kind in PAGE.items():
        content = (files(__package__) / (address or "page.html")).read_bytes()
        app.get(f"/{address}", include_in_schema=False)(_make_sender(content, kind))

    @app.get("/examples/{number}", include_in_schema=False)
    async def send_example(number: Annotated[int, Path(ge=0)]) -> Response:
        if number >= len(service.examples):
            raise RefusalError(HTTPStatus.NOT_FOUND, f"there is no example {number}.")
        example = service.examples[number]
        return Response(example.data, media_type=example.media_type)


def _make_sender(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind)

    return send


def _add_questions(app: FastAPI, service: Service) -> None:
    @app.post(
        "/api/predict",
        summary="Name pictures by paths of the tree",
        responses=_problems(400, 404, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": _describe_form()},
    )
    async def predict(request: Request) -> PredictAnswer:
        """Answer for each picture: the labels kept, how the path would go on, or why it cannot be read.

        Where not one picture can be read, the answer is 422. Of 503 the header Retry-After says when
        to ask again.
        """
        with service.memory.share() as memory:
            upload = await read_upload(request, service.limits, memory)
            return await service.predict(upload, lambda: _wait_for_end(request))

    @app.get("/api/models", summary="Who answers, and within which bounds")
    async def tell_models() -> ServiceDetails:
        return ServiceDetails(
            version=__version__,
            models=service.details,
            defaults=service.defaults,
            limits=service.limits,
        )

    @app.get("/api/examples", summary="Pictures to try the models with")
    async def list_examples() -> list[ExamplePicture]:
        return [
            ExamplePicture(name=example.name, url=f"examples/{number}")
            for number, example in enumerate(service.examples)
        ]

    @app.get("/health", summary="Whether the server can take more")
    async def tell_health() -> Health:
        return service.health()


async def _wait_for_end(request: Request) -> None:
    """Return when the client has left; the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_classes(app: FastAPI, service: Service) -> None:
    @app.get("/api/classes", summary="Search classes by name or id", responses=_problems(404, 422))
    async def find_classes(
        query: Annotated[str, Query(description="A part of a name or id.", max_length=200)] = "",
        model: ModelName = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Classes at most.")] = 40,
    ) -> list[ClassMatch]:
        return service.find_model(model).directory.find(query, limit)

    @app.get(
        "/api/classes/{class_id:path}",
        summary="Where in the tree a class stands",
        responses=_problems(404, 422),
    )
    async def tell_class(
        class_id: Annotated[str, Path(examples=["n01503061"])], model: ModelName = None
    ) -> ClassDetails:
        return service.find_model(model).directory.describe(class_id)

    @app.get(
        "/api/tree", summary="All classes in the order of the outputs", responses=_problems(404, 422)
    )
    async def tell_tree(model: ModelName = None) -> ClassTree:
        return service.find_model(model).directory.to_tree()


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refuse(_: Request, refusal: RefusalError) -> JSONResponse:
        return _tell(refusal.status, refusal.sentence, refusal.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_values(_: Request, mistake: RequestValidationError) -> JSONResponse:
        problem = mistake.errors()[0]
        place = str(problem["loc"][-1])
        sentence = f"{place} {str(problem['input'])[:80]!r}: {problem['msg'].lower()}."
        return _tell(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)

    @app.exception_handler(HTTPException)
    async def refuse_address(request: Request, refusal: HTTPException) -> JSONResponse:
        sentence = f"{request.method} {request.url.path[:200]}: {refusal.detail.lower()}."
        return _tell(refusal.status_code, sentence)

    @app.exception_handler(Exception)
    async def tell_of_a_bug(_: Request, __: Exception) -> JSONResponse:
        return _tell(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says why.")


def _tell(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(Problem(error=sentence).model_dump(), status, headers)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def _describe_form() -> dict[str, Any]:
    """Return what OpenAPI says of the body of a request; it is read in `uploads`, not by FastAPI."""
    schema = PredictForm.model_json_schema(ref_template=PREFIX)
    del schema["$defs"]  # the rule stands among the answers, too
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
