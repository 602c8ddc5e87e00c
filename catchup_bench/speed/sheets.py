"""What the benchmarks measured, as tables: for the terminal and for the page of speeds."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sheet:
    """``rows`` are texts, the first ``left`` of a row aligned left; a ``note`` stands below."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""
    left: int = 1


def costs(measured: dict[str, Any]) -> list[Sheet]:
    """Show ratios of step times, cheapest first, with the passes that explain them."""
    from ..registry import method_class

    ranked = sorted(measured["methods"].items(), key=lambda item: item[1]["ratio"])
    rows = [[m, f"×{c['ratio']:.3f}", f"{c['low']:.3f}–{c['high']:.3f}", method_class(m).passes] for m, c in ranked]
    where = measured["provenance"]
    title = (
        f"step relative to the baseline's {measured['baseline_seconds_per_step']:.3f} s: {measured['model']}, "
        f"{measured['image_size']} px, batch {measured['batch_size']}, {where['precision']}, {where['device']}"
        + (f", engine {measured['engine']}" if "engine" in measured else "")
    )
    return [Sheet(title, ["method", "cost", "quartiles", "passes"], rows)]


def corruptions(measured: dict[str, Any]) -> list[Sheet]:
    """Show images per CPU second both ways, the smallest gain first."""
    ranked = sorted(measured["corruptions"].items(), key=lambda item: item[1]["ratio"])
    rows = [
        [name, f"{1 / c['seconds']:,.0f}", f"{1 / c['reference_seconds']:,.0f}", f"×{c['ratio']:.1f}"]
        for name, c in ranked
    ]
    rows.append(["geometric mean", "", "", f"×{measured['geometric_mean']:.1f}"])
    rows.append([f"all {measured['variants']} variants together", "", "", f"×{measured['all_variants']:.1f}"])
    title = f"images per CPU second at {measured['image_size']} px, {measured['provenance']['device']}, one thread"
    return [Sheet(title, ["corruption", "batched", "one at a time", "ratio"], rows)]


def load(measured: dict[str, Any]) -> list[Sheet]:
    """Show images per second idle and beside a busy core."""
    where = measured["provenance"]
    rows = [
        ["idle", f"{measured['idle_images_per_second']:,.0f}", ""],
        ["one core busy", f"{measured['busy_images_per_second']:,.0f}", f"×{measured['ratio']:.2f}"],
        ["quartiles", "", f"{measured['low']:.2f}–{measured['high']:.2f}"],
    ]
    title = (
        f"training on {where['threads']} threads: {measured['model']}, {measured['image_size']} px, batch "
        f"{measured['batch_size']}, {where['precision']}, {where['device']}"
    )
    return [Sheet(title, ["machine", "images/s", "ratio"], rows)]


def suites(measured: dict[str, Any]) -> list[Sheet]:
    """Show shares of plain forward passes, then the ratios."""
    rows = [[name, f"{100 * share:.0f} %"] for name, share in measured["share_of_forward"].items()]
    several, files = measured["several_eps"], measured["cifar100c_files"]
    rows.append([f"{len(several['eps'])} ε from one gradient, against one at a time", f"×{several['suite']:.2f}"])
    rows.append(["the same, the attack alone", f"×{several['attack']:.2f}"])
    rows.append(["CIFAR-100-C files against robustbench's loader", f"×{files['ratio']:.1f}"])
    where = measured["provenance"]
    network = f"{measured['model']}, {measured['image_size']} px, {where['device']}"
    title = f"images per second as a share of forward passes: {network}"
    return [Sheet(title, ["suite", ""], rows)]


def loops(measured: dict[str, Any]) -> list[Sheet]:
    """Show training loops one below the other, each with one more thing than the one above; then methods' steps."""
    where, peak = measured["provenance"], measured["peak_flop_per_second"]
    rows = [
        [name, f"{f['images_per_second']:,.0f}", f"{f['flop_per_second'] / 1e9:,.0f}", f"×{f['ratio']:.2f}",
         f"{f['low']:.2f}–{f['high']:.2f}"]
        for name, f in measured["loops"].items()
    ]  # fmt: skip
    title = (
        f"{measured['model']}, {measured['image_size']} px, batch {measured['batch_size']}, {where['precision']}, "
        f"{where['device']}, {where['threads']} threads; {measured['flop_per_image'] / 1e9:.2f} GFLOP per image"
    )
    peaks = ", ".join(f"{name} {value / 1e9:,.0f}" for name, value in peak.items())
    note = f"The product reaches {measured['share_of_peak']:.0%} of what a matrix product does here (GFLOP/s: {peaks})."
    sheets = [Sheet(title, ["loop", "images/s", "GFLOP/s", "speed", "quartiles"], rows, note)]
    if measured["methods"]:
        steps = [[m, f"×{c['ratio']:.3f}", f"{c['low']:.3f}–{c['high']:.3f}"] for m, c in measured["methods"].items()]
        sheets.append(Sheet("step relative to the baseline's", ["method", "cost", "quartiles"], steps))
    return sheets


def scale(measured: dict[str, Any]) -> list[Sheet]:
    """Show a line per number of images and batch."""
    rows = [
        [f"{c['images']:,}", str(c["batch_size"]), f"{c['images_per_second']:,.0f}", f"{c['peak_mb']:,.0f}"]
        for c in measured["cases"]
    ]
    where = measured["provenance"]
    title = f"{measured['model']}, {where['precision']}, {where['device']}, {where['threads']} threads"
    return [Sheet(title, ["images", "batch", "images/s", "peak MB"], rows, left=2)]


def gpu(measured: dict[str, Any]) -> list[Sheet]:
    """Show a table for each part: names and numbers; of methods, means over their plans."""
    where = measured["provenance"]
    facts = {key: where[key] for key in ("device", "precision", "threads")} | {"torch": where["versions"]["torch"]}
    facts |= {"batch": measured["batch_size"], "small": measured["small"]}
    sheets = [Sheet("measured", ["", ""], [[name, str(value)] for name, value in facts.items()])]
    for part, values in measured["parts"].items():
        head, rows = ["", ""], [[name, number(value)] for name, value in values.items()]
        if part == "methods" and "error" not in values:
            head = ["method", "eager, s", "captured, s", "plans captured"]
            rows = [
                [name, number(m["eager"]), number(m["graphs"]), f"{m['captured']} of {len(m['plans'])}"]
                for name, m in values.items()
            ]
        sheets.append(Sheet(f"{part}, {measured['seconds'][part]:.0f} s", head, rows or [["none", ""]]))
    return sheets


def number(value: Any) -> str:
    """Return four digits of a number, and anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
