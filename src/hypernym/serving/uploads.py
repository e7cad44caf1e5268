"""The body of a request: pictures and fields, read within bounds and kept in memory alone."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from hypernym.data.headers import FORMATS, PILLOW_ERRORS
from hypernym.data.pixels import decode_image
from hypernym.data.rejections import Reason, RejectionError
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import PredictOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy as np
    from numpy.typing import NDArray
    from starlette.requests import Request

    from hypernym.serving.allowance import Share
    from hypernym.serving.schema import Limits

READ_SECONDS = 60.0
"""In which a request must have come whole."""

MAX_FIELDS = 32
MAX_FIELD_BYTES = 4096
MAX_NAME = 200
"""Characters of a file name that are kept."""


@dataclass(frozen=True, slots=True)
class UploadedPicture:
    """An image file that came with a request."""

    data: bytes
    name: str
    """A label for the answer; nothing is opened by it."""

    max_pixels: int

    def decode(self, side: int) -> NDArray[np.uint8]:
        """Decode the file, unless its header tells of too many pixels.

        Raises:
            RejectionError: with the reason for which it cannot be used.
        """
        if not self.data:
            raise RejectionError(Reason.EMPTY)
        width, height = self._read_size()
        if width * height > self.max_pixels:
            told = f"{width} x {height} pixels, and at most {self.max_pixels / 1e6:g} million are taken"
            raise RejectionError(Reason.TOO_LARGE, told)
        return decode_image(self.data, side)

    def _read_size(self) -> tuple[int, int]:
        try:
            with Image.open(io.BytesIO(self.data), formats=FORMATS) as image:
                return image.size
        except UnidentifiedImageError as cause:
            raise RejectionError(Reason.NOT_AN_IMAGE, "it begins like no format that is read") from cause
        except Image.DecompressionBombError as cause:
            raise RejectionError(Reason.TOO_LARGE, "more pixels than a photo has") from cause
        except PILLOW_ERRORS as cause:
            raise RejectionError(Reason.UNDECODABLE, str(cause)) from cause


@dataclass(frozen=True)
class Upload:
    """A request to name pictures."""

    pictures: tuple[UploadedPicture, ...]
    options: PredictOptions


class _MemoryParser(MultiPartParser):
    """Keeps files in memory: those of a larger size would go to a disk."""

    spool_max_size = 1 << 62

    @property
    def has_too_many_files(self) -> bool:
        """Whether it stopped because of a file too many."""
        return self._current_files > self.max_files


async def read_upload(request: Request, limits: Limits, memory: Share) -> Upload:
    """Read the body of a request.

    Args:
        request: Its body was not read yet.
        limits: Of bytes and pictures.
        memory: Bytes that may be held; it is taken from as they come.

    Raises:
        RefusalError: it is no form, too large, too slow, or asks for what there is not.
    """
    media_type = request.headers.get("Content-Type", "").partition(";")[0]
    if media_type.strip().lower() != "multipart/form-data":
        raise RefusalError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send the pictures as multipart/form-data, in fields called images.",
        )
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise _too_large(limits)
    form = await _read_form(request, limits, memory)
    try:
        return _sort(form, limits)
    finally:
        await form.close()


async def _read_form(request: Request, limits: Limits, memory: Share) -> FormData:
    parser = _MemoryParser(
        request.headers,
        _bounded(request, limits, memory),
        max_files=limits.max_pictures,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await parser.parse()
    except MultiPartException as cause:
        if parser.has_too_many_files:
            raise _wrong(
                f"there are more than {limits.max_pictures} pictures, and no more may wait: send fewer "
                f"at a time."
            ) from cause
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, f"the body is no form that can be read: {cause.message.rstrip('.')}."
        ) from cause
    except (UnicodeError, LookupError) as cause:  # of encodings such as "undefined"
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, "the body is no form that can be read: its charset decodes nothing."
        ) from cause
    except ClientDisconnect as cause:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "the body ended too soon.") from cause
    except TimeoutError as cause:
        raise RefusalError(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {READ_SECONDS:g} seconds."
        ) from cause


def _sort(form: FormData, limits: Limits) -> Upload:
    """Tell the pictures of a form from its fields."""
    pictures: list[UploadedPicture] = []
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != "images":
                raise _wrong(f"files come in fields called images, not {key[:MAX_NAME]!r}.")
            pictures.append(UploadedPicture(value.file.read(), _label(value), limits.max_pixels))
        elif key == "model":
            fields.setdefault(key, []).append(value)
        else:
            fields[key] = value
    if not pictures:
        raise _wrong("there is no picture: send files in fields called images.")
    return Upload(tuple(pictures), _check(fields))


async def _bounded(request: Request, limits: Limits, memory: Share) -> AsyncGenerator[bytes, None]:
    """Give the body as it comes; a length that a header states is not believed."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large(limits)
        memory.take(len(chunk))
        yield chunk


def _check(fields: dict[str, Any]) -> PredictOptions:
    try:
        return PredictOptions.model_validate(fields)
    except ValidationError as cause:
        problem = cause.errors()[0]
        field = ".".join(str(place) for place in problem["loc"])[:MAX_NAME]
        raise _wrong(
            f"{field} {str(problem['input'])[:MAX_NAME]!r}: {problem['msg'].lower()}."
        ) from cause


def _label(file: UploadFile) -> str:
    """Return the name of a file without what would break a line or a terminal."""
    name = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in file.filename or ""
    )
    return name[:MAX_NAME] or "picture"


def _too_large(limits: Limits) -> RefusalError:
    return RefusalError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request is larger than {limits.max_bytes / 2**20:g} MiB: send fewer or smaller pictures.",
    )


def _wrong(sentence: str) -> RefusalError:
    return RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)
