"""What records state beside their outcomes, and what it must look like: how weights were made, which they are, and
what evaluated them."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import one_line

Text = Annotated[str, Field(max_length=500)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Three = Annotated[list[float], Field(min_length=3, max_length=3)]
MOST_LOOKS = 100
"""Points of a curve of training that a record keeps."""

LAST = 10
"""Last epochs whose median accuracy a record keeps, where each of them was looked at."""


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Machine(Facts):
    """What can change a result besides the run itself."""

    device: Text | None = None
    precision: Word | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    versions: Annotated[dict[Word, Text], Field(max_length=64)] = {}
    engine: Word | None = None


class Best(Facts):
    epoch: Count
    test_error: Annotated[float, Field(ge=0, le=100)]


class Training(Machine):
    """How weights were made: ``train_sha256`` is the digest of the training images, ``curve`` has epoch, loss and test
    error in percent, ``last10_accuracy`` is the median of the accuracy in percent after each of the last ten epochs."""

    epochs: Count | None = None
    best: Best | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    train_images: Count | None = None
    train_sha256: Digest | None = None
    eager_plans: Annotated[dict[Text, Text], Field(max_length=256)] = {}
    eager_looks: Text | None = None
    processes: Count | None = None
    batchnorm: Text | None = None
    curve: Annotated[list[Three], Field(max_length=MOST_LOOKS)] = []
    last10_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None


class Stamp(Machine):
    """Which code ran when and on what; ``eager`` says why passes were not captured, ``layout``, ``cudnn_benchmark`` and
    ``pass_of`` how passes were made on a GPU."""

    commit: Digest | None = None
    dirty: bool | None = None
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    eager: Text | None = None
    layout: Word | None = None
    cudnn_benchmark: bool | None = None
    pass_of: Count | None = None


class Outputs(Facts):
    by: Text
    count: Count
    sha256: Digest


class Architecture(Facts):
    name: Word
    width: Count
    variant: Word


class Checkpoint(Facts):
    """Which weights these are. All but ``sha256`` and ``epoch`` are of networks that were trained elsewhere."""

    sha256: Digest | None = None
    epoch: Count | None = None
    file: Text | None = None
    run: Digest | None = None
    model: Architecture | None = None
    weights: Text | None = None
    normalisation: Text | None = None
    mean: Three | None = None
    std: Three | None = None
    outputs: Outputs | None = None
    robustbench: Text | None = None


def of(kind: type[Facts]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a validator that gives a dictionary back as it is when it is ``kind``."""

    def checked(values: dict[str, Any]) -> dict[str, Any]:
        try:
            kind.model_validate(values)
        except ValidationError as err:
            raise ValueError(one_line(err)) from None
        return values

    return checked
