"""Fixed lists of images, the same for every network: of training images, and of a part of the test images."""

import hashlib

import torch
from torch import Tensor

from .. import data
from ..data import Files, Images
from ..data.decode import decoded
from ..errors import UsageError
from . import Context


def training_images(context: Context, count: int, option: str = "") -> Images:
    """Return ``count`` images of the whole training set, as test images are shown, without augmentation.

    Classes have equal shares, up to one image; which images is fixed by hash. Where there are not so many, all are
    returned, or, if ``option`` names what asked for them, :class:`UsageError` is raised.
    """
    images = data.load(context.dataset, "train", context.data_dir)
    if option and count > len(images):
        raise UsageError(f"{option} = {count}: {context.dataset} has {len(images)} training images")
    part = images.take(stratified(images.y, images.index, count, context.dataset))
    return decoded(part) if isinstance(part, Files) else part


def digest_of_both(tested: Images, others: Images) -> str:
    """Return the SHA-256 of the digests of the test images and of other images that an outcome is of."""
    return hashlib.sha256(f"{tested.digest()} {others.digest()}".encode()).hexdigest()


def some_test_images(context: Context, count: int) -> tuple[Images, dict[str, list[int]]]:
    """Return ``count`` test images, classes having equal shares up to one image, and what an outcome says of them:
    their ``index``. All, and nothing to say, where there are not more or ``count`` is 0."""
    if not 0 < count < len(context.images):
        return context.images, {}
    images = context.images
    part = images.take(stratified(images.y, images.index, count, f"{context.key}-test"))
    return part, {"index": part.index.tolist()}


def stratified(y: Tensor, index: Tensor, count: int, name: str) -> Tensor:
    """Return ``count`` rows in order: the first by hash of every class, then the second, and so on."""
    order = [hashlib.sha256(f"{name}/fixed/{i}".encode()).digest() for i in index.tolist()]
    labels, seen, places = y.tolist(), dict[int, int](), dict[int, int]()
    by_hash = sorted(range(len(order)), key=order.__getitem__)
    for row in by_hash:
        places[row] = seen[labels[row]] = seen.get(labels[row], -1) + 1
    return torch.tensor(sorted(sorted(by_hash, key=places.__getitem__)[:count]))
