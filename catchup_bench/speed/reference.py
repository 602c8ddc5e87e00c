"""The 19 corruptions one image at a time, with the libraries that the published generators use
(github.com/hendrycks/robustness): numpy, SciPy, scikit-image, OpenCV and Pillow.

What the batched ones are compared with, in speed by ``bench corruptions`` and in pixels by the tests. Each takes an
image (H, W, 3) uint8, the parameters of a severity and random numbers, and follows the published definition: same
order of steps, same precision, truncation at the end. Needs the packages of the extra ``test``.
"""

import io
import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage import color, filters

from ..corruptions.severity import frost_scale
from ..corruptions.textures import procedural

Bytes = npt.NDArray[np.uint8]

Array = npt.NDArray[Any]


def final(y: Array) -> Bytes:
    return (np.clip(y, 0, 1) * 255).astype(np.uint8)


# --- noise


def gaussian_noise(x: Bytes, c: tuple[float, ...], noise: Array) -> Bytes:
    return final(x / 255 + c[0] * noise)


def speckle_noise(x: Bytes, c: tuple[float, ...], noise: Array) -> Bytes:
    return final(x / 255 + x / 255 * (c[0] * noise))


def shot_noise(x: Bytes, c: tuple[float, ...], counts: Array) -> Bytes:
    return final(counts / c[0])


def impulse_noise(x: Bytes, c: tuple[float, ...], hit: Array, salt: Array) -> Bytes:
    y = x / 255
    y[hit.astype(bool)] = 0
    y[salt.astype(bool)] = 1
    return final(y)


# --- blur


def gaussian_blur(x: Bytes, c: tuple[float, ...]) -> Bytes:
    return final(filters.gaussian(x / 255, sigma=c[0], channel_axis=-1))


def defocus_blur(x: Bytes, c: tuple[float, ...]) -> Bytes:
    radius, sigma = c
    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    columns, rows = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    disk: Array = (columns**2 + rows**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    line = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * sigma**2))
    line = (line / line.sum()).astype(np.float32)
    for _ in range(2):  # in float32: SciPy's float64 sums differ in the last bit, which decides flat regions
        wide = np.pad(disk, ((0, 0), (taps, taps)), mode="reflect")
        near = np.lib.stride_tricks.sliding_window_view(wide, 2 * taps + 1, axis=1)
        disk = line[taps] * near[..., taps]
        for k in range(1, taps + 1):
            disk += line[taps + k] * (near[..., taps - k] + near[..., taps + k])
        disk = disk.T
    kernel = np.float64(disk)
    return final(cv2.filter2D(x / 255, -1, kernel))


def glass_blur(x: Bytes, c: tuple[float, ...], dy: Array, dx: Array) -> Bytes:
    """Blur by exchanges; ``dy``, ``dx``: (passes, H - 2 reach, W - 2 reach), by position."""
    sigma, reach, passes = c[0], int(c[1]), int(c[2])
    height, width = x.shape[:2]
    y = (filters.gaussian(x / 255, sigma=sigma, channel_axis=-1) * 255).astype(np.uint8)
    for k in range(passes):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                at = k, h - reach - 1, w - reach - 1
                y[h, w] = y[h + dy[at], w + dx[at]]
    return final(filters.gaussian(y / 255, sigma=sigma, channel_axis=-1))


def motion_blur(x: Bytes, c: tuple[float, ...], degrees: float) -> Bytes:
    radius, sigma = int(c[0]), c[1]
    height, width = x.shape[:2]
    weights = np.array([math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)])
    weights /= weights.sum()
    total = np.zeros(x.shape)
    for i, weight in enumerate(weights):
        dx = math.ceil(i * math.cos(math.radians(degrees)) - 0.5)
        dy = math.ceil(i * math.sin(math.radians(degrees)) - 0.5)
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        total += weight * x[rows][:, columns]
    return (np.floor(total * 257 + 0.5) / 257).astype(np.uint8)


def centre_zoom(x: Array, factor: float) -> Array:
    """Zoom into the centre of an image (H, W, C), H = W."""
    size = len(x)
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    y = ndimage.zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (len(y) - size) // 2
    return np.asarray(y[trim : trim + size, trim : trim + size])


def zoom_blur(x: Bytes, c: tuple[float, ...]) -> Bytes:
    first, _, step, count = c
    y = (x / 255).astype(np.float32)
    total = np.zeros_like(y)
    for factor in np.arange(first, first + (count - 0.5) * step, step):
        total += centre_zoom(y, factor)
    return final((y + total) / (count + 1))


# --- weather


def plasma(noise: Array, side: int, decay: float) -> Array:
    """Make a plasma fractal from ``noise``: side^2 - 1 numbers in [-1, 1), squares before the two kinds of diamonds,
    coarse to fine."""
    field = np.zeros((side, side))
    step, wibble, used = side, 100.0, 0

    def around(mean: Array) -> Array:
        nonlocal used
        used += mean.size
        return mean / 4 + wibble * (wibble * noise[used - mean.size : used].reshape(mean.shape))

    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        right = corners + np.roll(corners, -1, 1)
        squares = around(corners + np.roll(corners, -1, 0) + np.roll(corners, -1, 1) + np.roll(corners, -1, (0, 1)))
        field[half::step, half::step] = squares
        field[::step, half::step] = around(squares + np.roll(squares, 1, 0) + right)
        down = corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = around(squares + np.roll(squares, 1, 1) + down)
        step, wibble = half, wibble / decay
    field -= field.min()
    return np.asarray(field / field.max())


def fog(x: Bytes, c: tuple[float, ...], noise: Array) -> Bytes:
    y = x / 255
    side = 2 ** math.ceil(math.log2(max(y.shape[:2])))
    brightest = y.max()
    y = y + c[0] * plasma(noise, side, c[1])[: y.shape[0], : y.shape[1], None]
    return final(y * brightest / (brightest + c[0]))


def snow(x: Bytes, c: tuple[float, ...], noise: Array, degrees: float) -> Bytes:
    mean, deviation, factor, threshold, radius, sigma, share = c
    layer = centre_zoom((mean + deviation * noise)[..., None], factor)
    layer[layer < threshold] = 0
    layer = motion_blur(final(layer), (radius, sigma), degrees) / 255
    y = x.astype(np.float32) / np.float32(255)
    grey = y @ np.array([0.299, 0.587, 0.114], np.float32)
    y = np.float32(share) * y + np.float32(1 - share) * np.maximum(
        y, grey[..., None] * np.float32(1.5) + np.float32(0.5)
    )
    return final(y + layer + np.rot90(layer, 2))


def frost(x: Bytes, c: tuple[float, ...], pictures: list[Bytes], chance: Array) -> Bytes:
    """Add frost; ``pictures`` are shrunk already; ``chance``: picture, row and column, uniform on [0, 1)."""
    picture = pictures[int(chance[0] * len(pictures))]
    top, left = (int(u * (p - s)) for u, p, s in zip(chance[1:], picture.shape, x.shape, strict=False))
    piece = picture[top : top + x.shape[0], left : left + x.shape[1]]
    return np.clip(c[0] * x + c[1] * piece, 0, 255).astype(np.uint8)


def brightness(x: Bytes, c: tuple[float, ...]) -> Bytes:
    y = color.rgb2hsv(x / 255)
    y[..., 2] = np.clip(y[..., 2] + c[0], 0, 1)
    return final(color.hsv2rgb(y))


# --- digital


def contrast(x: Bytes, c: tuple[float, ...]) -> Bytes:
    y = x / 255
    mean = y.mean(axis=(0, 1), keepdims=True)
    return final((y - mean) * c[0] + mean)


def pixelate(x: Bytes, c: tuple[float, ...]) -> Bytes:
    height, width = x.shape[:2]
    small = Image.fromarray(x).resize((int(width * c[0]), int(height * c[0])), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(x: Bytes, c: tuple[float, ...]) -> Bytes:
    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, "JPEG", quality=int(c[0]))
    return np.asarray(Image.open(buffer))


def elastic_transform(x: Bytes, c: tuple[float, ...], jitter: Array, fields: Array) -> Bytes:
    """Deform an image; ``jitter``: (3, 2), x first; ``fields``: (2, H, W), for x and y."""
    alpha, sigma, _ = c
    height, width = x.shape[:2]
    centre, third = np.array([height // 2, width // 2], np.float32), min(height, width) // 3
    fixed = np.array([centre + third, [centre[0] + third, centre[1] - third], centre - third], np.float32)
    moved = fixed + jitter.astype(np.float32)
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]).astype(np.float64), fixed.astype(np.float64))
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x_from, y_from = np.moveaxis(np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back, -1, 0)
    y = _sample(x.astype(np.float32) / np.float32(255), y_from, x_from, "mirror")
    if alpha:
        dx, dy = ((filters.gaussian(f, sigma, mode="reflect", truncate=3) * alpha).astype(np.float32) for f in fields)
        y = _sample(y, rows + dy, columns + dx, "reflect")
    return final(y)


def _sample(x: Array, rows: Array, columns: Array, border: str) -> Array:
    at = [rows, columns]
    return np.stack([ndimage.map_coordinates(x[..., k], at, order=1, mode=border) for k in range(3)], axis=-1)


# --- extra


def saturate(x: Bytes, c: tuple[float, ...]) -> Bytes:
    y = color.rgb2hsv(x / 255)
    y[..., 1] = np.clip(y[..., 1] * c[0] + c[1], 0, 1)
    return final(color.hsv2rgb(y))


def spatter(x: Bytes, c: tuple[float, ...], noise: Array) -> Bytes:
    mean, deviation, sigma, threshold, strength, mud = c
    y = x.astype(np.float32) / np.float32(255)
    liquid = filters.gaussian(mean + deviation * noise, sigma=sigma)
    liquid[liquid < threshold] = 0
    if mud:
        mask = filters.gaussian((liquid > threshold).astype(np.float32), sigma=strength)
        mask[mask < np.float32(0.8)] = 0
        return final(y * (1 - mask[..., None]) + np.array([63, 42, 20], np.float32) / np.float32(255) * mask[..., None])
    layer = (np.floor(liquid * 255) % 256).astype(np.uint8)
    mask = layer.astype(np.float32) * relief(layer).astype(np.float32)
    mask = mask / mask.max() * np.float32(strength) if mask.any() else mask
    return final(y + mask[..., None] * (np.array([175, 238, 238], np.float32) / np.float32(255)))


def relief(layer: Bytes) -> Bytes:
    """Return drops (H, W) with a rim: the distance from their edges, equalised and embossed."""
    distance = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)[1]
    level = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    embossed = cv2.filter2D(level, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    return np.asarray(cv2.blur(embossed, (3, 3)))


# --- random numbers


def numbers(name: str, x: Bytes, c: tuple[float, ...], rng: np.random.Generator) -> tuple[Any, ...]:
    """Draw what ``name`` takes after the image and the parameters, drawn as the published generators do: for glass blur
    pixel by pixel, and for frost with a picture that is decoded and shrunk for every image."""
    height, width = x.shape[:2]
    if name in ("gaussian_noise", "speckle_noise"):
        return (rng.standard_normal(x.shape),)
    if name == "shot_noise":
        return (rng.poisson(x / 255 * c[0]),)
    if name == "impulse_noise":
        hit = rng.random(x.shape) < c[0]
        return hit, hit & (rng.random(x.shape) < 0.5)
    if name == "glass_blur":
        reach = int(c[1])
        places = np.ndindex(int(c[2]), height - 2 * reach, width - 2 * reach)
        drawn = np.array([rng.integers(-reach, reach, 2) for _ in places])
        dy, dx = drawn.T.reshape(2, int(c[2]), height - 2 * reach, width - 2 * reach)
        return dy, dx
    if name == "motion_blur":
        return (rng.uniform(-45, 45),)
    if name == "fog":
        return (rng.uniform(-1, 1, 4 ** math.ceil(math.log2(max(height, width))) - 1),)
    if name == "snow":
        return rng.standard_normal((height, width)), rng.uniform(-135, -45)
    if name == "frost":
        scale, picture = frost_scale(min(height, width)), cv2.imdecode(_files()[rng.integers(5)], cv2.IMREAD_COLOR)
        return [cv2.resize(picture, None, fx=scale, fy=scale)], rng.random(3)
    if name == "elastic_transform":
        return rng.uniform(-c[2], c[2], (3, 2)), rng.uniform(-1, 1, (2, height, width))
    if name == "spatter":
        return (rng.standard_normal((height, width)),)
    return ()


@cache
def _files() -> list[Bytes]:
    """Encode the stand-ins of the frost pictures in the formats of the published ones, three PNG and two JPEG files."""
    kinds = (".png", ".png", ".png", ".jpg", ".jpg")
    return [cv2.imencode(kind, p)[1] for kind, p in zip(kinds, procedural().pictures, strict=True)]
