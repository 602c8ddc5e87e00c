"""What the hardware is taken for."""

import pytest
import torch

from catchup_bench.system.hardware import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "cap", "precision"),
    [
        ({"avx2": True}, "", "fp32"),
        ({"avx512_bf16": True}, "", "bf16"),
        ({"amx_bf16": True}, "AVX512_CORE_AMX", "bf16"),
        ({"avx512_bf16": True}, "avx2", "fp32"),
        ({"avx512_bf16": True}, "AVX512_CORE", "fp32"),
    ],
)
def test_bf16_is_chosen_where_it_is_native_and_allowed(
    flags: dict[str, bool], cap: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated, it takes minutes for what takes seconds."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)  # torch 2.8 has none
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert choose_precision("auto", CPU) == precision
    assert choose_precision("bf16", CPU) == "bf16"
