"""Whether the images in the data folder are those that a record is of."""

from pathlib import Path

from .. import data
from ..errors import VerificationFailed
from ..records.record import Record


def check_images(record: Record, path: Path, data_dir: Path | None) -> None:
    """Raise :class:`VerificationFailed` unless the images in the data folder are those that ``record`` was evaluated
    on, and, of a run that says which, trained on."""
    dataset, run = record.source.dataset, record.run
    trained_on = record.training.get("train_sha256")
    if data.load(dataset.name, "test", data_dir).digest() != record.test_sha256:
        raise VerificationFailed(f"{path}: its test images are not those in the data folder")
    if run is None or trained_on is None:
        return
    if data.load(dataset.name, "train", data_dir, dataset.fraction, run.seed).digest() != trained_on:
        raise VerificationFailed(f"{path}: its training images are not those in the data folder")
