"""`hypernym predict`: name pictures by paths of the tree."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter
from pydantic import BeforeValidator, Field, validate_call

from hypernym.engine import count_loaders
from hypernym.errors import OutputError, UsageError
from hypernym.files import digest_files, make_folder, temporary_beside
from hypernym.hierarchy.rule import Rule
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from hypernym.prediction.answers import Prediction
    from hypernym.prediction.summary import Summary


def _as_words(images: Any) -> Any:  # noqa: ANN401 - pydantic judges what comes out
    """Take one path for a list of it, and paths for words."""
    if isinstance(images, (str, os.PathLike)):
        images = [images]
    if not isinstance(images, Iterable):
        return images
    return [os.fspath(image) if isinstance(image, os.PathLike) else image for image in images]


if TYPE_CHECKING:
    Images = str | Path | Sequence[str | Path]
else:
    Images = Annotated[
        list[str], BeforeValidator(_as_words), Parameter(allow_leading_hyphen=True, negative="")
    ]
    """What a command line gives, and what is made of the rest."""


@dataclass(frozen=True)
class PredictReport:
    """A prediction for each picture, in the order given; or, by `--out` or `--embed`, where they lie."""

    predictions: tuple[Prediction, ...]
    """Empty where they were written to a file."""

    summary: Summary
    out: Path | None
    embed: Path | None
    picture: Path | None

    @property
    def exit_code(self) -> int:
        """2 where not one picture could be read, else 0."""
        return 2 if self.summary.num_unreadable == self.summary.pictures else 0

    def __str__(self) -> str:
        """Return a line a picture, or of files a summary and where they lie."""
        files = [(self.out, "answers"), (self.embed, "features"), (self.picture, "drawn")]
        places = [f"  {what:<9} {path}" for path, what in files if path]
        if self.out or self.embed:
            return "\n".join([str(self.summary), *places])
        return "\n".join([*map(str, self.predictions), *places])


@validate_call
def predict(
    run: Path,
    images: Images,
    *,
    rule: Rule = Rule.PATH,
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None,
    out: Path | None = None,
    embed: Path | None = None,
    picture: Path | None = None,
    split: Literal["val", "train", "test"] | None = None,
    resume: bool = False,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    device: str = "auto",
    workers: Annotated[int, Field(ge=0)] | None = None,
) -> PredictReport:
    """Name each picture by labels of the tree: by one path, as deep as the model is sure.

    A picture that cannot be read gets a line that says why; the others are not held up.

    Args:
        run: A run (its best checkpoint is used), a checkpoint folder, or a folder made by `export`.
        images: Image files, folders of them, quoted patterns ('photos/**/*.jpg'), datasets; or - for
            standard input: a path a line, or the bytes of one image.
        rule: path (from the root to the most probable child at each step, while the model is sure),
            official (the most probable class of each depth by itself, where the model is sure: the rule
            of the official semantic softmax code) or leaf (the most probable leaf and its ancestors).
        threshold: How sure: the least probability of a label; 0.5 if not given.
        out: A file for the answers, instead of lines: .csv, .jsonl or .parquet.
        embed: A file for the features of the pictures: .npy or .parquet.
        picture: Where to draw each picture with its path: a file (.png, .svg, .pdf) for one picture, a
            folder for several.
        split: Of a dataset: val (or train, if that has no images), train or test.
        resume: Go on with the files of an earlier request that was stopped.
        batch_size: Images at a time.
        device: auto (a GPU if there is one), cpu, cuda ...
        workers: Processes that load images; by default one for each core but one, at most 8.
    """
    from hypernym.prediction.gathering import gather
    from hypernym.prediction.predictor import check_rule, load

    rule, threshold = check_rule(rule, threshold)
    _check_files(out, embed, resume=resume)
    drawings = None
    if picture:
        from hypernym.prediction.places import Drawings

        drawings = Drawings(picture, resume=resume)
    gathered = gather(cast("list[str]", images), split=split)
    drawn = picture if drawings and drawings.is_file else None
    for file in filter(None, (out, embed, drawn)):
        _check_place(file)
    model = load(run, device=device)

    from hypernym.prediction.job import Job, Loading, Wanted
    from hypernym.prediction.parts import Parts

    wanted = Wanted(rule, threshold, answers=bool(out or not embed), features=bool(embed))
    loading = Loading(batch_size, count_loaders(workers))
    parts = None
    if result := out or embed:
        asked = {
            "model": _digest(run),
            "picture": str(picture),
            "split": split,
            "truth": gathered.has_truth,
        }
        parts = Parts(result, {**asdict(wanted), **asked}, resume=resume)
    done = parts.num_done if parts else 0
    predictions: tuple[Prediction, ...] = ()
    with show_progress("predict", gathered.count(), "pictures", done=done) as advance:
        job = Job(model, wanted, loading, drawings, advance)
        if parts:
            summary = job.write(gathered, parts, out=out, embed=embed)
        else:
            predictions, summary = job.answer(gathered)
    return PredictReport(predictions, summary, out, embed, picture)


def _check_files(out: Path | None, embed: Path | None, *, resume: bool) -> None:
    """Check, before anything is loaded, that the files can be meant and are not there."""
    from hypernym.prediction.parts import folder_beside
    from hypernym.prediction.tables import AnswerForm, FeatureForm, check_form

    if out:
        check_form(out, AnswerForm, "--out")
    if embed:
        check_form(embed, FeatureForm, "--embed")
    result = out or embed
    if result is None:
        if resume:
            raise UsageError("--resume goes on with a file, and none was given: add --out or --embed.")
        return
    if out == embed:
        raise UsageError(f"--out and --embed are both {out}: give two files.")
    begun = resume and folder_beside(result).exists()
    for file in (out, embed):
        if file and file.exists() and not begun:
            raise OutputError(f"{file} exists: give another place for the result, or remove this one.")


def _check_place(file: Path) -> None:
    """Make the folder of a result, and find out whether the result can be written there."""
    make_folder(file.parent)
    probe = temporary_beside(file)
    try:
        probe.touch()
        probe.unlink()
    except OSError as cause:
        raise OutputError(
            f"{file} cannot be written ({cause.strerror}): give a place that you may write to."
        ) from cause


def _digest(run: Path) -> str:
    """Return a digest of all that a model answers by."""
    from hypernym.checkpoint import CONFIG, TREE, WEIGHTS, find_checkpoint

    folder = find_checkpoint(run)
    return digest_files(folder / WEIGHTS, folder / CONFIG, folder / TREE)
