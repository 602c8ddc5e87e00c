"""The training protocol: everything about training that is not the method, the data or the network."""

import math
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import UsageError, one_line, pick
from ..system.toml_files import packaged_toml, read_toml


class Recipe(BaseModel):
    """Values as in the TOML files of ``recipes/``; lengths of time are in epochs, shares of time are fractions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
    LATER: ClassVar = frozenset(
        {"crop", "padding", "interpolation", "color_jitter", "lighting", "looks", "normalise", "pretrained"}
    )
    """Fields that older runs do not know: at their defaults they are no part of a run's identity."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=65_536)
    lr: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(1e-4, ge=0, allow_inf_nan=False)
    schedule: Literal["step", "cosine", "cosine-epoch"] = "step"
    """``cosine`` falls at every step, ``cosine-epoch`` between epochs."""
    milestones: tuple[float, ...] = ()
    """Fractions of the epochs after which ``lr`` is multiplied by ``gamma``; they scale with ``epochs``."""
    gamma: float = Field(0.1, gt=0, le=1)
    warmup_epochs: float = Field(0, ge=0, allow_inf_nan=False)
    crop: Literal["pad", "window", "resized"] = "pad"
    """The random crop of training images. ``pad``: of images of one size, after padding. ``window``: of larger files,
    224×224 after the shorter side is scaled to 256. ``resized``: a random box, 8 to 100 % of the area, resized."""
    pad: int = Field(0, ge=0, le=64)
    """Padding of the random crop, in pixels; 0 is no crop."""
    padding: Literal["zeros", "reflect"] = "zeros"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Of the ``resized`` crop."""
    color_jitter: float = Field(0, ge=0, le=1)
    """Brightness, contrast and saturation are multiplied by 1 ± this, in random order, unclamped; 0 is none."""
    lighting: float = Field(0, ge=0, allow_inf_nan=False)
    """Standard deviation of the shift along the principal components of ImageNet's colours; 0 is none."""
    normalise: Literal["dataset", "imagenet", "cifar10", "cifar100", "half", "none"] = "dataset"
    """Whose mean and standard deviation the network's first layer has (see ``data/normalisation.py``)."""
    flip: bool = False
    drop_last: bool = False
    eval_every: int = Field(1, ge=1)
    """Epochs between two looks at the test error, at the least. Looks draw the curve and choose ``best``."""
    looks: int = Field(20, ge=1)
    """How many looks a run takes at the most, evenly spaced; a look at 10,000 images costs as much as an epoch of
    3,000."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """``auto`` is bf16 autocast where the hardware has it, else fp32; ``tf32`` is fp32 with products in TF32 (CUDA)."""
    pretrained: str = Field("", pattern=r"^([A-Za-z0-9_]+\.[A-Za-z0-9_]+)?$", max_length=128)
    """Weights that training begins with, by torchvision's name, such as ``ResNet18_Weights.IMAGENET1K_V1``; the last
    layer is new where classes are others."""
    snapshots: tuple[float, ...] = Field((), exclude=True)
    """Fractions of the epochs after which weights are kept, for the suite ``dynamics``. They change no result, so they
    are no part of a run's identity and of no file."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if any(not 0 < m < 1 for m in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones must be rising fractions between 0 and 1")
        if any(not 0 < s <= 1 for s in self.snapshots) or list(self.snapshots) != sorted(self.snapshots):
            raise ValueError("snapshots must be rising fractions above 0, up to 1")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """Return what of the recipe a run's digest covers."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        values = self.model_dump(mode="json")
        return {k: v for k, v in values.items() if k not in self.LATER or v != defaults[k]}

    @property
    def look_every(self) -> int:
        """Return the epochs between two looks at the test error."""
        return max(self.eval_every, math.ceil(self.epochs / self.looks))

    @property
    def snapshot_epochs(self) -> set[int]:
        """Return the epochs, counted from 1, at whose end weights are kept."""
        return {max(1, round(s * self.epochs)) for s in self.snapshots}

    def lr_at(self, progress: float) -> float:
        """Return the learning rate after ``progress`` epochs. Steps happen between epochs, ``cosine`` and warm-up at
        every step."""
        if progress < self.warmup_epochs:
            return self.lr * progress / self.warmup_epochs
        if self.schedule != "step":
            reached = progress if self.schedule == "cosine" else max(math.floor(progress), self.warmup_epochs)
            share = (reached - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1)))
        passed = sum(math.floor(progress) >= round(m * self.epochs) for m in self.milestones)
        return float(self.lr * self.gamma**passed)


def available() -> list[str]:
    """Return the names of the packaged recipes, sorted."""
    return packaged_toml(__package__)


def load(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """Load the recipe called ``name`` (or the TOML file at that path) with ``overrides`` applied."""
    values = read_toml(name, "recipe", __package__)
    for comment in ("title", "source"):
        values.pop(comment, None)
    return validated({**values, **(overrides or {})}, name)


def validated(values: dict[str, Any], name: str) -> Recipe:
    """Return the recipe with these values. Raises :class:`UsageError` for an unknown key or a value out of bounds."""
    for key in values:
        pick("recipe key", str(key), Recipe.model_fields)
    try:
        return Recipe(**values)
    except ValidationError as err:
        raise UsageError(f"recipe {name}: {one_line(err)}") from None
