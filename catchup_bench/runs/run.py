"""What a run is: (method, dataset, model, recipe, seed). Its digest is its identity and names its folder."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator
from pydantic import SerializerFunctionWrapHandler as Inside

from ..errors import UsageError, one_line
from ..recipes import Recipe

ZOO = "robustbench:"

MOST_SEED = 2**31 - 1

Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
"""Seed of a run."""


class MethodSpec(BaseModel):
    """``name`` as on the command line (of a file: its stem), all hyper-parameters, and the path and SHA-256 of an
    external method's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)
    options: dict[str, Any]
    file: str | None = None
    sha256: str | None = None


class DatasetSpec(BaseModel):
    """``fraction`` of the images of each class, chosen by the run's seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(max_length=256)
    fraction: float = Field(1.0, gt=0, le=1)


OF_LIBRARY = r"(timm|torchvision):[A-Za-z0-9_.-]+"

OF_FILE = r"[A-Za-z_][A-Za-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*"


class ModelSpec(BaseModel):
    """A network of this project, by ``name``, ``width`` and ``variant``; one of a library, ``timm:NAME`` or
    ``torchvision:NAME``; or one that a function makes, ``STEM:FUNCTION``, with the path and SHA-256 of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=rf"^([a-z0-9_-]+|{OF_LIBRARY}|{OF_FILE})$", max_length=128)
    width: int | None = Field(default=None, ge=1, le=4096)
    variant: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$", max_length=32)
    file: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.external and (self.width is None or self.variant is None):
            raise ValueError(f"model {self.name} needs its width and its variant")
        if self.external and (self.width is not None or self.variant is not None):
            raise ValueError(f"model {self.name} takes neither width nor variant")
        of_library = bool(re.fullmatch(OF_LIBRARY, self.name))
        if (self.file is not None) != (self.external and not of_library) or (self.file is None) != (
            self.sha256 is None
        ):
            raise ValueError(f"model {self.name}: a network of a file needs the file and its sha256, and no other does")
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_said(self, inside: Inside) -> dict[str, Any]:
        """Leave out what a network of its kind does not have, as files of older versions do."""
        return {key: value for key, value in inside(self).items() if value is not None}

    @property
    def external(self) -> bool:
        """Return whether the network was not made here."""
        return ":" in self.name

    @property
    def label(self) -> str:
        """Return a name for folders."""
        return plain(self.name) if self.external else f"{self.name}-w{self.width}"


class Run(BaseModel):
    """One training run, wholly described."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: MethodSpec
    dataset: DatasetSpec
    model: ModelSpec
    recipe: Recipe
    seed: Seed

    @property
    def identity(self) -> dict[str, Any]:
        """Return what the digest covers: everything but the paths of the files of a method and of a network."""
        described = self.model_dump(mode="json", exclude={"method": {"file"}})
        described["model"].pop("file", None)
        return {**described, "recipe": self.recipe.identity}

    @property
    def digest(self) -> str:
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Return the name of the run's folder: readable first, unique by its digest."""
        return f"{plain(self.dataset.name)}-{self.model.label}-{self.method.name}-s{self.seed}-{self.digest}"


class ExternalNetwork(BaseModel):
    """A network that was trained elsewhere, wholly described: ``checkpoint`` is ``robustbench:NAME``, or a file of
    weights below ``checkpoints`` in the data folder, with its SHA-256. ``normalise`` and ``weights`` are those of
    ``evaluate``; where they are not given, they are no part of the digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: str = Field(min_length=1, max_length=256)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    dataset: DatasetSpec
    model: ModelSpec | None = None
    seed: Literal[0] = 0
    normalise: str | None = Field(None, max_length=256)
    weights: str | None = Field(None, max_length=256)

    @model_validator(mode="after")
    def _file_is_pinned(self) -> Self:
        if not self.checkpoint.startswith(ZOO) and (self.model is None or not self.sha256):
            raise ValueError(f"checkpoint {self.checkpoint}: a file needs its model and its sha256")
        if not self.checkpoint.startswith(ZOO) and (Path(self.checkpoint).is_absolute() or ".." in self.checkpoint):
            raise ValueError(f"checkpoint {self.checkpoint}: a file lies below checkpoints in the data folder")
        return self

    @property
    def digest(self) -> str:
        later = {name for name in ("normalise", "weights") if getattr(self, name) is None}
        text = json.dumps(self.model_dump(mode="json", exclude=later), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        return f"{plain(self.dataset.name)}-loaded-{plain(self.checkpoint.removeprefix(ZOO))}-{self.digest}"


def plain(name: str) -> str:
    """Return ``name`` as part of a folder's name."""
    return "".join(c if c.isalnum() else "_" for c in name)


def parse_run(values: Any, where: object) -> Run:
    try:
        return Run.model_validate(values)
    except ValidationError as err:
        raise UsageError(f"{where} does not describe a run: {one_line(err)}") from None
