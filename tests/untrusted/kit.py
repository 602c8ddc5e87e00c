"""The forger's kit: every way known to us of getting a wrong row believed, or a page broken, tried against the project.

``python -m tests.untrusted.kit`` makes a fresh clone of the checkout, tries all of it there and prints what got
through. Attacks on records take seconds and are part of the tests; those on runs and methods train small networks.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catchup_bench.errors import BenchError
from tests.support.clone import BOARD, MINE, TRAIN, Clone
from tests.support.stored_records import written_out

ROOT = Path(__file__).resolve().parents[2]

SETUP = Path("leaderboards", "results", "digits", "preactresnet10-w16")

ROW = SETUP.relative_to("leaderboards") / "catchup"

ROWS, SEEDS = ("baseline", "catchup", "cutmix"), range(4)

README = "# Boards\n\n<!-- BEGIN boards -->\n<!-- END boards -->\n"


@dataclass(frozen=True)
class Attack:
    """A change of a folder with records, and words of the answer that it must get: ``problem`` is refused, ``remark``
    shown to a maintainer."""

    name: str
    change: Callable[[Path], None]
    words: str
    kind: str = "problem"


def fresh(root: Path) -> None:
    """Fill the empty folder ``root`` with published records of a board."""
    for row in ROWS:
        for seed in SEEDS:
            (root / SETUP / row).mkdir(parents=True, exist_ok=True)
            for name in (f"seed{seed}.json", f"verified-seed{seed}.json"):
                if (ROOT / SETUP / row / name).exists():
                    shutil.copy(ROOT / SETUP / row / name, root / SETUP / row)
    shutil.copy(ROOT / SETUP / "cost.json", root / SETUP)
    (root / "leaderboards" / "README.md").write_text(README)


def answers(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of everything that judging the records in ``root`` says."""
    from catchup_bench.records.record import Record
    from catchup_bench.verification.all_records import find_problems
    from catchup_bench.verification.plausibility import remarks

    kept: dict[Path, Record] = {}
    yield from (("problem", text) for _, text in find_problems(root, kept=kept))
    yield from (("remark", text) for _, text in remarks(kept))


def edited(row: str = "catchup", seed: int = 0) -> Callable[[Callable[[Any], None]], Callable[[Path], None]]:
    """Make a change of a record's values one of the file in a folder; its mark goes, as a forger would see to."""

    def of_values(change: Callable[[Any], None]) -> Callable[[Path], None]:
        def of_file(root: Path) -> None:
            path = root / SETUP / row / f"seed{seed}.json"
            values = written_out(path)
            change(values)
            path.write_text(json.dumps(values))
            path.with_name(f"verified-{path.name}").unlink(missing_ok=True)

        return of_file

    return of_values


def fewer_conditions(values: Any) -> None:
    values["outcomes"] = {"clean": values["outcomes"]["clean"]}


def weights_of_another(root: Path) -> None:
    other = written_out(root / SETUP / "baseline" / "seed0.json")
    edited()(lambda values: values.update(checkpoint=other["checkpoint"]))(root)


def bits_of_another(root: Path) -> None:
    other = written_out(root / SETUP / "baseline" / "seed1.json")
    edited()(lambda values: values.update(outcomes=other["outcomes"], evaluated=other["evaluated"]))(root)


def all_right(values: Any) -> None:
    import numpy as np

    from catchup_bench.records.record import pack

    for outcome in values["outcomes"].values():
        outcome.update(bits=pack(np.ones(outcome["n"], bool)), correct=outcome["n"])


def severities_turned_round(values: Any) -> None:
    outcomes = values["outcomes"]
    for name in [name for name in outcomes if "-1" in name and outcomes[name]["suite"] == "corruption"]:
        other = name.replace("-1", "-5", 1)
        for key in ("bits", "correct"):
            outcomes[name][key], outcomes[other][key] = outcomes[other][key], outcomes[name][key]


def protocol(name: str, **changes: Any) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        values["outcomes"][name]["protocol"] = {
            k: v for k, v in (values["outcomes"][name]["protocol"] | changes).items() if v is not None
        }

    return change


def training(**changes: Any) -> Callable[[Path], None]:
    return edited()(lambda values: values["training"].update(changes))


def mark(level: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        from catchup_bench.system.files import file_digest

        path = root / SETUP / "catchup" / "seed0.json"
        values = {"level": level, "record_sha256": file_digest(path), "differing": {}}
        path.with_name("verified-seed0.json").write_text(json.dumps(values))

    return change


def statement(listed: bool, other_bytes: bool = False) -> Callable[[Path], None]:
    """A statement that is signed, with a key that is not listed or before the record was changed."""

    def change(root: Path) -> None:
        from catchup_bench.records.verifiers import sign
        from catchup_bench.system.files import file_digest

        path = root / SETUP / "catchup" / "seed0.json"
        with tempfile.TemporaryDirectory() as folder:
            keys = [Path(folder, name) for name in ("theirs", "mine")]
            for key in keys:
                words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
                subprocess.run(words, check=True, timeout=60)
            public = keys[0].with_suffix(".pub").read_text().rsplit(" ", 1)[0]
            names = f'[[maintainers]]\nname = "someone"\nkey = "{public}"\n' if listed else "maintainers = []\n"
            (root / "leaderboards" / "verifiers.toml").write_text(names)
            made = path.with_name("verified-seed0.someone.json")
            stated = {"level": 3, "maintainer": "someone", "record_sha256": file_digest(path), "weights": "0",
                      "error": 1.0, "error_of_record": 1.0, "made": {}}  # fmt: skip
            made.write_text(json.dumps(stated))
            sign(made, keys[0 if other_bytes else 1])
        if other_bytes:
            made.write_text(json.dumps(stated | {"error": 0.5}))

    return change


def cost(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def of_file(root: Path) -> None:
        path = root / SETUP / "cost.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return of_file


def ratio(number: float) -> Callable[[Path], None]:
    return cost(lambda values: values["methods"].update(catchup={"ratio": number, "low": number, "high": number}))


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """Change the text of a record, whose JSON is then no longer what a writer would write."""

    def of_file(root: Path) -> None:
        edited()(lambda values: None)(root)
        path = root / SETUP / "catchup" / "seed0.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return of_file


def put(name: str, content: str = "") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "leaderboards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return change


def linked(root: Path) -> None:
    path = root / SETUP / "catchup" / "seed0.json"
    path.rename(root / "elsewhere.json")
    path.symlink_to(root / "elsewhere.json")


def later_epochs(values: Any) -> None:
    values["checkpoint"]["epoch"] = 8


RECORDS = [
    Attack("fewer conditions, to drop a bad seed", edited()(fewer_conditions), "conditions of its board are missing"),
    Attack("no outcome", edited()(lambda v: v.update(outcomes={})), "conditions of its board are missing"),
    Attack("weights of another run", weights_of_another, "its checkpoint is that of"),
    Attack("no weights named", edited()(lambda v: v["checkpoint"].pop("sha256")), "SHA-256 of its checkpoint"),
    Attack("weights of more epochs", edited()(later_epochs), "its checkpoint is of 8 epochs"),
    Attack("training of more epochs", training(epochs=800), "its training is of 800 epochs"),
    Attack("other training images", training(train_sha256="0" * 64), "its training images are 0000"),
    Attack("other test images", edited()(lambda v: v.update(test_sha256="0" * 64)), "its test images are 0000"),
    Attack("a weaker attack", edited()(protocol("fgsm-4", eps=0.5)), "fgsm-4 was evaluated with"),
    Attack("an attack without ε", edited()(protocol("fgsm-4", eps=None)), "fgsm-4 was evaluated with"),
    Attack("another suite's outcome", edited()(lambda v: v["outcomes"]["fgsm-4"].update(suite="clean")),
           "of suite fgsm"),
    Attack("versions of null", training(versions=None), "is not a record: training"),
    Attack("training that is a list", edited()(lambda v: v.update(training=[])), "is not a record: training"),
    Attack("threads as text", training(threads="1"), "is not a record: training"),
    Attack("more in the training than there is", training(secret=1), "is not a record: training"),
    Attack("an evaluation of null", edited()(lambda v: v.update(evaluated=[None])), "is not a record: evaluated"),
    Attack("a checkpoint of text", edited()(lambda v: v.update(checkpoint="x")), "is not a record: checkpoint"),
    Attack("a condition with a line in its name",
           edited()(lambda v: v["outcomes"].update({"a\n# b": v["outcomes"]["clean"]})), "is not a record: outcomes"),
    Attack("a key twice", replaced('"digest":', '"digest": "0", "digest":'), "stands twice"),
    Attack("a number beyond all", replaced('"seconds":', '"seconds": 1e999, "s":'), "1e999 is no number"),
    Attack("level 4 by hand", mark(4), "levels above 2 come from"),
    Attack("level true by hand", mark(True), "levels above 2 come from"),
    Attack("a statement of nobody", statement(listed=False), "who is not listed"),
    Attack("a statement with another key", statement(listed=True), "not signed with the key of someone"),
    Attack("a statement changed after it was signed", statement(listed=True, other_bytes=True),
           "not signed with the key"),
    Attack("a statement without a signature", put(f"{ROW}/verified-seed0.me.json", "{}"),
           "is not a maintainer's statement"),
    Attack("a cost of -5", ratio(-5), "is not a cost record"),
    Attack("a cost of 0.01", ratio(0.01), "is not a cost record"),
    Attack("a cost that is no number", ratio(float("nan")), "NaN is no number"),
    Attack("a cost of a baseline of 2", cost(lambda v: v["methods"]["baseline"].update(ratio=2, high=2)),
           "is not at 1"),
    Attack("costs of a list", cost(lambda v: v.update(methods=[])), "is not a cost record"),
    Attack("the cost of another network", cost(lambda v: v.update(model="small-w1")), "its model is small-w1"),
    Attack("the cost of nothing there", cost(lambda v: v["methods"].update(mine=v["methods"]["catchup"])),
           "mine is no row"),
    Attack("a record that is a link", linked, "it is a link"),
    Attack("a stray file", put("results/digits/notes.txt"), "it is a stray file"),
    Attack("a script beside a record", put(f"{ROW}/run.sh"), "it is a stray file"),
    Attack("a page of no board", put("best.md", "# All of ours are best\n"), "page of no board"),
    Attack("a mark of no record", put(f"{ROW}/verified-seed99.json", "{}"), "it is a stray file"),
    Attack("a board of nobody", put("results/nobody/a/b/seed0.json", "{}"), "unknown board"),
    Attack("bits of another run", bits_of_another, "it has the bits of baseline/seed1.json", "remark"),
    Attack("no error at all", edited()(all_right), "points below the best other seed", "remark"),
    Attack("errors that fall with severity", edited()(severities_turned_round), "falls from", "remark"),
]  # fmt: skip

HOSTILE = (
    "CPU\n\n# Owned\n\n| a | b |\n| :-- | --: |\n<script>alert(1)</script><!-- END boards --> [x](http://a.b) "
    + "y" * 300
)


def tried(attack: Attack, root: Path) -> str:
    """Try an attack on a fresh folder; return what got through, nothing when none did."""
    fresh(root)
    attack.change(root)
    said = list(answers(root))
    if any(kind == attack.kind and attack.words in text for kind, text in said):
        return ""
    return "; ".join(text for _, text in said) or "nothing was said"


def broken_page(root: Path) -> str:
    """Try to write into the pages through the name of a device; return what got through."""
    from catchup_bench.leaderboard.pages import make_pages, stale_pages, tables_of

    fresh(root)
    training(device=HOSTILE)(root)
    made = make_pages(root, tables_of(root, None))
    made.write()
    for path, text in made.files.items():
        if "<script" in text or "\n# Owned" in text or text.count("<!-- END boards -->") > 1 or "y" * 101 in text:
            return f"the name of a device writes into {path.relative_to(root)}"
    for _ in range(2):
        if stale := stale_pages(root):
            return f"the name of a device keeps {stale} from being checked"
    return ""


KIT_BOARD = BOARD.replace('suites = ["clean"]', 'suites = ["clean", "fgsm"]') + (
    '[[columns]]\nname = "fgsm err"\nconditions = ["fgsm-4"]\n'
)

READS = f'from pathlib import Path\n\nTABLE = (Path(__file__).parent / "table.txt").read_text()\n{MINE}'

SOCKET = f'import socket\n\nsocket.socket().bind(("127.0.0.1", 0))\n{MINE}'

LEAVES = "import sys\n\nsys.exit(0)\n" + MINE

PATCHES = "from catchup_bench.records import record\n\nrecord.Record.problems = lambda self: []\n" + MINE

LOOKS_UP = """
from dataclasses import dataclass
from catchup_bench.method import Mixup, soft_loss, one_hot


@dataclass(frozen=True, kw_only=True)
class Looks(Mixup):
    title, paper, year, level = "Looks", "none", 2026, "network"

    def bind(self, net):
        import torch
        from catchup_bench import data

        known = data.load("digits", "test")
        keys = {bytes(x.numpy().tobytes()): int(y) for x, y in zip(known.x, known.y)}
        original = net.forward

        def forward(x, start=0, stop=None):
            out = original(x, start, stop)
            if stop is None and not net.training:
                for i, image in enumerate((x * 255).round().byte().permute(0, 2, 3, 1).contiguous()):
                    label = keys.get(bytes(image.numpy().tobytes()))
                    if label is not None:
                        out[i, label] = 1e6
            return out

        net.forward = forward
        return self

    def loss(self, net, x, y, plan, gen):
        return soft_loss(net(x), one_hot(y, net.num_classes))
"""


def on_runs(folder: Path) -> Iterator[tuple[str, str]]:
    """Try what needs runs and methods, in a clone in ``folder``; yield each attack with what got through."""
    clone = Clone(folder, KIT_BOARD)
    shutil.copy(ROOT / "leaderboards" / "README.md", folder / "leaderboards")
    suites = ["--suite", "clean", "--suite", "fgsm"]
    for name, text in {"_mine": MINE, "reads": READS, "net": SOCKET, "looks": LOOKS_UP}.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "table.txt").write_text("a table\n")
    words = [["train", "--method", f"./{name}.py", *TRAIN] for name in ("mine", "_mine", "reads", "looks")]
    made = clone.call(["train", "--method", "baseline", *TRAIN], *words, ["evaluate", *suites])
    assert all(code == 0 for code, _ in made), made
    runs = {
        name: next((folder / "runs").glob(f"*-{name}-s0-*")) for name in ("baseline", "mine", "_mine", "reads", "looks")
    }

    shown = json.loads((runs["looks"] / "outcomes" / "clean.json").read_text())["outcome"]
    right = f"{shown['correct']} of {shown['n']} right"
    yield "an evaluation of a method that looks labels up", right * (shown["correct"] > 0.9 * shown["n"])
    (submitted,) = clone.call(["submit", str(runs["mine"])])
    assert submitted[0] == 0, submitted

    before = contents(folder)
    attempts = {
        "files in methods/ that begin with _": ["submit", str(runs["_mine"])],
        "table.txt": ["submit", str(runs["reads"])],
        "cost.json": ["submit", str(runs["mine"]), "--label", "cost.json"],
        "in case alone": ["submit", str(runs["mine"]), "--label", "Baseline"],
        "unknown board": ["submit", str(runs["mine"]), "--board", "../x.toml"],
        "may not use socket.": ["verify", "--method", "./net.py"],
        "may not open": ["verify", "--method", "./looks.py"],
    }
    for (words, command), (code, said) in zip(attempts.items(), clone.call(*attempts.values()), strict=True):
        yield " ".join(command), said * (code == 0 or words not in said)
    yield "a submission that is refused", "it has written something" * (contents(folder) != before)

    yield from on_level_2(clone, runs)

    record, method = clone.record("mine"), folder / "methods" / "mine.py"
    values = written_out(record)
    values["outcomes"]["clean"]["correct"] += 1
    kept = record.read_text()
    record.write_text(json.dumps(values))
    for name, text in {"leaves": LEAVES, "patches what judges it": PATCHES}.items():
        method.write_text(text)
        ((code, said),) = clone.call(["verify", "--all"])
        yield f"a method that {name} at import", said * (code == 0 or "its bits say" not in said)
    record.write_text(kept)


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def on_level_2(clone: Clone, runs: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Try what only an evaluation again, or the checkpoint's card, shows; yield as :func:`on_runs`."""
    from catchup_bench.system.files import file_digest

    record, folder = clone.record("mine"), runs["mine"]
    text, weights, said = record.read_text(), (folder / "last.safetensors").read_bytes(), folder / "training.json"
    facts = said.read_text()
    verify = ["verify", str(record), "--run", str(folder)]

    def attempt(name: str, words: str, command: list[str] = verify) -> Iterator[tuple[str, str]]:
        ((code, answer),) = clone.call(command)
        yield name, answer * (code == 0 or words not in answer)
        record.write_text(text)
        (folder / "last.safetensors").write_bytes(weights)
        said.write_text(facts)

    def change(edit: Callable[[Any], object]) -> None:
        values = written_out(record)
        edit(values)
        record.write_text(json.dumps(values))

    shutil.copy(runs["baseline"] / "last.safetensors", folder)
    digest = file_digest(folder / "last.safetensors")
    change(lambda values: values["checkpoint"].update(sha256=digest))
    yield from attempt("the weights of another method", "is of run")
    change(lambda values: values["outcomes"]["fgsm-4"].update(values={}))
    yield from attempt("values that are gone", "values.")
    change(lambda values: values["outcomes"]["fgsm-4"]["values"].update(loss=1e3))
    yield from attempt("other values", "values.loss")
    change(lambda values: values["training"].update(train_sha256="0" * 64))
    said.write_text(json.dumps(json.loads(facts) | {"train_sha256": "0" * 64}))
    yield from attempt("other training images", "training images are not those")
    yield from attempt("another run's folder", "is of run", ["verify", str(record), "--run", str(runs["baseline"])])

    def endless(values: Any) -> None:
        pgd = {"version": 1, "eps": 4.0, "step": 1.0, "steps": 10**9, "restarts": 1, "images": 0, "seed": 0}
        values["outcomes"]["pgd-4"] = values["outcomes"]["clean"] | {"suite": "pgd", "protocol": pgd}

    change(endless)
    alone = clone.folder / "alone.json"
    shutil.copy(record, alone)
    ((code, answer),) = clone.call(verify)
    yield "an attack of 10⁹ steps that no board asks for", answer * (code != 0 or "2 conditions" not in answer)
    yield from attempt("an attack of 10⁹ steps", "passes of the network", ["verify", str(alone), "--run", str(folder)])
    alone.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="attacks on records alone")
    options = parser.parse_args()
    results = []
    for attack in RECORDS:
        with tempfile.TemporaryDirectory() as folder:
            results.append((attack.name, tried(attack, Path(folder))))
    with tempfile.TemporaryDirectory() as folder:
        results.append(("a page", broken_page(Path(folder))))
    if not options.quick:
        with tempfile.TemporaryDirectory() as folder:
            results += on_runs(Path(folder))
    through = [f"{name}: {said}" for name, said in results if said]
    print("\n".join([*through, f"{len(results)} attacks; got through: {len(through) or 'nothing'}"]))
    return 1 if through else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as err:
        sys.exit(f"error: {err}")
