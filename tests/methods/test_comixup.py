"""Co-Mixup against a plain reference: one partition at a time, every output's labels found by enumeration."""

import importlib
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catchup_bench import registry
from catchup_bench.verification.method import make_batch, make_net

comixup = importlib.import_module("catchup_bench.methods.comixup")

labelling = importlib.import_module("catchup_bench.methods._labelling")

grid = importlib.import_module("catchup_bench.methods._grid")

Array = npt.NDArray[np.float64]

Label = tuple[int, ...]


def make(**options: Any) -> Any:
    return registry.method_class("comixup")(**options)


def some_saliency(count: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed)).exp()


def distance(one: Label, other: Label) -> float:
    if one == other:
        return 0.0
    return 0.25 if len(one) != len(other) and set(one) & set(other) else 1.0


def count_cells(labels: list[Label], m: int) -> Array:
    counts = np.zeros(m)
    for label in labels:
        counts[list(label)] += 1 / len(label)
    return counts


def slow_solve(cost: Array, used: Array, smooth: float, soft: bool) -> list[Label]:
    """The best labelling (n² labels) of one output by enumeration; ``cost`` m×N."""
    m, cells = cost.shape
    n = round(cells**0.5)
    offered: list[Label] = [(j,) for j in range(m)]
    top = sorted(range(m), key=lambda j: (-used[j], j))[: min(3, (used > 0).sum())]
    if soft and len(top) > 1:
        offered += list(combinations(top, 2))
    unary = np.array([cost[list(label)].mean(0) - 5e-4 * (len(label) - 1) for label in offered])
    between = np.array([[distance(a, b) for b in offered] for a in offered])
    every = np.array(list(product(range(len(offered)), repeat=cells)))
    energy = sum((unary[every[:, s], s] for s in range(cells)), np.zeros(len(every)))
    for s in range(cells):
        energy += smooth * between[every[:, s], every[:, s + 1]] if (s + 1) % n else 0
        energy += smooth * between[every[:, s], every[:, s + n]] if s + n < cells else 0
    return [offered[k] for k in every[energy.argmin()]]


def slow_penalty(affinity: Array, others: Array, crowd: float, limit: float) -> Array:
    m, penalty = len(others), np.zeros(len(others))
    for j, k in product(range(m), range(m)):
        if affinity[k] @ others > limit:
            penalty[j] += 2 * crowd * affinity[j, k] * others[k]
    return penalty


def slow_objective(labels: list[list[Label]], cost: Array, smooth: float, crowd: float) -> float:
    m, cells = cost.shape
    n = round(cells**0.5)
    total = 0.0
    soft = np.array([[[(j in label) / len(label) for j in range(m)] for label in output] for output in labels])
    for output, s in product(soft, range(cells)):
        total += output[s] @ cost[:, s]
        total += smooth / 2 * ((output[s] - output[s + 1]) ** 2).sum() if (s + 1) % n else 0
        total += smooth / 2 * ((output[s] - output[s + n]) ** 2).sum() if s + n < cells else 0
    counts = soft.sum(1)
    return float(total + crowd * ((counts.sum(0) ** 2).sum() - (counts**2).sum()))


def slow_repeats(labels: list[list[Label]], m: int) -> Array:
    marks = np.zeros((len(labels), m))
    shown = [sorted({j for label in output for j in label}) for output in labels]
    for i, k in combinations(range(len(labels)), 2):
        if shown[i] == shown[k] and len(shown[i]) > 1:
            marks[i, shown[i][0]] = marks[k, shown[k][1]] = 1
    return marks


def slow_label(problem: Any, p: int, start: Array) -> list[list[Label]]:
    cost, affinity = (t[p].double().numpy() for t in (problem.cost, problem.affinity))
    m = len(cost)
    labels: list[list[Label]] = [[(int(j),) for j in output] for output in start]
    marks, before = np.zeros((m, m)), slow_objective(labels, cost, problem.smooth, problem.crowd)
    for turn in range(problem.rounds):
        for i in range(m):
            others = sum((count_cells(labels[k], m) for k in range(m) if k != i), np.zeros(m))
            extra = slow_penalty(affinity, others, problem.crowd, problem.limit) + problem.crowd * marks[i]
            labels[i] = slow_solve(cost + extra[:, None], count_cells(labels[i], m), problem.smooth, turn > 0)
        if turn == problem.rounds - 2:
            marks = slow_repeats(labels, m)
        after = slow_objective(labels, cost, problem.smooth, problem.crowd)
        if abs((before - after) / after) < 1e-6:
            break
        before = after
    return labels


def slow_compose(x: Array, labels: list[list[Label]], n: int) -> tuple[Array, Array]:
    size = x.shape[-1] // n
    images = np.zeros((len(labels), *x.shape[1:]))
    weights = np.zeros((len(labels), len(x)))
    for i, output in enumerate(labels):
        for s, label in enumerate(output):
            area = np.s_[:, s // n * size : (s // n + 1) * size, s % n * size : (s % n + 1) * size]
            images[i][area] = np.mean([x[j][area] for j in label], 0)
            weights[i, list(label)] += 1 / len(label) / n**2
    return images, weights


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("m", "beta", "tau"), [(4, 0.32, 0.83), (5, 0.05, 0.3), (2, 0.1, 0.1), (1, 0.32, 0.83)])
def test_mixed_partition_is_that_of_the_formulas(m: int, beta: float, tau: float, seed: int) -> None:
    method = make(beta=beta, tau=tau, omega=0.05)
    gen = torch.Generator().manual_seed(seed)
    share = comixup.shares(some_saliency(2 * m, seed=seed), 2).view(2, m, 2, 2)
    apart = torch.stack([comixup.peak_distances(some_saliency(m, seed=seed + k)) for k in range(2)])
    problem = method.partition(share, apart, gen)
    start = torch.randint(m, (2, m, 4), generator=gen)
    found = labelling.label(problem, start)
    x = torch.rand(m, 3, 8, 8, generator=gen)
    for p in range(2):
        labels = slow_label(problem, p, start[p].numpy())
        assert [[tuple(sorted(set(c))) for c in output] for output in found[p].tolist()] == labels
        images, weights = slow_compose(x.double().numpy(), labels, 2)
        mixed, target = comixup.compose(x, torch.eye(m), found[p], 2)
        assert np.abs(mixed.numpy() - images).max() < 1e-6
        assert np.abs(target.numpy() - weights).max() < 1e-6


def test_partition_holds_the_terms_of_the_paper() -> None:
    method, share = make(omega=0.1), comixup.shares(some_saliency(3), 4)[None]
    apart = comixup.peak_distances(some_saliency(3))[None]
    problem = method.partition(share, apart, torch.Generator().manual_seed(3))
    draw = comixup.dirichlet(2.0, 1, 3, torch.Generator().manual_seed(3))[0]
    assert torch.allclose(draw.sum(), torch.ones((), dtype=torch.float64))
    for j, s in product(range(3), range(16)):
        expected = -float(share.flatten(2)[0, j, s]) - 0.05 / 16 * float((draw[j] + 1e-8).log())
        assert abs(float(problem.cost[0, j, s]) - expected) < 1e-6
    for j, k in product(range(3), range(3)):
        expected = 0.9 * (j == k) + 0.1 * 3 * float(apart[0, j, k] / apart.sum())
        assert abs(float(problem.affinity[0, j, k]) - expected) < 1e-6
    assert (problem.smooth, problem.crowd) == (0.32 / 16, 1 / 16)


def test_peaks_are_those_of_windows_of_eight() -> None:
    saliency = torch.zeros(3, 16, 16)
    saliency[0, 0, 0] = saliency[1, 15, 15] = saliency[2, 0, 15] = 1
    assert comixup.peak_distances(saliency).tolist() == [[0, 16, 8], [16, 0, 8], [8, 8, 0]]


@given(st.integers(0, 500), st.booleans())
def test_keeping_the_best_labels_loses_nothing_that_matters(seed: int, soft: bool) -> None:
    gen = torch.Generator().manual_seed(seed)
    share = comixup.shares(some_saliency(10, seed=seed), 4)[None]
    base = make().partition(share, torch.ones(1, 10, 10), gen)
    used = torch.randint(0, 6, (1, 10), generator=gen).float()
    cost = base.cost + (torch.rand(1, 10, 1, generator=gen) > 0.5)
    values = []
    for kept in (6, 9, 13):
        problem = labelling.Partition(**{**vars(base), "kept": kept})
        values.append(value(labelling.solve(problem, cost, used, soft)[0].tolist(), cost[0].double().numpy(), 0.02))
    assert values[2] <= values[1] + 1e-6 <= values[0] + 2e-6
    if not soft and int((labelling.promising(cost, base.borders) <= 0).sum()) <= 9:
        assert abs(values[1] - values[2]) < 1e-5


def value(sources: list[list[int]], cost: Array, smooth: float) -> float:
    labels = [tuple(sorted(set(c))) for c in sources]
    n = round(len(labels) ** 0.5)
    total = sum(cost[list(label), s].mean() - 5e-4 * (len(label) - 1) for s, label in enumerate(labels))
    for s, label in enumerate(labels):
        total += smooth * distance(label, labels[s + 1]) if (s + 1) % n else 0
        total += smooth * distance(label, labels[s + n]) if s + n < len(labels) else 0
    return float(total)


def test_partitions_are_not_crossed_and_the_last_may_be_short() -> None:
    _, target = make(part=4).mix(*batch(11), 4, torch.Generator().manual_seed(0))
    for begin, end in ((0, 4), (4, 8), (8, 11)):
        assert torch.allclose(target[begin:end, begin:end].sum(1), torch.ones(end - begin))
    assert [t.shape for t in comixup.partitions(11, 4, target.device)] == [(2, 4), (1, 3)]
    assert [t.shape for t in comixup.partitions(3, 4, target.device)] == [(1, 3)]


@pytest.mark.parametrize("counts", [(5, 3), (5, 1), (4, 2), (2, 6)])
@pytest.mark.parametrize("seed", range(4))
def test_partitions_of_other_sizes_are_solved_together_as_apart(counts: tuple[int, int], seed: int) -> None:
    problems, starts = [], []
    for groups, m in zip((2, 1), counts, strict=True):
        gen = torch.Generator().manual_seed(seed)
        share = comixup.shares(some_saliency(groups * m, seed=seed + m), 2).view(groups, m, 2, 2)
        apart = torch.stack([comixup.peak_distances(some_saliency(m, seed=seed + k)) for k in range(groups)])
        problems.append(make(tau=0.3, omega=0.05).partition(share, apart, gen))
        starts.append(torch.randint(m, (groups, m, 4), generator=gen))
    together = labelling.label_all(problems, starts)
    for problem, start, found in zip(problems, starts, together, strict=True):
        assert torch.equal(found, labelling.label(problem, start))


def test_outputs_are_alike_where_neither_crowding_nor_smoothness_counts() -> None:
    saliency = some_saliency(6)
    sources = []
    for output in range(6):
        method = make(gamma=0, beta=0, eta=0, niter=1, part=6)
        problem = method.partition(comixup.shares(saliency, 4)[None], torch.ones(1, 6, 6), torch.Generator())
        sources.append(labelling.label(problem, torch.full((1, 6, 16), output))[0])
    best = comixup.shares(saliency, 4).flatten(1).argmax(0)
    assert all(torch.equal(s, best[None, :, None].expand(6, 16, 2)) for s in sources)


def test_heavy_crowding_uses_all_images_alike() -> None:
    _, even = make(gamma=100.0, tau=0.0).mix(*batch(20), 4, torch.Generator().manual_seed(0))
    _, free = make(gamma=0.0).mix(*batch(20), 4, torch.Generator().manual_seed(0))
    assert (even.sum(0) - 1).abs().max() < 0.2 < (free.sum(0) - 1).abs().max()


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    return x, torch.eye(count), some_saliency(count)


@settings(max_examples=15)
@given(st.sampled_from([1, 2, 3, 19, 20, 23]), st.sampled_from([2, 4]), st.integers(0, 50))
def test_pixels_and_targets_come_from_the_same_images(count: int, n: int, seed: int) -> None:
    x = torch.arange(count).float()[:, None, None, None].expand(-1, 3, 16, 16) / count
    mixed, target = make().mix(
        x, torch.eye(count), some_saliency(count, seed=seed), n, torch.Generator().manual_seed(seed)
    )
    assert torch.allclose(target.sum(1), torch.ones(count))
    assert torch.allclose(mixed.mean((1, 2, 3)), target @ torch.arange(count).float() / count, atol=1e-5)


def test_finer_grids_are_solved_too() -> None:
    _, target = make(blocks=8, part=3, niter=2).mix(*batch(3), 8, torch.Generator().manual_seed(0))
    assert torch.allclose(target.sum(1), torch.ones(3))


def test_format_and_dtype_are_kept() -> None:
    x, target, saliency = batch(5)
    half = x.bfloat16().contiguous(memory_format=torch.channels_last)
    mixed, soft = make().mix(half, target, saliency, 4, torch.Generator().manual_seed(0))
    plain, same = make().mix(half.float().contiguous(), target, saliency, 4, torch.Generator().manual_seed(0))
    assert mixed.dtype == torch.bfloat16 and mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(soft, same) and torch.equal(mixed, plain.bfloat16())


def test_batchnorm_sees_the_clean_and_the_mixed_batch() -> None:
    for clean, passes in ((1.0, 2), (0.0, 1)):
        net, (x, y) = make_net(), make_batch(6)
        make(clean_lam=clean).loss(net, x, y, 4, torch.Generator().manual_seed(0)).backward()
        assert int(net.stages[1][0].bn1.num_batches_tracked) == passes


@pytest.mark.parametrize(("field", "bad"), [("part", 0), ("alpha", 0.0), ("omega", 2.0), ("niter", 0), ("labels", 2)])
def test_fields_are_checked(field: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=field):
        make(**{field: bad})
