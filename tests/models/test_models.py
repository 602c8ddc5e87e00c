"""Networks: sizes from the literature, f = q_k ∘ p_k for every k, torchvision's logits, the variants."""

import hashlib

import pytest
import torch
import torchvision
from torch import Tensor, nn

from catchup_bench import data
from catchup_bench.errors import UsageError
from catchup_bench.models import MODELS, StagedNet
from catchup_bench.models.keys import translate
from catchup_bench.runs.build import build, build_net
from catchup_bench.runs.make import make_run
from catchup_bench.runs.run import ModelSpec


def net(name: str = "preactresnet18", width: int = 8, variant: str = "B") -> StagedNet:
    torch.manual_seed(0)
    return MODELS[name].build(num_classes=10, width=width, variant=variant)


def count(name: str, width: int = 64, variant: str = "A", classes: int = 100) -> int:
    with torch.device("meta"):
        built = MODELS[name].build(num_classes=classes, width=width, variant=variant)
    return sum(p.numel() for p in built.parameters())


def test_preactresnet18_has_11_2_million_parameters() -> None:
    """11.16 M in convolutions (He et al. 2016), the rest BatchNorm and the linear layer."""
    with torch.device("meta"):
        built = MODELS["preactresnet18"].build(num_classes=100, width=64, variant="A")
    convs = sum(m.weight.numel() for m in built.modules() if isinstance(m, nn.Conv2d))
    assert convs == 11_159_232
    assert count("preactresnet18", classes=10) == 11_171_146  # as in the CIFAR-10 codes that define variant A


def test_deeper_networks_are_larger() -> None:
    sizes = [count(f"preactresnet{d}") for d in (10, 18, 34, 50)]
    assert sizes == sorted(sizes) and round(sizes[2] / 1e6, 1) == 21.3 and round(sizes[3] / 1e6, 1) == 23.7


SMALL = [
    *((n, 4, v) for n in MODELS for v in "ABC" if n.startswith("preact")),
    *((n, w, v) for n, w in (("resnet18", 4), ("resnet50", 4), ("resnext50", 16)) for v in ("stem7", "stem3")),
    ("wrn16-8", 2, "standard"),
    ("densenet121", 4, "standard"),
    ("pyramidnet200", 2, "standard"),
    ("mobilenetv2", 4, "standard"),
    ("vgg11", 4, "standard"),
]
"""Every network and variant, in miniature."""


def test_every_network_is_tested_in_miniature() -> None:
    assert {(n, v) for n, _, v in SMALL} == {(n, v) for n, a in MODELS.items() for v in a.variants}


@pytest.mark.parametrize(("name", "width", "variant"), SMALL)
def test_stages_compose_to_the_whole_network(name: str, width: int, variant: str) -> None:
    model = net(name, width, variant).eval()
    x = torch.rand(2, 3, max(16, MODELS[name].smallest), 32)
    before = x.clone()
    whole = model(x)
    assert whole.shape == (2, 10)
    for k in range(len(model.stages) + 1):
        h = model(x, stop=k)
        kept = h.clone()
        assert torch.equal(model(h, start=k), whole)
        assert torch.equal(h, kept) and torch.equal(x, before)


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("resnet18", 1000, 11.69),
        ("resnet50", 1000, 25.56),
        ("resnext50", 1000, 25.03),
        ("wrn16-8", 100, 11.01),
        ("densenet121", 1000, 7.98),
        ("pyramidnet200", 100, 26.84),
        ("mobilenetv2", 1000, 3.50),
        ("vgg11", 1000, 132.86),
    ],
)
def test_sizes_are_those_of_the_literature(name: str, classes: int, millions: float) -> None:
    entry = MODELS[name]
    assert round(count(name, entry.width, entry.variants[0], classes) / 1e6, 2) == millions


def test_resnet18_for_small_images_has_11_2_million_parameters() -> None:
    assert count("resnet18", variant="stem3") == 11_220_132


CHANNELS = {
    ("resnet18", "stem7"): [(64, 16), (64, 16), (128, 8), (256, 4), (512, 2)],
    ("resnet50", "stem7"): [(64, 16), (256, 16), (512, 8), (1024, 4), (2048, 2)],
    ("resnext50", "stem3"): [(64, 64), (256, 64), (512, 32), (1024, 16), (2048, 8)],
    ("wrn16-8", "standard"): [(16, 64), (128, 64), (256, 32), (512, 16)],
    ("densenet121", "standard"): [(64, 16), (128, 8), (256, 4), (512, 2), (1024, 2)],
    ("pyramidnet200", "standard"): [(16, 64), (384, 64), (704, 32), (1024, 16)],
    ("mobilenetv2", "standard"): [(32, 32), (16, 32), (24, 16), (32, 8), (64, 4), (96, 4), (160, 2), (320, 2)],
    ("vgg11", "standard"): [(64, 64), (128, 32), (256, 16), (256, 16), (512, 8), (512, 8), (512, 4), (512, 4)],
}


@pytest.mark.parametrize(("name", "variant"), CHANNELS)
def test_hook_points_are_where_the_papers_mix(name: str, variant: str) -> None:
    """Channels and side of the maps after every stage, for images of 64 px."""
    with torch.device("meta"):
        model = MODELS[name].build(num_classes=10, width=MODELS[name].width, variant=variant)
        x = torch.empty(1, 3, 64, 64)
    found = [model(x, stop=k).shape for k in range(1, len(model.stages) + 1)]
    assert [(s[1], s[2]) for s in found] == CHANNELS[name, variant] and all(s[2] == s[3] for s in found)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("resnet18", "resnet18"),
        ("resnet50", "resnet50"),
        ("resnext50", "resnext50_32x4d"),
        ("densenet121", "densenet121"),
        ("mobilenetv2", "mobilenet_v2"),
        ("vgg11", "vgg11"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_regrouped_networks_are_torchvisions(name: str, theirs: str, training: bool) -> None:
    """With the same weights, found by their torchvision names, bit-equal logits."""
    with torch.device("meta"):
        reference = torchvision.models.get_model(theirs, num_classes=5)
        model = MODELS[name].build(num_classes=5, width=MODELS[name].width, variant=MODELS[name].variants[0])
    reference.to_empty(device="cpu")
    gen = torch.Generator().manual_seed(0)
    for key, value in reference.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5 if "var" in key else -0.1, 0.6 if "var" in key else 0.1, generator=gen)
    names = MODELS[name].external_names(MODELS[name].variants[0])
    state = {translate(k, names): v for k, v in reference.state_dict().items()}
    state |= {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    model.load_state_dict(state, assign=True)
    x = torch.rand(2, 3, 64, 64, generator=gen)
    torch.manual_seed(1)
    expected = reference.train(training)(x)
    torch.manual_seed(1)
    logits = model.train(training)(x)
    assert logits.isfinite().all() and logits.std() > 0
    # a strided 1×1 convolution adds in another order than one behind a subsampling
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_widths_that_32_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 16"):
        net("resnext50", 24, "stem3")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_branches_begin_silent_for_small_images_alone(name: str) -> None:
    """OpenMixup's networks for 32 px begin as if they had no residual branches; torchvision's do not."""
    gammas = {
        v: [b.body[-1].weight for b in net(name, 4, v).modules() if hasattr(b, "drop")] for v in ("stem3", "stem7")
    }
    assert len(gammas["stem3"]) == {"resnet18": 8, "resnet50": 16}[name]
    assert all(bool((g == 0).all()) for g in gammas["stem3"]) and all(bool((g == 1).all()) for g in gammas["stem7"])


def test_pyramid_shortcuts_pool_and_fill_up_with_empty_channels() -> None:
    block = net("pyramidnet200", 2, "standard").stages[2][0].eval()
    nn.init.zeros_(block.body[-1].weight)
    x = torch.rand(2, block.body[0].num_features, 6, 6)
    out = block(x)
    assert torch.equal(out[:, : x.shape[1]], torch.nn.functional.avg_pool2d(x, 2)) and out.shape[1] >= x.shape[1]
    assert not out[:, x.shape[1] :].any()


@pytest.mark.parametrize(("name", "size"), [("densenet121", 32), ("mobilenetv2", 32), ("vgg11", 32), ("resnet50", 32)])
def test_networks_for_large_images_take_32_px(name: str, size: int) -> None:
    model = net(name, 4, MODELS[name].variants[0])
    model(torch.rand(2, 3, size, size)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", ["densenet121", "vgg11"])
def test_too_small_images_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="at least 32 px; those of digits have 16"):
        build_net(ModelSpec(name=name, width=4, variant="standard"), "digits", torch.device("cpu"))


def test_stage_0_is_the_input_itself() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(net()(x, stop=0), x)


def test_shapes_after_every_stage() -> None:
    model, x = net(width=8), torch.rand(1, 3, 32, 32)
    shapes = [tuple(model(x, stop=k).shape[1:]) for k in range(1, 6)]
    assert shapes == [(8, 32, 32), (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]


def test_a_recipe_may_normalise_as_on_imagenet() -> None:
    """As OpenMixup does with Tiny-ImageNet."""
    own, other = (
        build(make_run("baseline", "digits", overrides={"normalise": name}), torch.device("cpu"))[0]
        for name in ("dataset", "imagenet")
    )
    assert own.mean.flatten().tolist() == pytest.approx(data.get("digits").mean)
    assert other.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert other.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True))


def test_normalisation_is_inside() -> None:
    torch.manual_seed(0)
    inside = MODELS["preactresnet10"].build(num_classes=3, width=4, variant="B", mean=(0.4,) * 3, std=(0.2,) * 3).eval()
    torch.manual_seed(0)
    outside = (
        MODELS["preactresnet10"].build(num_classes=3, width=4, variant="B", mean=(0.0,) * 3, std=(1.0,) * 3).eval()
    )
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(inside(x), outside((x - 0.4) / 0.2), atol=1e-6)


def identity_path(variant: str) -> tuple[Tensor, Tensor]:
    """What passes a block whose residual branch is silenced, and what went in."""
    block = net(variant=variant).stages[1][0].eval()
    nn.init.zeros_(block.body[-1].weight)
    x = torch.randn(2, 8, 4, 4)
    return block(x), x


def test_variants_differ_in_the_shortcut() -> None:
    out, x = identity_path("A")
    assert torch.equal(out, x)
    out, x = identity_path("B")
    assert torch.allclose(out, x.relu(), atol=1e-4)  # BatchNorm at its start is the identity up to its ε


def test_variants_differ_in_stem_and_head() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert net(variant="B")(x, stop=1).min() >= 0 > net(variant="A")(x, stop=1).min()
    assert isinstance(net(variant="C").head.norm, nn.Sequential)
    assert isinstance(net(variant="B").head.norm, nn.Identity)


def test_head_pools_the_whole_map() -> None:
    model = net()
    h = torch.randn(2, 64, 4, 4)
    assert torch.allclose(model.head.features(h), h.flatten(2).mean(2))


def test_initial_weights_of_a_seed_stay() -> None:
    """The records on the boards were trained from these; another beginning would make them unrepeatable."""
    total = hashlib.sha256()
    for variant in "ABC":
        model = build_net(ModelSpec(name="preactresnet10", width=4, variant=variant), "digits", torch.device("cpu"), 3)
        for key, value in model.state_dict().items():
            total.update(key.encode() + value.contiguous().numpy().tobytes())
    assert total.hexdigest()[:16] == "c1bf7c83c896f2d4"
