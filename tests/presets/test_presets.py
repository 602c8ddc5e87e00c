"""Presets: every one names runs that can be made, and sets a result beside the printed number."""

from pathlib import Path

import pytest

from catchup_bench import presets
from catchup_bench.errors import UsageError
from catchup_bench.presets import MethodPreset, compared, preset_for, reported_accuracy
from catchup_bench.runs.make import make_run

from ..conftest import Cli, as_json

ALL = [
    (name, method, base)
    for name in presets.available()
    for method, own in presets.load(name).methods.items()
    for base in own.base or [""]
]


@pytest.mark.parametrize(("name", "method", "base"), ALL)
def test_every_setting_makes_a_run(name: str, method: str, base: str) -> None:
    preset, of_method = preset_for(name, method, {"base": base} if base else {})
    assert of_method.set.get("base", "") == base and not of_method.base
    run = make_run(
        method, preset.dataset, model=preset.model, width=preset.width, variant=preset.variant,
        recipe_name=preset.recipe, overrides=preset.overrides, settings={method: of_method.set},
    )  # fmt: skip
    assert run.model.name == "resnet18" and run.model.variant == "stem3"
    for key, value in of_method.set.items():
        assert run.method.options[key] == (tuple(value) if isinstance(value, list) else value)
    assert all(50 < accuracy < 90 for accuracy in of_method.printed.values())


def test_openmixup_and_openood_are_their_protocols() -> None:
    mixup, ood = presets.load("openmixup"), presets.load("openood")
    a = make_run("cutmix", mixup.dataset, recipe_name=mixup.recipe, overrides=mixup.overrides).recipe
    b = make_run("baseline", ood.dataset, recipe_name=ood.recipe).recipe
    assert (a.batch_size, a.lr, a.weight_decay, a.nesterov, a.padding, a.schedule) == (
        100, 0.1, 1e-4, False, "reflect", "cosine-epoch",
    )  # fmt: skip
    assert (b.epochs, b.batch_size, b.weight_decay, b.nesterov, b.padding) == (100, 128, 5e-4, True, "zeros")
    assert a.look_every == 1, "the median of the last ten epochs needs a look at each"
    assert mixup.methods["cutmix"].printed[200] == 79.45 and ood.methods["regmixup"].printed[100] == 79.23


def test_methods_on_top_of_others_have_the_settings_of_each(cli: Cli) -> None:
    """The options of OpenMixup's and SUMix's configurations for ResNet-18."""
    _, first = preset_for("openmixup", "decoupled")
    assert first.set == {
        "base": "cutmix", "official": True, "alpha": 0.2, "eta": 0.1, "power": 0.5, "mode": "less",
    }  # fmt: skip
    _, manifold = preset_for("openmixup", "decoupled", {"base": "manifold"})
    assert (manifold.set["alpha"], manifold.set["power"], manifold.set["mode"]) == (0.5, 0, "more")
    for base, (alpha, printed) in {
        "cutmix": (0.2, 79.78), "saliencymix": (0.2, 79.91), "fmix": (0.2, 80.20), "resizemix": (1.0, 80.38),
    }.items():  # fmt: skip
        _, sumix = preset_for("openmixup", "sumix", {"base": base})
        assert sumix.set["alpha"] == alpha and sumix.printed == {800: printed} and "0469ec2" in sumix.differs
        assert sumix.set["official"] and sumix.set["gamma"] == 0.5
    bad = cli("train", "--preset", "openmixup", "--method", "sumix", "--set", "sumix.base=gmix")
    assert bad.exit_code == 2 and "sumix.base of preset openmixup" in bad.stderr and "resizemix" in bad.stderr


def test_what_is_reported_is_what_they_report() -> None:
    preset = presets.load("openmixup")
    errors = [90.0, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21]
    assert reported_accuracy(preset, errors) == 100 - (25 + 26) / 2
    assert reported_accuracy(preset, errors[:9]) is None
    assert reported_accuracy(presets.load("openood"), errors) == 79
    of_method = MethodPreset(printed={11: 80.0})
    lines = [{"test_error": e} for e in errors]
    assert compared("openmixup", preset, of_method, lines) == (
        "test accuracy, median of the last 10 epochs: 74.50 %; openmixup prints 80.00 %"
    )
    assert compared("openmixup", preset, of_method, lines[:4]).endswith("openmixup prints nothing for 4 epochs")


def test_the_command_takes_the_settings_and_shows_both_numbers(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "x"\nsource = "x"\ndiffers = "x"\ndataset = "digits"\nmodel = "preactresnet10"\nwidth = 4\n'
        'recipe = "digits"\n[methods.inputmixup]\nset = { alpha = 0.7 }\nprinted = { 1 = 60.5 }\n'
    )
    words = ("train", "--preset", path, "--method", "inputmixup", "--fraction", 0.1, "--epochs", 1)
    result = cli(*words, "--runs", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith(f"%; {path} prints 60.50 %")
    run = as_json(cli(*words, "--set", "inputmixup.alpha=0.3", "--runs", tmp_path / "b", "--json"))["run"]
    assert run["method"]["options"]["alpha"] == 0.3 and run["model"]["width"] == 4
    bad = cli("train", "--preset", path, "--method", "cutmix")
    assert bad.exit_code == 2 and "method of preset" in bad.stderr and "inputmixup" in bad.stderr


def test_what_is_no_preset_is_one_line(cli: Cli, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean openmixup"):
        presets.load("openmixupp")
    (tmp_path / "x.toml").write_text('title = "x"\n')
    with pytest.raises(UsageError, match=r"preset .*x\.toml: "):
        presets.load(str(tmp_path / "x.toml"))
    listed = as_json(cli("list", "presets", "--json"))
    assert listed == presets.available()
