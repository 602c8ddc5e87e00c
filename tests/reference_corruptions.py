"""The 19 corruptions, one image at a time, in numpy, SciPy, scikit-image and Pillow: slow, plain, the oracle of tests.

Each takes an image (H, W, 3) uint8, the parameters of a severity and the random numbers the batched version drew,
and follows the definition of the published generators (github.com/hendrycks/robustness): same order of steps, same
precision, truncation at the end.
"""

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage import color, filters

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
    disk = np.float32(columns**2 + rows**2 <= radius**2)
    disk /= disk.sum()
    line = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * sigma**2))
    line = np.float32(line / line.sum())
    for _ in range(2):  # in float32: SciPy's float64 sums differ in the last bit, which decides flat regions
        wide = np.pad(disk, ((0, 0), (taps, taps)), mode="reflect")
        near = np.lib.stride_tricks.sliding_window_view(wide, 2 * taps + 1, axis=1)
        disk = line[taps] * near[..., taps]
        for k in range(1, taps + 1):
            disk += line[taps + k] * (near[..., taps - k] + near[..., taps + k])
        disk = disk.T
    kernel = np.float64(disk)
    return final(np.stack([ndimage.correlate(x[..., k] / 255, kernel, mode="mirror") for k in range(3)], axis=-1))


def glass_blur(x: Bytes, c: tuple[float, ...], dy: Array, dx: Array) -> Bytes:
    """``dy``, ``dx``: (passes, H - 2 reach, W - 2 reach), by position."""
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
    """(H, W, C), H = W."""
    size = len(x)
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    y = ndimage.zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (len(y) - size) // 2
    return np.asarray(y[trim : trim + size, trim : trim + size])


def zoom_blur(x: Bytes, c: tuple[float, ...]) -> Bytes:
    first, _, step, count = c
    y = np.float32(x / 255)
    total = np.zeros_like(y)
    for factor in np.arange(first, first + (count - 0.5) * step, step):
        total += centre_zoom(y, factor)
    return final((y + total) / (count + 1))


# --- weather


def plasma(noise: Array, side: int, decay: float) -> Array:
    """``noise``: side^2 - 1 numbers in [-1, 1), squares before the two kinds of diamonds, coarse to fine."""
    field = np.zeros((side, side))
    numbers = iter(noise)
    step, wibble = side, 100.0

    def fill(row: int, column: int, four: list[tuple[int, int]]) -> None:
        mean = sum(field[r % side, s % side] for r, s in four) / 4
        field[row, column] = mean + wibble * (wibble * next(numbers))

    while step >= 2:
        half, starts = step // 2, range(0, side, step)
        for r in starts:
            for s in starts:
                fill(r + half, s + half, [(r, s), (r + step, s), (r, s + step), (r + step, s + step)])
        for r in starts:
            for s in starts:
                fill(r, s + half, [(r + half, s + half), (r - half, s + half), (r, s), (r, s + step)])
        for r in starts:
            for s in starts:
                fill(r + half, s, [(r + half, s + half), (r + half, s - half), (r, s), (r + step, s)])
        step, wibble = half, wibble / decay
    field -= field.min()
    return field / field.max()


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
    y = np.float32(x) / np.float32(255)
    grey = y @ np.float32([0.299, 0.587, 0.114])
    y = np.float32(share) * y + np.float32(1 - share) * np.maximum(
        y, grey[..., None] * np.float32(1.5) + np.float32(0.5)
    )
    return final(y + layer + np.rot90(layer, 2))


def frost(x: Bytes, c: tuple[float, ...], pictures: list[Bytes], chance: Array) -> Bytes:
    """``pictures`` are shrunk already; ``chance``: picture, row and column, uniform on [0, 1)."""
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
    """``jitter``: (3, 2), x first; ``fields``: (2, H, W), for x and y."""
    alpha, sigma, _ = c
    height, width = x.shape[:2]
    centre, third = np.float32([height // 2, width // 2]), min(height, width) // 3
    fixed = np.float32([centre + third, [centre[0] + third, centre[1] - third], centre - third])
    moved = np.float32(fixed + np.float32(jitter))
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]).astype(np.float64), fixed.astype(np.float64))
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x_from, y_from = np.moveaxis(np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back, -1, 0)
    y = _sample(np.float32(x) / np.float32(255), y_from, x_from, "mirror")
    if alpha:
        dx, dy = (np.float32(filters.gaussian(f, sigma, mode="reflect", truncate=3) * alpha) for f in fields)
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
    y = np.float32(x) / np.float32(255)
    liquid = filters.gaussian(mean + deviation * noise, sigma=sigma)
    liquid[liquid < threshold] = 0
    if mud:
        mask = filters.gaussian(np.float32(liquid > threshold), sigma=strength)
        mask[mask < np.float32(0.8)] = 0
        return final(y * (1 - mask[..., None]) + np.float32([63, 42, 20]) / np.float32(255) * mask[..., None])
    layer = (np.floor(liquid * 255) % 256).astype(np.uint8)
    mask = np.float32(layer) * np.float32(relief(layer))
    mask = mask / mask.max() * np.float32(strength) if mask.any() else mask
    return final(y + mask[..., None] * (np.float32([175, 238, 238]) / np.float32(255)))


def relief(layer: Bytes) -> Bytes:
    """What the published chain of OpenCV calls makes of one (H, W) layer."""
    distance = np.minimum(chamfer(canny(layer)), 20)
    flat = ndimage.uniform_filter(distance, 3, mode="mirror")
    level = equalized(np.floor(flat + 1e-9).astype(np.uint8))
    embossed = ndimage.correlate(level.astype(int), np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror")
    summed = ndimage.correlate(np.clip(embossed, 0, 255), np.ones((3, 3), dtype=int), mode="mirror")
    return np.rint(summed / 9).astype(np.uint8)


def canny(layer: Bytes) -> Array:
    """Edges (bool) for the thresholds 50 and 150, pixel by pixel."""
    dx = ndimage.sobel(layer.astype(int), axis=1, mode="nearest")
    dy = ndimage.sobel(layer.astype(int), axis=0, mode="nearest")
    size = np.pad(abs(dx) + abs(dy), 1)
    ridge = np.zeros(layer.shape, dtype=bool)
    for r, s in np.ndindex(*layer.shape):
        here = size[r + 1, s + 1]
        steepness = math.inf if dx[r, s] == 0 else abs(dy[r, s] / dx[r, s])
        if here <= 50:
            continue
        if steepness < math.tan(math.pi / 8):
            ridge[r, s] = size[r + 1, s] < here >= size[r + 1, s + 2]
        elif steepness > math.tan(3 * math.pi / 8):
            ridge[r, s] = size[r, s + 1] < here >= size[r + 2, s + 1]
        else:
            side = -1 if (dx[r, s] < 0) != (dy[r, s] < 0) else 1
            ridge[r, s] = size[r, s + 1 - side] < here > size[r + 2, s + 1 + side]
    edges = ridge & (size[1:-1, 1:-1] > 150)
    return np.asarray(ndimage.binary_propagation(edges, np.ones((3, 3)), mask=ridge))


def chamfer(edges: Array) -> Array:
    """Shortest way to an edge in straight, diagonal and knight's moves of length 1, 1.4 and 2.1969 (in 1/65536)."""
    if not edges.any():
        return np.full(edges.shape, 8192.0)
    straight, diagonal, knight = (round(v * 65536) for v in (1.0, 1.4, 2.1969))
    rows, columns = np.nonzero(edges)
    grid = np.indices(edges.shape)
    away = abs(grid[0][..., None] - rows), abs(grid[1][..., None] - columns)
    long, short = np.maximum(*away), np.minimum(*away)
    flat = short * knight + (long - 2 * short) * straight
    steep = (long - short) * knight + (2 * short - long) * diagonal
    return np.where(long >= 2 * short, flat, steep).min(axis=-1) / 65536


def equalized(level: Bytes) -> Bytes:
    counts = np.bincount(level.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    if counts[first] == level.size:
        return level
    share = np.float32(255) / np.float32(level.size - counts[first])
    table = np.rint(np.float32(np.cumsum(counts) - counts[first]) * share)
    return np.clip(table, 0, 255).astype(np.uint8)[level]
