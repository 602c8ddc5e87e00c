"""Networks: sizes from the literature, f = q_k ∘ p_k for every k, and the three variants."""

import pytest
import torch
from torch import Tensor, nn

from catchup_bench.models import MODELS, StagedNet


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


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_stages_compose_to_the_whole_network(name: str, variant: str) -> None:
    model, x = net(name, 4, variant).eval(), torch.rand(2, 3, 16, 16)
    whole = model(x)
    assert whole.shape == (2, 10)
    for k in range(len(model.stages) + 1):
        assert torch.equal(model(model(x, stop=k), start=k), whole)


def test_stage_0_is_the_input_itself() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(net()(x, stop=0), x)


def test_shapes_after_every_stage() -> None:
    model, x = net(width=8), torch.rand(1, 3, 32, 32)
    shapes = [tuple(model(x, stop=k).shape[1:]) for k in range(1, 6)]
    assert shapes == [(8, 32, 32), (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]


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
