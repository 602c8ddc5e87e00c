"""The loss of a network as a function of its parameters: values, Hessian products, eigenvectors and trace."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..data import Images
from ..data.batches import batches
from ..errors import RunFailed
from ..seeds import stream
from ..system.hardware import to_device

TOLERANCE = 1e-4
"""Residual of an eigenvector relative to its eigenvalue; the error of the eigenvalue goes with its square."""


class Surface:
    """The mean cross-entropy in nats of ``images``, as a function of all parameters of ``net`` in one float32 vector.

    ``origin`` (P) are the parameters that the network has. It is left alone, buffers included: it is called with other
    parameters in the place of its own. In the vector, each parameter lies as it does in memory, so that at the origin
    the very kernels of the network run.
    """

    def __init__(self, net: nn.Module, images: Images, batch_size: int, device: torch.device) -> None:
        self.net, self.n = net, len(images)
        self.graph: Iterable[tuple[Tensor, Tensor]] | None = None
        self.parts = [(x, y) for x, y, _ in batches(images, batch_size, device)]
        named = dict(net.named_parameters())
        self.names = list(named)
        self.orders = [sorted(range(p.ndim), key=lambda d, p=p: -p.stride(d)) for p in named.values()]  # type: ignore[misc]
        laid = [p.detach().permute(order) for p, order in zip(named.values(), self.orders, strict=True)]
        self.shapes = [p.shape for p in laid]
        self.origin = torch.cat([p.reshape(-1).float() for p in laid])

    def parameters(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of ``flat`` (P) in the shapes of the network's parameters, by name."""
        pieces = flat.split([shape.numel() for shape in self.shapes])
        return {
            name: piece.view(shape).permute(torch.tensor(order).argsort().tolist())
            for name, piece, shape, order in zip(self.names, pieces, self.shapes, self.orders, strict=True)
        }

    def losses(self, flat: Tensor) -> Iterator[Tensor]:
        """Yield the share of every batch in the loss, in float64 and on the device."""
        for x, y in self.parts:
            logits = functional_call(self.net, self.parameters(flat), (x,))
            yield F.cross_entropy(logits, y, reduction="none").double().sum() / self.n

    @torch.no_grad()
    def value(self, flat: Tensor) -> Tensor:
        """Return the loss at ``flat``, a float64 scalar that is still on the device."""
        return torch.stack(list(self.losses(flat))).sum()

    def gradient(self) -> Tensor:
        """Return the gradient at the origin (P)."""
        total = torch.zeros_like(self.origin)
        flat = self.origin.clone().requires_grad_()
        for loss in self.losses(flat):
            total += torch.autograd.grad(loss, flat)[0]
        return total

    def product(self, vector: Tensor) -> Tensor:
        """Return the Hessian at the origin times ``vector`` (P), by double backward."""
        if self.graph is None or len(self.parts) > 1:
            self.graph = self.differentiable()
        total = torch.zeros_like(self.origin)
        for flat, gradient in self.graph:
            total += torch.autograd.grad(gradient @ vector, flat, retain_graph=True)[0]
        return total

    def differentiable(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Return, for every batch, parameters and the gradient as a function of them: a graph that is kept where there
        is but one batch, and otherwise made anew when its turn comes, because it takes much memory."""

        def graphs() -> Iterator[tuple[Tensor, Tensor]]:
            flat = self.origin.clone().requires_grad_()
            for loss in self.losses(flat):
                yield flat, torch.autograd.grad(loss, flat, create_graph=True)[0]

        return list(graphs()) if len(self.parts) == 1 else graphs()

    def plane(self, first: Tensor, second: Tensor, steps: Tensor) -> Tensor:
        """Return the losses at origin + a·first + b·second for all a (rows) and b (columns) in ``steps``."""
        along = steps.tolist()
        return torch.stack([self.value(self.origin + a * first + b * second) for a in along for b in along]).unflatten(
            0, (len(along), len(along))
        )

    def filters(self, vector: Tensor) -> Tensor:
        """Return ``vector`` with each filter or row of a weight scaled to the norm of the network's own, and zeros for
        biases and the parameters of normalisations: filter normalisation (Li et al., NeurIPS 2018, arXiv
        1712.09913)."""
        scaled = torch.zeros_like(vector)
        pairs = zip(*(self.parameters(v).values() for v in (vector, self.origin, scaled)), strict=True)
        for given, own, out in pairs:
            if own.ndim > 1:
                norms = [w.flatten(1).norm(dim=1) for w in (own, given)]
                ratio = (norms[0] / norms[1].clamp_min(1e-30)).view(-1, *[1] * (own.ndim - 1))
                out.copy_(given * ratio)
        return scaled


@dataclass(frozen=True)
class Spectrum:
    """The two largest eigenvalues, their unit eigenvectors (P), the norms of Hv - λv, and how many products it took."""

    values: tuple[float, float]
    vectors: tuple[Tensor, Tensor]
    residuals: tuple[float, float]
    products: int


def spectrum(surface: Surface, gradient: Tensor) -> Spectrum:
    """Return the top of the spectrum by SciPy's symmetric Lanczos iteration (ARPACK), largest first and not largest in
    magnitude. Vectors have the signs of :func:`upwards`.

    Raises :class:`RunFailed` when the iteration does not converge or the loss is not finite.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    size, device = len(surface.origin), surface.origin.device
    products = 0

    def product(
        vector: "np.ndarray[tuple[int], np.dtype[np.float32]]",
    ) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        nonlocal products
        products += 1
        moved = surface.product(torch.from_numpy(vector.ravel().astype(np.float32)).to(device)).cpu().numpy()
        if not np.isfinite(moved).all():
            raise RunFailed("landscape: the Hessian of the loss is not finite: the network has diverged")
        return moved

    start = stream("landscape-v1", "start").standard_normal(size).astype(np.float32)
    if not product(start).any():  # what SciPy says of a Hessian of zeros depends on its version
        raise RunFailed("landscape: no eigenvectors of the Hessian were found: it is zero")
    operator = LinearOperator((size, size), matvec=product, dtype=np.float32)
    try:
        values, vectors = eigsh(operator, k=2, which="LA", v0=start, tol=TOLERANCE, maxiter=100)
    except ArpackError as err:
        raise RunFailed(f"landscape: no eigenvectors of the Hessian were found: {err}") from None
    top = [torch.from_numpy(vectors[:, i].copy()).to(device) for i in np.argsort(-values)]
    top = [v / v.norm() for v in top]
    eigenvalues = sorted(map(float, values), reverse=True)
    residuals = [float((surface.product(v) - value * v).norm()) for v, value in zip(top, eigenvalues, strict=True)]
    first, second = (upwards(v, gradient) for v in top)
    return Spectrum((eigenvalues[0], eigenvalues[1]), (first, second), (residuals[0], residuals[1]), products)


def upwards(vector: Tensor, gradient: Tensor) -> Tensor:
    """Return ±``vector``, so that the component of ``gradient`` along it is not negative; where that is 0, the first
    number other than 0."""
    slope = float(gradient @ vector)
    sign = slope if slope else float(vector[vector.nonzero()[0, 0]])
    return -vector if sign < 0 else vector


def trace(surface: Surface, probes: int) -> tuple[float, float]:
    """Return the trace of the Hessian and its standard error by Hutchinson's estimator, on ``probes`` random signs."""
    samples_on_device = []
    for probe in range(probes):
        signs = stream("landscape-v1", "trace", probe).integers(0, 2, len(surface.origin), np.int8)
        vector = to_device(torch.from_numpy(signs * 2.0 - 1.0).float(), surface.origin.device)
        samples_on_device.append((vector @ surface.product(vector)).double())
    samples = torch.stack(samples_on_device).cpu()
    return float(samples.mean()), float(samples.std() / probes**0.5)


def random_direction(surface: Surface, number: int) -> Tensor:
    """Return a filter-normalised random direction (P), fixed by ``number``."""
    drawn = stream("landscape-v1", "direction", number).standard_normal(len(surface.origin))
    return surface.filters(to_device(torch.from_numpy(drawn).float(), surface.origin.device))
