"""Cost records: what is not one is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from catchup_bench.errors import UsageError
from catchup_bench.records.costs import read_costs

ROOT = Path(__file__).parents[2]


def test_costs_are_read_by_label(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    assert read_costs(path).ratios == {}, "nothing was measured"
    path.write_text(json.dumps({"methods": {"a": {"ratio": 1, "low": 0.9}}, "provenance": {"device": "x"}}))
    costs = read_costs(path)
    assert costs.ratios == {"a": 1.0} and costs.provenance["device"] == "x"


WRONG: list[Any] = [[], {}, {"methods": []}, {"methods": {"a": 1}}, {"methods": {"a": {}}}]

WRONG += [{"methods": {"a": {"ratio": "x"}}}, {"methods": {}, "provenance": 1}, {"methods": {}, "more": 1}]


@pytest.mark.parametrize("value", WRONG)
def test_another_file_is_refused_in_one_line(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UsageError, match=r"is not a cost record: .*delete it, and leaderboard run measures") as caught:
        read_costs(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.skipif(not ROOT.joinpath("leaderboards").exists(), reason="not in a checkout")
def test_committed_costs_are_read() -> None:
    paths = sorted(ROOT.glob("leaderboards/results/*/*/cost.json"))
    assert paths and all(read_costs(path).ratios["baseline"] == 1.0 for path in paths)
