"""What engines and processes say of themselves is what a record may state."""

import json
from pathlib import Path

from catchup_bench.engines.pass_settings import PassSetting
from catchup_bench.records import facts
from catchup_bench.records.outcomes import training_facts
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


def test_the_median_of_the_last_ten_epochs_is_kept_where_all_were_looked_at(tmp_path: Path) -> None:
    lines = [{"epoch": e, "loss": 1.0, "test_error": 20.0 + (e - 8) ** 2} for e in range(1, 13)]
    (tmp_path / "training.json").write_text('{"epochs": 12}')
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    errors = sorted(20.0 + (e - 8) ** 2 for e in range(3, 13))
    assert training_facts(tmp_path)["last10_accuracy"] == 100 - (errors[4] + errors[5]) / 2
    del lines[7]["test_error"]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert "last10_accuracy" not in training_facts(tmp_path) and len(training_facts(tmp_path)["curve"]) == 11
