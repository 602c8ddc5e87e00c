"""Minimisers of grid energies against enumeration, against each other, and against gco where it is installed."""

import importlib
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

grid = importlib.import_module("catchup_bench.methods._grid")

Problem = tuple[Tensor, Tensor, Tensor, Tensor]


def convex(labels: int) -> Tensor:
    level = torch.linspace(0, 1, labels)
    return (level[:, None] - level).square()[None]


def problem(batch: int, n: int, labels: int, seed: int, distance: Tensor | None = None) -> Problem:
    gen = torch.Generator().manual_seed(seed)
    if distance is None:
        distance = torch.rand(batch, labels, labels, generator=gen)
        distance = (distance + distance.mT) * (1 - torch.eye(labels))
    unary = torch.randn(batch, n, n, labels, generator=gen)
    return unary, distance, torch.rand(batch, n - 1, n, generator=gen), torch.rand(batch, n, n - 1, generator=gen)


def slow_energy(labels: Any, unary: Any, distance: Any, down: Any, across: Any) -> float:
    """One sample's energy, edge by edge, in float64."""
    n = len(labels)
    total = 0.0
    for r, c in product(range(n), range(n)):
        total += float(unary[r, c, labels[r, c]])
        if r + 1 < n:
            total += float(down[r, c] * distance[labels[r, c], labels[r + 1, c]])
        if c + 1 < n:
            total += float(across[r, c] * distance[labels[r, c], labels[r, c + 1]])
    return total


def least_energy(parts: Problem) -> Tensor:
    """By enumeration of all labellings."""
    n, labels = parts[0].shape[1], parts[0].shape[3]
    every = torch.tensor(list(product(range(labels), repeat=n * n))).view(-1, n, n)
    unary, distance, down, across = parts
    distance = distance.expand(len(unary), -1, -1)
    samples = zip(unary, distance, down, across, strict=True)
    return torch.stack([grid.energy(every, *(t.expand(len(every), *t.shape) for t in one)).min() for one in samples])


def test_energy_is_the_sum_over_sites_and_edges() -> None:
    parts = problem(3, 4, 5, 0)
    labels = torch.randint(5, (3, 4, 4), generator=torch.Generator().manual_seed(1))
    expected = [slow_energy(labels[i].numpy(), *(t[i].numpy() for t in parts)) for i in range(3)]
    assert torch.allclose(grid.energy(labels, *parts), torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n", "labels"), [(2, 2), (2, 3), (2, 6), (3, 2), (3, 3)])
def test_minimum_is_that_of_enumeration(n: int, labels: int) -> None:
    parts = problem(12, n, labels, n + labels)
    assert torch.allclose(grid.energy(grid.minimise(*parts), *parts), least_energy(parts), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("n", "labels"), [(2, 3), (3, 3), (3, 2)])
def test_dual_ascent_is_exact_for_convex_distances(n: int, labels: int) -> None:
    parts = problem(12, n, labels, 5, convex(labels))
    found, bound = grid.dual_ascent(*parts, 60)
    least = least_energy(parts)
    assert torch.allclose(grid.energy(found, *parts), least, atol=1e-6, rtol=0)
    assert torch.allclose(bound, least, atol=1e-5, rtol=0)


def test_dual_ascent_gives_the_labels_of_the_exact_minimiser() -> None:
    unary, distance, down, across = problem(4, 8, 3, 7, convex(3))
    parts = (unary / 3, distance, down, across)
    exact = grid.frontier(*parts, torch.empty(64, 4, 3**8))
    assert torch.equal(grid.dual_ascent(*parts, 60)[0], exact)


@given(st.integers(2, 6), st.integers(2, 4), st.integers(0, 1000))
def test_no_single_change_lowers_the_minimum_and_the_bound_stays_below(n: int, labels: int, seed: int) -> None:
    parts = problem(2, n, labels, seed)
    found = grid.minimise(*parts)
    value = grid.energy(found, *parts)
    for r, c in product(range(n), range(n)):
        other = found.clone()
        other[:, r, c] = (other[:, r, c] + 1) % labels
        assert (grid.energy(other, *parts) >= value - 1e-5).all()
    assert (grid.dual_ascent(*parts, 20)[1] <= value + 1e-4).all()


def test_samples_do_not_depend_on_their_batch() -> None:
    parts = problem(30, 4, 8, 3)
    together = grid.minimise(*parts)
    assert torch.equal(together[17:18], grid.minimise(*(t[17:18] for t in parts)))


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_never_above_the_swap_moves_of_gco(n: int) -> None:
    gco = pytest.importorskip("gco", reason="gco-wrapper, which is for research use only, is not installed")
    unary, distance, down, across = problem(20, n, 3, n, convex(3))
    parts = (unary / 3, distance, down, across)
    ours = grid.energy(grid.minimise(*parts, convex=True), *parts)
    for i in range(20):
        arrays = [np.ascontiguousarray(t[i].numpy()) for t in (parts[0], down, across)]
        labels = gco.cut_grid_graph(arrays[0], distance[0].numpy(), arrays[1], arrays[2], algorithm="swap")
        theirs = slow_energy(labels.reshape(n, n), parts[0][i], distance[0], down[i], across[i])
        assert float(ours[i]) <= theirs + 1e-3 * abs(theirs) * (n == 16) + 1e-4
