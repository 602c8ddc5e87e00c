"""What the benchmarks measured, as tables: for the terminal and for the page of speeds."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sheet:
    """``rows`` are cells, the first ``left`` of them words; a ``note`` stands below."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""
    left: int = 1


def costs(found: dict[str, Any]) -> list[Sheet]:
    """Ratios of step times, cheapest first, with the passes that explain them."""
    from ..registry import method_class

    ranked = sorted(found["methods"].items(), key=lambda item: item[1]["ratio"])
    rows = [[m, f"×{c['ratio']:.3f}", f"{c['low']:.3f}–{c['high']:.3f}", method_class(m).passes] for m, c in ranked]
    where = found["provenance"]
    title = (
        f"step relative to the baseline's {found['baseline_seconds_per_step']:.3f} s: {found['model']}, "
        f"{found['image_size']} px, batch {found['batch_size']}, {where['precision']}, {where['device']}"
        + (f", engine {found['engine']}" if "engine" in found else "")
    )
    return [Sheet(title, ["method", "cost", "quartiles", "passes"], rows)]


def corruptions(found: dict[str, Any]) -> list[Sheet]:
    """Images a CPU second both ways, the smallest gain first."""
    ranked = sorted(found["corruptions"].items(), key=lambda item: item[1]["ratio"])
    rows = [
        [name, f"{1 / c['seconds']:,.0f}", f"{1 / c['reference_seconds']:,.0f}", f"×{c['ratio']:.1f}"]
        for name, c in ranked
    ]
    rows.append(["geometric mean", "", "", f"×{found['geometric_mean']:.1f}"])
    rows.append([f"all {found['variants']} variants together", "", "", f"×{found['all_variants']:.1f}"])
    title = f"images a CPU second at {found['image_size']} px, {found['provenance']['device']}, one thread"
    return [Sheet(title, ["corruption", "batched", "one at a time", "ratio"], rows)]


def load(found: dict[str, Any]) -> list[Sheet]:
    """Images a second idle and beside a busy core."""
    where = found["provenance"]
    rows = [
        ["idle", f"{found['idle_images_per_second']:,.0f}", ""],
        ["one core busy", f"{found['busy_images_per_second']:,.0f}", f"×{found['ratio']:.2f}"],
        ["quartiles", "", f"{found['low']:.2f}–{found['high']:.2f}"],
    ]
    title = (
        f"training on {where['threads']} threads: {found['model']}, {found['image_size']} px, batch "
        f"{found['batch_size']}, {where['precision']}, {where['device']}"
    )
    return [Sheet(title, ["machine", "images/s", "ratio"], rows)]


def suites(found: dict[str, Any]) -> list[Sheet]:
    """Shares of bare forward passes, then the ratios."""
    rows = [[name, f"{100 * share:.0f} %"] for name, share in found["share_of_forward"].items()]
    several, files = found["several_eps"], found["cifar100c_files"]
    rows.append([f"{len(several['eps'])} ε from one gradient, against one at a time", f"×{several['suite']:.2f}"])
    rows.append(["the same, the attack alone", f"×{several['attack']:.2f}"])
    rows.append(["CIFAR-100-C files against robustbench's loader", f"×{files['ratio']:.1f}"])
    where = found["provenance"]
    title = (
        f"images a second as a share of forward passes: {found['model']}, {found['image_size']} px, {where['device']}"
    )
    return [Sheet(title, ["suite", ""], rows)]


def loops(found: dict[str, Any]) -> list[Sheet]:
    """Training loops one below the other, each with one more thing than the one above; then methods' steps."""
    where, peak = found["provenance"], found["peak_flop_per_second"]
    rows = [
        [name, f"{f['images_per_second']:,.0f}", f"{f['flop_per_second'] / 1e9:,.0f}", f"×{f['ratio']:.2f}",
         f"{f['low']:.2f}–{f['high']:.2f}"]
        for name, f in found["loops"].items()
    ]  # fmt: skip
    title = (
        f"{found['model']}, {found['image_size']} px, batch {found['batch_size']}, {where['precision']}, "
        f"{where['device']}, {where['threads']} threads; {found['flop_per_image'] / 1e9:.2f} GFLOP an image"
    )
    peaks = ", ".join(f"{name} {value / 1e9:,.0f}" for name, value in peak.items())
    note = f"The product reaches {found['share_of_peak']:.0%} of what a matrix product does here (GFLOP/s: {peaks})."
    sheets = [Sheet(title, ["loop", "images/s", "GFLOP/s", "speed", "quartiles"], rows, note)]
    if found["methods"]:
        steps = [[m, f"×{c['ratio']:.3f}", f"{c['low']:.3f}–{c['high']:.3f}"] for m, c in found["methods"].items()]
        sheets.append(Sheet("step relative to the baseline's", ["method", "cost", "quartiles"], steps))
    return sheets


def scale(found: dict[str, Any]) -> list[Sheet]:
    """A line per number of images and batch."""
    rows = [
        [f"{c['images']:,}", str(c["batch_size"]), f"{c['images_per_second']:,.0f}", f"{c['peak_mb']:,.0f}"]
        for c in found["cases"]
    ]
    where = found["provenance"]
    title = f"{found['model']}, {where['precision']}, {where['device']}, {where['threads']} threads"
    return [Sheet(title, ["images", "batch", "images/s", "peak MB"], rows, left=2)]


def gpu(found: dict[str, Any]) -> list[Sheet]:
    """A table a part: names and numbers; of methods, means over their plans."""
    where = found["provenance"]
    facts = {key: where[key] for key in ("device", "precision", "threads")} | {"torch": where["versions"]["torch"]}
    facts |= {"batch": found["batch_size"], "small": found["small"]}
    sheets = [Sheet("measured", ["", ""], [[name, str(value)] for name, value in facts.items()])]
    for part, values in found["parts"].items():
        head, rows = ["", ""], [[name, number(value)] for name, value in values.items()]
        if part == "methods" and "error" not in values:
            head = ["method", "eager, s", "captured, s", "plans captured"]
            rows = [
                [name, number(m["eager"]), number(m["graphs"]), f"{m['captured']} of {len(m['plans'])}"]
                for name, m in values.items()
            ]
        sheets.append(Sheet(f"{part}, {found['seconds'][part]:.0f} s", head, rows or [["none", ""]]))
    return sheets


def number(value: Any) -> str:
    """Four digits of a number; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
