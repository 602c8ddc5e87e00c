"""Random numbers that belong to an image, not to a loop.

What an evaluation draws for image *i* must not depend on batch size, order, device or on which other images
are evaluated. So draws are made in blocks of 500 consecutive image indices, each block from its own Philox
stream whose key is the SHA-256 of what the draw is for.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

BLOCK = 500


def stream(*key: str | int) -> np.random.Generator:
    """Return a generator that depends on ``key`` alone, on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def per_image(
    draw: Callable[[np.random.Generator, int], npt.NDArray[np.float64]], indices: Sequence[int], *key: str | int
) -> npt.NDArray[np.float64]:
    """Return the rows of ``draw(generator, BLOCK)`` that belong to the images ``indices``, in that order.

    ``draw`` returns an array whose first axis has ``BLOCK`` entries, one per image of the block.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    blocks = {b: draw(stream(*key, b), BLOCK) for b in np.unique(wanted // BLOCK).tolist()}
    return np.stack([blocks[i // BLOCK][i % BLOCK] for i in wanted.tolist()])


def derive(seed: int, axis: str, *step: int) -> int:
    """Derive an independent 63-bit seed per axis (init, order, augment, method, layers, subset) and step.

    The same seed gives every method the same initial weights and the same data order.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, axis, *step))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
