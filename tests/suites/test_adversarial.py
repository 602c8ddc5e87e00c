"""Attacks against torchattacks and plain loops, and the checks that tell a weak attack from a robust network."""

import importlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from catchup_bench.cli import tables
from catchup_bench.data import Images
from catchup_bench.data.batches import to_unit
from catchup_bench.evaluation.evaluate import evaluation_mode
from catchup_bench.leaderboard.markdown import board_page, excerpt
from catchup_bench.plugins import complete_options
from catchup_bench.records.attack_checks import LEGEND, suspicions
from catchup_bench.records.record import Outcome, as_json
from catchup_bench.report.summary import summarise
from catchup_bench.seeds import stream
from catchup_bench.suites import ConditionResult, Context, Suite, _gradient_masking, suite_class
from tests.boards.test_board import make, root  # noqa: F401
from tests.conftest import Cli
from tests.support.stored_records import written_out

fgsm = suite_class("fgsm")

pgd = suite_class("pgd")

autoattack = suite_class("autoattack")

fgsm_module, pgd_module = (importlib.import_module(f"catchup_bench.suites.{name}") for name in ("fgsm", "pgd"))


def some_images(n: int = 40, classes: int = 10) -> Images:
    gen = torch.Generator().manual_seed(1)
    x = torch.randint(100, 150, (n, 16, 16, 3), generator=gen, dtype=torch.uint8)  # little contrast: easy to attack
    x[:, :4, :4], x[:, 4:8, :4] = 0, 255  # so that clipping matters
    return Images(x, torch.arange(n) % classes, torch.arange(n))


def context(net: nn.Module, images: Images | None = None, batch_size: int = 16) -> Context:
    return Context(
        net=net,
        images=images or some_images(),
        dataset="some",
        mean=(0.1, 0.2, 0.3),
        device=torch.device("cpu"),
        batch_size=batch_size,
        data_dir=Path("nowhere"),
    )


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A small network fitted to the images, so that there is something to attack; channels_last, as real ones are."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = (nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, 10)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, parameters = some_images(), list(net.parameters())
    for _ in range(60):
        grads = torch.autograd.grad(F.cross_entropy(net(to_unit(images.x)), images.y), parameters)
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.data -= 0.05 * grad
    return net.eval()


def run(suite: Suite, where: Context) -> dict[str, ConditionResult]:
    with evaluation_mode(where.net):
        return dict(suite.run(where, suite.conditions()))  # type: ignore[arg-type]


def outcomes(suite: Suite, where: Context, name: str) -> dict[str, Outcome]:
    return {
        c: Outcome.of(f.bits.numpy(), name, as_json(suite.protocol(c)), f.values) for c, f in run(suite, where).items()
    }


def scaled(net: nn.Module, factor: float) -> nn.Module:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return factor * self.inner(x)

    return Scaled().eval()


def test_many_eps_from_one_gradient_equal_torchattacks_bit_for_bit(net: nn.Module) -> None:
    from torchattacks import FGSM

    x, y = to_unit(some_images().x), some_images().y
    with evaluation_mode(net):
        sign = fgsm_module.gradient_sign(context(net))(x, y, torch.arange(40))
        for eps in (0.0, 0.5, 1, 2, 4, 8, 16, 255):
            theirs = FGSM(net, eps=eps / 255)(x, y)
            assert torch.equal((x + eps / 255 * sign).clamp(0, 1), theirs), eps


def test_fgsm_outcomes_equal_a_loop_over_torchattacks(net: nn.Module) -> None:
    from torchattacks import FGSM

    suite = fgsm(eps=(0.0, 1.0, 4.0, 16.0))
    found = run(suite, context(net, batch_size=40))
    x, y = to_unit(some_images().x), some_images().y
    with evaluation_mode(net):
        for eps in suite.eps:
            logits = net(FGSM(net, eps=eps / 255)(x, y))
            assert torch.equal(found[f"fgsm-{eps:g}"].bits, logits.argmax(1) == y)
            assert found[f"fgsm-{eps:g}"].values["loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert 0 < found["fgsm-1"].bits.sum() < 40


@pytest.mark.parametrize("classes", [2, 10])
def test_loss_of_a_linear_model_grows_by_eps_times_the_l1_norm(classes: int) -> None:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(768, 2, bias=False)).eval()
    images = replace(some_images(classes=2), x=torch.full((40, 16, 16, 3), 128, dtype=torch.uint8))
    up = _gradient_masking.margin_sign(linear)
    x, y = to_unit(images.x), images.y
    margin = [m[range(40), 1 - y] - m[range(40), y] for m in (linear(x), linear(x + 4 / 255 * up(x, y, y)))]
    norm = (linear[1].weight[0] - linear[1].weight[1]).abs().sum()  # type: ignore[union-attr,operator]
    assert torch.allclose(margin[1] - margin[0], 4 / 255 * norm.expand(40), atol=1e-5)
    a = run(fgsm(eps=(4.0,)), context(linear, images))["fgsm-4"].bits
    assert torch.equal(a, linear(x + 4 / 255 * up(x, y, y)).argmax(1) == y)


def test_an_honest_network_is_not_suspicious(net: nn.Module) -> None:
    found = outcomes(fgsm(eps=(1.0, 2.0)), context(net), "fgsm") | outcomes(pgd(eps=(1.0, 2.0)), context(net), "pgd")
    assert suspicions(found) == {}
    assert all(o.values["zero_gradients"] == 0 for o in found.values() if o.suite == "fgsm")


def test_confidence_that_hides_the_gradient_is_found(net: nn.Module) -> None:
    found = run(fgsm(eps=(4.0,)), context(scaled(net, 1e4)))["fgsm-4"]
    honest = run(fgsm(eps=(4.0,)), context(net))["fgsm-4"]
    assert found.values["zero_gradients"] > 20
    assert "gradients are zero" in found.values["suspicious"][0]
    assert found.values["margin_error"] > 100 * (1 - found.bits.double().mean())
    assert "margin_error" not in honest.values and "suspicious" not in honest.values


def test_zero_gradients_are_counted_exactly(net: nn.Module) -> None:
    x, y = to_unit(some_images().x).requires_grad_(), some_images().y
    bold = scaled(net, 300.0)
    with evaluation_mode(bold):
        (grad,) = torch.autograd.grad(F.cross_entropy(bold(x), y), x)
    expected = int((grad == 0).flatten(1).all(1).sum())
    found = run(fgsm(), context(bold, batch_size=40))["fgsm-4"]
    assert 0 < expected < 40 and found.values["zero_gradients"] == expected


def test_a_gradient_that_points_the_wrong_way_is_found(net: nn.Module) -> None:
    class Misleads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return -grads[0]

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(Misleads.apply(x))

    found = run(fgsm(), context(Masked().eval()))["fgsm-4"]
    assert found.values["suspicious"][0].startswith("random signs are no weaker")


def test_noise_belongs_to_the_image() -> None:
    x = torch.zeros(3, 3, 4, 4)
    whole = _gradient_masking.uniform(x, torch.tensor([5, 900, 7]), "key")
    assert torch.equal(_gradient_masking.uniform(x[:1], torch.tensor([900]), "key")[0], whole[1])
    assert not torch.equal(whole[0], whole[1]) and whole.min() >= -1 and whole.max() < 1
    assert abs(_gradient_masking.uniform(torch.zeros(1, 3, 64, 64), torch.tensor([0]), "key").mean()) < 0.02


def plain_pgd(net: nn.Module, eps: float, step: float, steps: int, restart: int = 0) -> Tensor:
    x, y = to_unit(some_images().x), some_images().y
    start = [stream("pgd-v1", "some", 0, restart, i).random((3, 16, 16), np.float32) * 2 - 1 for i in range(40)]
    z = (x + eps * torch.from_numpy(np.stack(start))).clamp(0, 1)
    for _ in range(steps):
        z.requires_grad_(True)
        (grad,) = torch.autograd.grad(F.cross_entropy(net(z), y), z)
        z = (x + (z.detach() + step * grad.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return z


@pytest.mark.parametrize("steps", [1, 5])
def test_pgd_is_the_plain_loop_from_the_images_own_start(net: nn.Module, steps: int) -> None:
    seen: list[Tensor] = []
    handle = net.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    found = run(pgd(steps=steps), context(net, batch_size=40))[f"pgd-4-s{steps}"]
    handle.remove()
    with evaluation_mode(net):
        expected = plain_pgd(net, 4 / 255, 1 / 255, steps)
        assert torch.equal(seen[-1], expected)
        assert torch.equal(found.bits, net(expected).argmax(1) == some_images().y)
    x = to_unit(some_images().x)
    assert all((z - x).abs().max() <= 4 / 255 + 1e-6 and z.min() >= 0 and z.max() <= 1 for z in seen)
    assert (seen[0] - x).abs().max() > 3.9 / 255  # the start fills the ball


def test_pgd_of_one_step_without_noise_is_fgsm(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgd_module, "uniform", lambda x, index, *key: torch.zeros_like(x))
    ours = run(pgd(eps=(4.0,), step=4.0, steps=1), context(net))["pgd-4-step4-s1"]
    theirs = run(fgsm(), context(net))["fgsm-4"]
    assert torch.equal(ours.bits, theirs.bits) and ours.values["loss"] == pytest.approx(theirs.values["loss"], rel=1e-5)


def test_pgd_leaves_the_global_generator_alone(net: nn.Module) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run(pgd(steps=1), context(net))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_is_right_only_after_every_restart(net: nn.Module) -> None:
    found = run(pgd(eps=(16.0,), step=0.1, steps=1, restarts=4), context(net))["pgd-16-step0.1-s1-r4"]
    with evaluation_mode(net):
        each = [net(plain_pgd(net, 16 / 255, 0.1 / 255, 1, r)).argmax(1) == some_images().y for r in range(4)]
    assert torch.equal(found.bits, torch.stack(each).all(0)) and not torch.equal(found.bits, torch.stack(each).any(0))


def test_restarts_and_eps_make_it_no_weaker(net: nn.Module) -> None:
    one = run(pgd(eps=(0.0, 1.0, 2.0), steps=4), context(net))
    three = run(pgd(eps=(1.0,), steps=4, restarts=3), context(net))["pgd-1-s4-r3"]
    assert not (three.bits & ~one["pgd-1-s4"].bits).any()
    assert three.values["loss"] >= one["pgd-1-s4"].values["loss"]
    right = [int(one[f"pgd-{e}-s4"].bits.sum()) for e in (0, 1, 2)]
    assert right == sorted(right, reverse=True) and right[0] > right[2]


def test_a_part_of_the_images_is_balanced_and_says_which(net: nn.Module) -> None:
    whole = run(pgd(steps=2), context(net))["pgd-4-s2"]
    part = run(pgd(steps=2, images=20), context(net))["pgd-4-s2-n20"]
    index = part.values["index"]
    assert (torch.tensor(index) % 10).bincount().tolist() == [2] * 10
    assert torch.equal(part.bits, whole.bits[index])


def quick(monkeypatch: pytest.MonkeyPatch, queries: int = 20, steps: int = 8) -> None:
    """AutoAttack with fewer iterations: what is tested is how it is called."""
    import pyautoattack

    class Quick(pyautoattack.AutoAttack):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.square.n_queries = queries
            self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = steps

    monkeypatch.setattr(pyautoattack, "AutoAttack", Quick)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_autoattack_equals_the_library_and_no_batch_size(
    net: nn.Module, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    import pyautoattack

    suite = autoattack(norm=norm, eps=1.0 if norm == "Linf" else 0.05, images=0)
    ((name, found),) = run(suite, context(net, batch_size=7)).items()
    assert torch.equal(run(suite, context(net, batch_size=40))[name].bits, found.bits)
    x, y = to_unit(some_images().x).contiguous(), some_images().y
    eps = 1 / 255 if norm == "Linf" else 0.05
    with evaluation_mode(net):
        adversarial, _ = pyautoattack.AutoAttack(net, norm=norm, eps=eps, seed=0).run_standard_evaluation(x, y)
        assert torch.equal(net(adversarial).argmax(1) == y, found.bits)
    assert 0 < found.bits.sum() < 40 and found.values["attacks"] == ["apgd-ce", "apgd-t", "fab-t", "square"]


@pytest.mark.parametrize(("classes", "targets", "attacks"), [(2, 1, 3), (3, 2, 3), (5, 4, 4)])
def test_autoattack_with_few_classes(classes: int, targets: int, attacks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    torch.manual_seed(0)
    few = nn.Sequential(nn.Flatten(), nn.Linear(768, classes)).eval()
    found = run(autoattack(eps=0.125, images=0), context(few, some_images(30, classes)))["autoattack-linf-0.125"]
    assert found.values["target_classes"] == targets and len(found.values["attacks"]) == attacks
    assert not any("target" in note for note in found.values.get("warnings", []))


def test_autoattack_is_no_weaker_than_pgd_and_restores_the_generator(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, queries=5)
    before = torch.get_rng_state()
    found = run(autoattack(eps=2.0), context(net))["autoattack-linf-2-n1000"]
    assert torch.equal(torch.get_rng_state(), before) and len(found.bits) == 40 and "index" not in found.values
    assert found.bits.sum() <= run(pgd(eps=(2.0,)), context(net))["pgd-2"].bits.sum()


def test_autoattack_takes_the_same_part_of_the_images_as_pgd(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, queries=2, steps=2)
    found = run(autoattack(eps=0.0, images=20), context(net))["autoattack-linf-0-n20"]
    other = run(pgd(eps=(0.0,), steps=1, images=20), context(net))["pgd-0-s1-n20"]
    assert found.values["index"] == other.values["index"] and torch.equal(found.bits, other.bits)


def test_a_network_that_gives_probabilities_is_flagged(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, queries=2, steps=2)
    found = run(autoattack(images=0), context(nn.Sequential(net, nn.Softmax(1)).eval()))["autoattack-linf-4"]
    assert any("probability distribution" in note for note in found.values["suspicious"])
    assert logging.getLogger("auto-attack").handlers == []


def outcome(suite: str, wrong: range, eps: float = 4.0, index: list[int] | None = None, **values: Any) -> Outcome:
    n = len(index) if index else 100
    bits = ~np.isin(np.array(index or range(100)), list(wrong))
    protocol = {"version": 1} | ({} if suite == "clean" else {"eps": eps})
    return Outcome.of(bits[:n], suite, protocol, values | ({"index": index} if index else {}))


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ({"fgsm-4": outcome("fgsm", range(50)), "pgd-4": outcome("pgd", range(60))}, []),
        ({"fgsm-4": outcome("fgsm", range(60)), "pgd-4": outcome("pgd", range(50))}, ["pgd-4"]),
        ({"pgd-4": outcome("pgd", range(60)), "aa": outcome("autoattack", range(50))}, ["aa"]),
        ({"pgd-4": outcome("pgd", range(60)), "aa": outcome("autoattack", range(50), eps=2.0)}, []),
        ({"clean": outcome("clean", range(9)), "fgsm-4": outcome("fgsm", range(3))}, ["fgsm-4"]),
        ({"fgsm-4": outcome("fgsm", range(50)), "fgsm-8": outcome("fgsm", range(40), eps=8.0)}, ["fgsm-8"]),
        ({"a": outcome("fgsm", range(9), loss=2.0), "b": outcome("fgsm", range(9), eps=8.0, loss=1.0)}, ["b"]),
        ({"a": outcome("fgsm", range(9), loss=2.0), "b": outcome("fgsm", range(9), eps=8.0, loss=2.0)}, []),
        ({"a": outcome("fgsm", range(9), suspicious=["why"])}, ["a"]),
        # on the images that both have, the second attack finds all that the first does
        ({"a": outcome("fgsm", range(50)), "b": outcome("pgd", range(50), index=list(range(40, 70)))}, []),
        ({"a": outcome("fgsm", range(50)), "b": outcome("pgd", range(40), index=list(range(30, 70)))}, ["b"]),
    ],
)
def test_suspicions_follow_from_the_outcomes(found: dict[str, Outcome], names: list[str]) -> None:
    assert sorted(suspicions(found)) == names


@given(st.permutations(range(4)), st.integers(0, 40))
def test_a_ladder_of_attacks_is_suspicious_only_out_of_order(order: list[int], first: int) -> None:
    suites = ("clean", "fgsm", "pgd", "autoattack")
    found = {name: outcome(name, range(first + 10 * place)) for name, place in zip(suites, order, strict=True)}
    expected = {suites[i] for i in range(4) if any(order[j] > order[i] for j in range(i))}
    assert set(suspicions(found)) == expected


def test_the_terminal_marks_a_suspicious_number_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"fgsm-4": outcome("fgsm", range(50), suspicious=["because"])}
    rows = summarise(found, {"fgsm": fgsm()})
    assert rows["fgsm-4"].startswith("50.00 [") and rows["fgsm-4"].endswith("] !") and rows["! fgsm-4"] == "because"
    honest = summarise({"fgsm-4": outcome("fgsm", range(50))}, {"fgsm": fgsm()})
    assert not any("!" in name + text for name, text in honest.items())


def test_the_page_marks_the_column_and_explains_it_once(
    root: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert LEGEND not in board_page("tiny", make(root))
    for path in root.rglob("seed?.json"):
        record = written_out(path)
        record["outcomes"]["zoom-60"].setdefault("values", {})["suspicious"] = ["because"]
        path.write_text(json.dumps(record), encoding="utf-8")
    made = make(root)
    page = board_page("tiny", made)
    assert page.count(LEGEND) == 1 and page.count(" !") == 6  # two of three columns, three rows
    assert made.rows[0].doubts["both"][0] == "zoom-60, seed 0: because" and "clean err" not in made.rows[0].doubts
    assert LEGEND in excerpt("tiny", made)
    tables.print_table(made)
    assert LEGEND in " ".join(capsys.readouterr().out.split())


BAD: list[tuple[Callable[..., Suite], dict[str, Any], str]] = [
    (fgsm, {"eps": (256.0,)}, "eps"),
    (pgd, {"eps": (-1.0,)}, "eps"),
    (pgd, {"eps": ()}, "eps"),
    (pgd, {"step": 0.0}, "step"),
    (pgd, {"step": float("nan")}, "step"),
    (pgd, {"steps": 0}, "steps"),
    (pgd, {"restarts": 0}, "restarts"),
    (pgd, {"images": -1}, "images"),
    (autoattack, {"norm": "L1"}, "norm"),
    (autoattack, {"eps": -1.0}, "eps"),
    (autoattack, {"eps": 256.0}, "eps"),
    (autoattack, {"eps": "four"}, "eps"),
    (autoattack, {"norm": "L2", "eps": float("inf")}, "eps"),
    (autoattack, {"images": -1}, "images"),
]


@pytest.mark.parametrize(("suite", "options", "word"), BAD)
def test_impossible_options_are_refused(suite: Callable[..., Suite], options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"{word} = .* is not allowed"):
        suite(**options)


def test_no_radius_in_pixels_of_0_to_1_is_taken_for_one_in_255ths() -> None:
    for k in range(1, 255):
        for suite in (fgsm, pgd):
            with pytest.raises(ValueError, match=f"so write {k} for {k}/255"):
                suite(eps=(4.0, round(k / 255, 4)))
        with pytest.raises(ValueError, match=f"so write {k} for {k}/255"):
            autoattack(eps=k / 255)


@pytest.mark.parametrize("eps", [0.0, 0.125, 0.25, 0.5, 1.0, 1.5, 4.0])
def test_eighths_are_radii_below_1(eps: float) -> None:
    assert fgsm(eps=(eps,)).eps == pgd(eps=(eps,)).eps == (autoattack(eps=eps).eps,)


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("fgsm.eps=0.0157", "write 4 for 4/255"),
        ("pgd.eps=4,0.031", "write 7.91 for 7.91/255"),
        ("pgd.eps=0.3", "write 76.5 for 76.5/255"),
        ("pgd.step=0.00784", "write 2 for 2/255"),
        ("autoattack.eps=0.0314", "write 8 for 8/255"),
    ],
)
def test_a_radius_in_pixels_of_0_to_1_is_one_line(cli: Cli, setting: str, meant: str, trained_run: Path) -> None:
    result = cli("evaluate", trained_run, "--suite", setting.split(".")[0], "--set", setting)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and meant in result.stderr


def test_l2_radii_are_in_pixels_of_0_to_1() -> None:
    assert autoattack(norm="L2", eps=0.3).radius == 0.3


@pytest.mark.parametrize("count", [800, 3])
def test_too_many_or_too_few_images_are_one_line(cli: Cli, count: int, trained_run: Path) -> None:
    result = cli("evaluate", trained_run, "--suite", "pgd", "--set", f"pgd.images={count}")
    assert result.exit_code == 2 and f"pgd.images = {count}" in result.stderr.splitlines()[-1]


def test_names_tell_protocols_apart_and_options_come_back() -> None:
    ways = [pgd(), pgd(step=2.0), pgd(steps=50), pgd(restarts=10), pgd(images=10), pgd(seed=1)]
    ways += [autoattack(), autoattack(norm="L2"), autoattack(eps=1.0), autoattack(images=0), autoattack(seed=1)]
    assert len({c for way in ways for c in way.conditions()}) == len(ways)
    for way in [*ways, pgd(eps=(1.0, 4.0), step=0.5)]:
        protocols = [as_json(way.protocol(c)) for c in way.conditions()]
        again = type(way)(**complete_options(type(way), None, type(way).options_of(protocols), "x"))
        assert again.conditions() == way.conditions()
        assert [as_json(again.protocol(c)) for c in again.conditions()] == protocols
