"""Levels above 2, what a submission may not change, and how a method is kept from networks and images."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from catchup_bench import boards
from catchup_bench.cli.options import READER_GONE, command
from catchup_bench.errors import UsageError, VerificationFailed
from catchup_bench.records.record import Outcome, Record, read_record, write_record
from catchup_bench.records.results_folder import read_marks, strays
from catchup_bench.runs.build import build, evaluation_net
from catchup_bench.runs.make import make_run
from catchup_bench.verification import retraining
from catchup_bench.verification.all_records import find_problems
from catchup_bench.verification.isolated import check_isolated, refuse
from catchup_bench.verification.record import Verdict, keep_level, verify_record
from catchup_bench.verification.since import find_changes
from catchup_bench.verification.stored_values import differing_values
from tests.boards.test_board import TOML
from tests.support.clone import MINE
from tests.untrusted import kit

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")


def listed(root: Path, *names: str) -> dict[str, Path]:
    """Make keys for maintainers, list them, and return the private ones."""
    keys, lines = {}, []
    for name in names:
        keys[name] = root / f"key-{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys[name])], check=True, timeout=60)
        public = keys[name].with_suffix(".pub").read_text().rsplit(" ", 1)[0]
        lines.append(f'[[maintainers]]\nname = "{name}"\nkey = "{public}"\n')
    (root / "leaderboards" / "verifiers.toml").write_text("".join(lines))
    return keys


@pytest.fixture
def root(tmp_path: Path) -> Path:
    kit.fresh(tmp_path)
    return tmp_path


def trained_again(
    monkeypatch: pytest.MonkeyPatch, path: Path, outcomes: dict[str, Outcome], weights: str = "1"
) -> None:
    """Let any folder be that of the run of the record at ``path``, with other weights and these ``outcomes``."""
    again = read_record(path).model_copy(update={"checkpoint": {"sha256": "1", "epoch": 20}, "outcomes": outcomes})
    monkeypatch.setattr(retraining, "collect_record", lambda folder: again)


@needs_ssh_keygen
def test_one_maintainer_makes_level_3_and_a_second_level_4(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / kit.SETUP / "catchup" / "seed0.json"
    keep_level(path, Verdict(2, 106, {}))
    assert read_marks(path) == (2, [])
    keys = listed(root, "first", "second")
    trained_again(monkeypatch, path, read_record(path.with_name("seed1.json")).outcomes)
    for level, name in ((3, "first"), (3, "first"), (4, "second")):
        retraining.state(path, root, name, keys[name])
        assert read_marks(path) == (level, [])
    assert [text for kind, text in kit.answers(root) if kind == "problem"] == []
    write_record(read_record(path).model_copy(update={"evaluated": []}), path)
    assert read_marks(path).level == 1 and len(read_marks(path).problems) == 3


def test_one_record_is_told_what_all_are(root: Path) -> None:
    path = root / kit.SETUP / "catchup" / "seed0.json"
    keep_level(path, Verdict(2, 106, {}))
    record = read_record(path)
    write_record(record.model_copy(update={"training": {**record.training, "epochs": 1}}), path)
    texts = [text for file, text in find_problems(root) if file == path]
    assert len(texts) == 2 and "its training is of 1 epochs" in texts[0] and "it was changed after" in texts[1]
    with pytest.raises(VerificationFailed) as err:
        verify_record(path, None, torch.device("cpu"))
    assert str(err.value) == f"{path}: {texts[0]}"


@needs_ssh_keygen
def test_what_is_signed_must_agree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / kit.SETUP / "catchup" / "seed0.json"
    keys, record = listed(root, "first", "second"), read_record(path)
    worse = {c: Outcome.of(np.zeros(o.n, bool), o.suite, o.protocol, o.values) for c, o in record.outcomes.items()}
    trained_again(monkeypatch, path, worse)
    with pytest.raises(VerificationFailed, match=r"trained again 100\.00 %"):
        retraining.state(path, root, "first", keys["first"])
    trained_again(monkeypatch, path, {"clean": record.outcomes["clean"]})
    with pytest.raises(UsageError, match="lacks 105 conditions"):
        retraining.state(path, root, "first", keys["first"])
    trained_again(monkeypatch, path, record.outcomes)
    with pytest.raises(UsageError, match="nobody is not listed"):
        retraining.state(path, root, "nobody", keys["first"])
    with pytest.raises(UsageError, match="is not signed with the key of first"):
        retraining.state(path, root, "first", keys["second"])
    assert read_marks(path).level < 3 and not list(path.parent.glob("verified-seed0.*.json*"))
    (path.with_name("seed3.json")).unlink()
    with pytest.raises(UsageError, match="2 other seeds, too few"):
        retraining.state(path, root, "first", keys["first"])


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_a_submission_adds_and_changes_nothing_else(root: Path) -> None:
    listed(root, "first") if shutil.which("ssh-keygen") else None
    row = root / kit.SETUP / "catchup"
    aside = (row / "seed3.json").read_bytes()
    (row / "seed3.json").unlink()
    (row / "verified-seed3.json").unlink(missing_ok=True)
    for words in (["init", "-q"], ["add", "leaderboards"], ["commit", "-qm", "base"]):
        git(root, *words)
    (row / "seed3.json").write_bytes(aside)
    assert list(find_changes(root, "HEAD")) == [], "a new record is what a submission adds"
    write_record(read_record(row / "seed1.json").model_copy(update={"evaluated": []}), row / "seed1.json")
    (row / "seed2.json").unlink()
    (row / "verified-seed3.json").write_text("{}")
    (row / "seed3.html").write_text("<script>")
    (root / "leaderboards" / "verifiers.toml").write_text("maintainers = []\n# mine\n")
    git(root, "add", "-N", str(row / "verified-seed3.json"))
    said = {path.name: text for path, text in find_changes(root, "HEAD")}
    assert said.keys() == {"seed1.json", "seed2.json", "seed3.html", "verified-seed3.json", "verifiers.toml"}
    with pytest.raises(UsageError, match="git knows no such commit"):
        list(find_changes(root, "--output=x"))


def test_a_report_beside_its_record_is_no_stray(root: Path) -> None:
    row = root / kit.SETUP / "catchup"
    for name in ("seed1.html", "seed1.npz", "seed99.html"):
        (row / name).write_text("")
    assert [path.name for path, _ in strays(root)] == ["seed99.html"]


def test_values_are_compared_as_closely_as_arithmetic_allows() -> None:
    stated = {"loss": 2.0, "random_sign_error": 1.0, "zero_gradients": 3, "suspicious": ["a 1 %"], "points": [1.0] * 40}
    assert differing_values(stated, stated, 800) == []
    near = stated | {"loss": 2.01, "random_sign_error": 1.1, "zero_gradients": 4, "suspicious": ["a 2 %"]}
    near["points"] = [1.0] * 39 + [9.0]
    assert differing_values(stated, near, 800) == []
    for key, other in {
        "loss": 2.1, "random_sign_error": 1.3, "zero_gradients": 5, "suspicious": [], "points": [1.0] * 37 + [9.0] * 3
    }.items():  # fmt: skip
        assert differing_values(stated, stated | {key: other}, 800) == [key]
    assert differing_values(stated, {}, 800) == sorted(stated)


@pytest.mark.parametrize("method", ["shakedrop", "stochdepth", "dropblock", "catchup"])
def test_the_evaluated_network_is_the_plain_one_to_the_bit(method: str) -> None:
    run = make_run(method, width=4)
    bound, _ = build(run, torch.device("cpu"))
    gen = torch.Generator().manual_seed(0)
    for module in bound.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(generator=gen)
            module.weight.data.uniform_(0.5, 1.5, generator=gen)
    plain = evaluation_net(run, torch.device("cpu"))
    plain.load_state_dict({k: v for k, v in bound.state_dict().items() if not k.startswith("extra.")})
    x = torch.rand(8, 3, 16, 16, generator=gen)
    with torch.inference_mode():
        assert torch.equal(bound.eval()(x), plain.eval()(x))
    assert all(type(m).__module__.startswith(("torch.", "catchup_bench.models.")) for m in plain.modules())


def test_a_branch_that_looks_at_its_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "looks.py").write_text(
        MINE.replace('"input"', '"network"') + "\n    def bind(self, net):\n        import torch\n"
        "        class Looks(torch.nn.Module):\n            def forward(self, h):\n"
        "                return h + torch.arange(h.shape[1]).view(1, -1, 1, 1)\n"
        "        [m for m in net.modules() if hasattr(m, 'drop')][0].drop = Looks()\n        return self\n"
    )
    with pytest.raises(UsageError, match="looks cannot be evaluated: in evaluation a residual branch may be scaled"):
        evaluation_net(make_run(str(tmp_path / "looks.py"), width=4), torch.device("cpu"))


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("socket.connect", ()), ("socket.__new__", ()), ("subprocess.Popen", ()), ("os.system", ()), ("os.fork", ()),
        ("open", ("digits.csv.gz", "rb", 0)), ("open", ("a.py", "w", 0)), ("open", (b"a.npy", None, 0)),
        ("open", ("a.py", None, 1)),
    ],
)  # fmt: skip
def test_what_a_method_has_no_business_with_is_refused(event: str, args: tuple[object, ...]) -> None:
    with pytest.raises(PermissionError, match="a method may not"):
        refuse(event, args)
    refuse("open", ("a.py", "r", 0))
    refuse("import", ("torch",))


def test_a_contract_is_checked_alone(tmp_path: Path) -> None:
    """In one process, whose answer names what was refused at import, in the words of its file."""
    (tmp_path / "net.py").write_text(kit.SOCKET)
    with pytest.raises(UsageError, match=r"net\.py failed at import: PermissionError: a method may not use socket\."):
        check_isolated(str(tmp_path / "net.py"))


def test_absurd_boards_are_refused_with_the_count(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(TOML.replace("seeds = [0, 1]", f"seeds = {list(range(50_000))}"))
    with pytest.raises(UsageError, match=r"150,000 runs; a board takes at most 100,000"):
        boards.load(str(path))


@pytest.mark.parametrize("label", ["cost.json", "NUL", "com1.x", "a."])
def test_rows_that_could_be_files_are_refused(tmp_path: Path, label: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TOML.replace('label = "catchup-no-input"', f'label = "{label}"'))
    with pytest.raises(UsageError, match="rows and setups are folders beside files"):
        boards.load(str(path))


def test_rows_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TOML.replace('label = "catchup-no-input"', 'label = "Catchup"'))
    with pytest.raises(UsageError, match="more than case"):
        boards.load(str(path))


def test_a_reader_that_has_gone_is_no_traceback_and_no_success() -> None:
    import typer
    from typer.testing import CliRunner

    app = typer.Typer()

    @command(app)
    def prints() -> None:
        raise BrokenPipeError

    assert CliRunner().invoke(app, []).exit_code == READER_GONE


def test_a_summary_that_is_no_summary_is_one_line(tmp_path: Path, trained_run: Path) -> None:
    from catchup_bench.records.outcomes import collect_record

    folder = tmp_path / trained_run.name
    shutil.copytree(trained_run, folder)
    (folder / "evaluation.json").write_text('{"checkpoint": {"sha256": "0"}, "test_sha256": "0"}')
    assert isinstance(collect_record(folder), Record)
    for text in ("[]", '{"versions": null}', "null", '{"epochs": -1}'):
        (folder / "training.json").write_text(text)
        with pytest.raises(UsageError, match=r"gives no record: training|is not a training summary"):
            collect_record(folder)
