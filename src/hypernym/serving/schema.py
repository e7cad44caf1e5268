"""What the JSON API takes and gives; /openapi.json is made of this."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hypernym.hierarchy.rule import Rule  # noqa: TC001 - pydantic reads annotations at run time
from hypernym.hierarchy.scheme import Scheme  # noqa: TC001 - the same

Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class ClassName(Strict):
    """A class by id and name; several classes may have one name."""

    id: str = Field(examples=["n01503061"])
    name: str = Field(examples=["bird"])


class ClassMatch(ClassName):
    """A class that was searched for."""

    above: list[str] = Field(
        description="Names of the classes above it, the root first.", examples=[["animal", "vertebrate"]]
    )


class ClassDetails(ClassName):
    """A class and its place in the tree."""

    output: int = Field(ge=0, description="Its place among the model's outputs.")
    depth: int = Field(ge=0, description="How many classes stand above it.")
    is_label: bool = Field(description="Whether images are labelled with it: not an added inner class.")
    num_below: int = Field(ge=0, description="Classes below it, at all depths.")
    ancestors: list[ClassName] = Field(description="The classes above it, the root first.")
    children: list[ClassName] = Field(description="The classes right below it, by name.")


class ClassTree(Strict):
    """All classes of a model in columns, in the order of its outputs."""

    ids: list[str]
    names: list[str]
    parents: list[int] = Field(description="The output of the class above; -1 for a root.")


class ModelDetails(Strict):
    """A model that can be asked."""

    name: str = Field(description="What requests call it.", examples=["semantic"])
    architecture: str = Field(description="timm's name of it.", examples=["resnet26t"])
    scheme: Scheme = Field(description="How it was taught the labels of the tree.")
    size: int = Field(gt=0, description="Pixels of a side of what it sees.")
    classes: int = Field(gt=0, description="Classes of its tree.")
    depths: int = Field(gt=0, description="Depths of its tree.")
    roots: int = Field(gt=0, description="Classes without a class above.")


class Defaults(Strict):
    """What holds where a request does not say."""

    rule: Rule
    threshold: Share


class Limits(Strict):
    """What is refused."""

    max_bytes: int = Field(gt=0, description="Of the body of one request.")
    max_pixels: int = Field(gt=0, description="Of one picture.")
    max_pictures: int = Field(gt=0, description="Of one request, times the models that it asks.")


class Service(Strict):
    """Who answers here, and within which bounds."""

    version: str
    models: list[ModelDetails]
    defaults: Defaults
    limits: Limits


class PredictOptions(Strict):
    """The fields of a request beside its images."""

    model: list[str] = Field(
        default=[],
        description="Whom to ask; repeat it to compare models. The first model if not given.",
        examples=[["semantic"]],
    )
    rule: Rule | None = Field(
        default=None,
        description="path: from the root to the most probable child at each step, while the model is "
        "sure. official: the most probable class of each depth by itself. leaf: the most probable leaf "
        "with the classes above it.",
    )
    threshold: Share | None = Field(
        default=None, description="The least probability of a label. The rule leaf has no use for one."
    )
    probabilities: bool = Field(
        default=False, description="Whether to give the probability of every class of the tree."
    )


class PredictForm(PredictOptions):
    """A request to name pictures, as multipart/form-data."""

    images: list[Annotated[str, Field(json_schema_extra={"format": "binary"})]] = Field(
        min_length=1, description="Image files: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF ..."
    )


class StepAnswer(ClassName):
    """One class on a path."""

    probability: Share = Field(description="That the picture shows something of this kind.")


class ModelAnswer(Strict):
    """What one model says of a picture."""

    model: str
    path: list[StepAnswer] = Field(
        description="The labels kept, from the root down; none of a model that is unsure of all."
    )
    beyond: list[StepAnswer] = Field(description="The labels not kept: how the path would go on.")
    probabilities: list[Share] | None = Field(
        description="Of every class, in the order of /api/tree, if they were asked for."
    )


class PictureAnswer(Strict):
    """What is said of one picture."""

    name: str = Field(description="The name of its file, as it was sent.", examples=["owl.jpg"])
    error: str | None = Field(description="Why it could not be read; then there are no answers.")
    answers: list[ModelAnswer] = Field(description="One for each model, in the order of asking.")


class PredictAnswer(Strict):
    """The answer to a request, a picture at a time, in the order of sending."""

    images: list[PictureAnswer]


class ExamplePicture(Strict):
    """A picture to try the models with."""

    name: str
    url: str = Field(description="Where it lies, seen from the page.", examples=["examples/0"])


class Health(Strict):
    """Whether the server can take more."""

    status: str = Field(examples=["ok"])
    waiting: int = Field(ge=0, description="Pictures that wait or are worked on, times models.")
    limit: int = Field(gt=0, description="How many may wait; more are told 503.")


class Problem(Strict):
    """Why a request was not answered."""

    error: str = Field(description="One sentence for a person.", examples=["there is no model 'a'."])
