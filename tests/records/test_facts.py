"""What engines and processes say of themselves is what a record may state."""

from catchup_bench.engines.pass_settings import PassSetting
from catchup_bench.records import facts
from catchup_bench.system.provenance import describe, stamp
from catchup_bench.training.distributed import Group


def test_whatever_is_stated_here_is_accepted() -> None:
    import torch

    machine = describe(torch.device("cpu"), "bf16")
    for setting in (PassSetting(), PassSetting(fixed=True)):
        facts.Stamp.model_validate({**stamp(), **machine, **setting.facts(), "engine": "graphs", "eager": "why"})
    several = Group(rank=0, size=2).facts
    eager = {"eager_plans": {"None": "why"}, "eager_looks": "why"}
    facts.Training.model_validate({**machine, **several, **eager, "engine": "compile+graphs"})
