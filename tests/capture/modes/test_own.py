"""Modes of one's own: the page's example in every execution, its predictions, and the sentence for each that fails."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.points import points
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.measuring.execution import prepare
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import own, start
from ridgeline.capture.recording.run_directory import difference, unfinished
from ridgeline.capture.steps import schedule
from ridgeline.capture.sweep import sweep
from ridgeline.capture.sweep.bench import Bench
from tests.capture.benches import PLACE
from tests.capture.conftest import SMALL
from tests.capture.quick import quicken

PAGE = Path(own.__file__).with_name("README.md")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's example."""
    folder = tmp_path_factory.mktemp("mine")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example.startswith("# greedy_blocks.py")
    assert sum(bool(line) for line in example.splitlines()) <= 30
    (folder / "greedy_blocks.py").write_text(example)
    return folder


def make_point(folder: Path, mode: str = "greedy_blocks:Start", **keys: Any) -> Point:
    (point,) = points({**SMALL, "model": "tiny-llada", "block": 4, "mode": mode, **keys}, folder=folder)
    return point


def decoded(decoder: Decoder, point: Point, device: torch.device, execution: str) -> torch.Tensor:
    prepared = prepare(start(decoder, point, Labels()), device, execution=execution, progress=lambda _: None)
    generation = prepared.runner.generation
    for step in generation.steps:
        prepared.runner.run(step)
    assert generation.committed == point.batch * point.generated_tokens
    return generation.canvas.tokens.clone()


def test_the_example_decodes_what_a_plain_forward_chooses(folder: Path, llada: Decoder) -> None:
    """The cache holds every block as it was forwarded, as masks: one forward over prompt and masks has all logits."""
    tokens = decoded(llada, make_point(folder, batch=2), CPU, "eager")
    forwarded = tokens.clone()
    forwarded[:, 16:] = llada.shape.mask_id
    blocks = torch.cat([torch.arange(16), torch.arange(16, 28) // 4 * 4 + 3])  # the last position that a row sees
    logits = llada.forward(forwarded, llada.positions[:28], View(mask=torch.arange(28)[None] <= blocks[:, None]))
    assert torch.equal(tokens[:, 16:], logits[:, 16:].argmax(-1))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.exhaustive)])
@torch._inductor.config.patch(compile_threads=1)  # no processes that import torch
def test_the_example_compiles_as_one_function(
    folder: Path, llada: Decoder, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.compile
    plain: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
    monkeypatch.setattr(torch, "compile", lambda work, **_: real(work, **plain))
    torch.compiler.reset()
    point = make_point(folder)
    with llada.shallower(1):
        assert torch.equal(decoded(llada, point, CPU, "compile"), decoded(llada, point, CPU, "eager"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("execution", ["cuda_graph", "compile"])
def test_the_example_replays_from_graphs(folder: Path, execution: str) -> None:
    from ridgeline.capture.configuration.presets import PRESETS
    from ridgeline.capture.decoder.decoder import random_decoder

    cuda = torch.device("cuda")
    decoder = random_decoder(PRESETS["tiny-llada"], torch.float32, cuda, capacity=28, seed=1)
    torch.compiler.reset()
    point = make_point(folder, device="cuda")
    assert torch.equal(decoded(decoder, point, cuda, execution), decoded(decoder, point, cuda, "eager"))


def test_the_example_is_captured_analyzed_and_summarized_under_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ridgeline

    quicken(monkeypatch)
    point = make_point(folder, layers=1)
    (result,) = sweep.run([point], tmp_path, isolate=False)
    assert (result.outcome, result.message, result.weights_bytes_per_s) == ("ok", None, None)
    assert result.name == "tiny-llada_greedy_blocks.Start_p16_g12_b1_block4_layers1_fp32_eager"
    record = json.loads((result.path / "run.json").read_text())
    assert (record["config"]["mode"], record["tokens"]["committed"]) == ("greedy_blocks:Start", 12)
    assert [step["kind"] for step in record["window"]] == ["prefill", "guess", "guess"]
    assert record["config"]["mode_sha256"] == hashlib.sha256((folder / "greedy_blocks.py").read_bytes()).hexdigest()
    assert str(folder) not in (result.path / "run.json").read_text()
    ridgeline.analyze(result.path, tmp_path / "mine.duckdb")
    with ridgeline.connect(tmp_path / "mine.duckdb") as connection:
        summary = connection.execute("SELECT mode FROM mode_summary").fetchall()
        kinds = connection.execute("SELECT kind FROM step_summary ORDER BY step").fetchall()
    assert summary == [("greedy_blocks:Start",)]
    assert kinds == [("prefill",), ("guess",), ("guess",)]


def test_a_mode_that_changed_is_another_configuration(tmp_path: Path) -> None:
    (tmp_path / "package_that_changes").mkdir()
    file = tmp_path / "package_that_changes" / "__init__.py"
    file.write_text("def Start(decoder, point, labels): return 1\n")
    record = unfinished(make_point(tmp_path, "package_that_changes:Start"), PLACE.environment)
    assert difference(record, make_point(tmp_path, "package_that_changes:Start"), "cpu") is None
    file.write_text("def Start(decoder, point, labels): return 2\n")
    changed = difference(record, make_point(tmp_path, "package_that_changes:Start"), "cpu")
    assert changed is not None
    assert changed.startswith("mode_sha256 = ")


def test_a_plan_has_the_weights_and_the_least_of_the_schedule(folder: Path) -> None:
    (described,) = sweep.describe([make_point(folder)])
    (known,) = sweep.describe([make_point(folder, "dlm_block_causal")])
    assert described.footprint.weights_bytes == known.footprint.weights_bytes
    assert described.footprint.cache_bytes == 0
    assert 0 < (described.seconds or 0) < (known.seconds or 0)
    assert described.note == "greedy_blocks:Start: memory is predicted without its cache"


def test_a_plan_without_a_schedule_says_so(tmp_path: Path) -> None:
    (tmp_path / "unplanned.py").write_text("def begin(decoder, point, labels):\n    return None\n")
    (described,) = sweep.describe([make_point(tmp_path, "unplanned:begin")])
    assert (described.seconds, described.footprint.activations_bytes) == (None, 0)
    assert described.note == (
        "unplanned:begin has no schedule(point): of memory the weights are predicted, of time nothing"
    )


BROKEN: list[tuple[str, str, str]] = [
    ("missing_one", "", "there is no module missing_one; expected missing_one.py beside the configuration, or on "),
    ("raises", "1 / 0", "raises raised ZeroDivisionError: division by zero; expected a module to import."),
    ("exits", "import sys\nsys.exit(3)", "exits raised SystemExit: 3; expected a module to import."),
    ("lacks", "import no_such", "lacks raised ModuleNotFoundError: No module named 'no_such'; expected a module"),
    ("typo", "class Stort: ...", "typo has no Start; expected a class or a function (nearest: Stort)."),
    ("number", "Start = 3", " is an int; expected a class or a function."),
    ("two", "def Start(decoder, point): ...", " takes (decoder, point); expected three arguments: decoder, point and "),
    ("json", "def Start(*_): ...", "a module json from elsewhere is loaded already; expected a name that no other "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_a_broken_module_is_refused_before_anything_runs(tmp_path: Path, name: str, text: str, message: str) -> None:
    if text:
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError) as refused:
        Bench().places([make_point(tmp_path, f"{name}:Start")], lambda _: None)
    assert str(refused.value).startswith(f'mode = "{name}:Start"')
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


STEP = 'Step(phase="decode", kind="decode", index={}, query={}, context={}, tokens=1)'


@pytest.mark.parametrize(
    ("name", "returned", "message"),
    [
        ("nothing", "None", "has steps that are a NoneType; expected a list of one or more Step."),
        ("no_steps", "[]", "has steps that are a list; expected a list of one or more Step."),
        ("numbers", f"[{STEP.format(1, 1, 4)}]", ": step 0 has index = 1; expected steps numbered from 0."),
        (
            "long",
            f"[{STEP.format(0, 5, 4)}]",
            ": step 0 has query = 5 and context = 4; expected 1 <= query <= context.",
        ),
        ("fails", "1 / 0", ": schedule(point) raised ZeroDivisionError: division by zero."),
    ],
)
def test_a_wrong_schedule_is_refused(tmp_path: Path, name: str, returned: str, message: str) -> None:
    (tmp_path / f"schedule_{name}.py").write_text(
        "from ridgeline.capture.modes.generation import Generation\nfrom ridgeline.capture.steps import Step\n\n"
        f"class Start(Generation):\n    @staticmethod\n    def schedule(point):\n        return {returned}\n"
    )
    with pytest.raises(ConfigError) as refused:
        sweep.describe([make_point(tmp_path, f"schedule_{name}:Start")])
    start = f'mode = "schedule_{name}:Start"{"" if message[0] == ":" else " "}{message}'
    assert str(refused.value).startswith(start)


def test_an_object_that_is_no_generation_is_refused(tmp_path: Path, llada: Decoder) -> None:
    (tmp_path / "partial_one.py").write_text("class Start:\n    def __init__(self, *_): self.steps = []\n")
    with pytest.raises(ConfigError) as refused:
        start(llada, make_point(tmp_path, "partial_one:Start"), Labels())
    assert str(refused.value) == (
        'mode = "partial_one:Start" returned a Start without reset, place, work, learn, finished, cache_bytes, '
        "logits_bytes, committed; expected a Generation: see capture/modes/README.md."
    )


def test_a_class_without_a_schedule_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inherits.py").write_text(
        "from ridgeline.capture.modes.dlm_block_dual import DualCacheDiffusion as Start\n"
    )
    with pytest.raises(ConfigError, match=r"^mode inherits:Start has no schedule; expected a static method schedule"):
        sweep.describe([make_point(tmp_path, "inherits:Start")])


def test_the_steps_of_a_built_in_mode_can_be_taken(folder: Path) -> None:
    point = make_point(folder, steps=12)
    (dual,) = points({**SMALL, "model": "tiny-llada", "mode": "dlm_block_dual", "block": 4})
    assert schedule(point, "dlm_block_dual") == schedule(dual)


@pytest.mark.parametrize("mode", ["a b:Start", "mine:", ":Start", "a:b:c", "a..b:Start", "mine:Start.x"])
def test_a_mode_that_names_nothing_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ConfigError, match=r"^configuration: mode = .*; expected one of ar, dlm_full, "):
        make_point(tmp_path, mode)


def test_the_folder_of_the_configuration_comes_first_and_leaves_no_path(tmp_path: Path) -> None:
    import sys

    before = list(sys.path)
    package = tmp_path / "package_of_mine" / "deep"
    package.mkdir(parents=True)
    (package / "helper_of_mine.py").write_text("NAME = 'near'\n")
    (package / "mode.py").write_text(
        "from package_of_mine.deep.helper_of_mine import NAME\ndef Start(decoder, point, labels): return NAME\n"
    )
    assert own.load("package_of_mine.deep.mode:Start", str(tmp_path))(None, None, None) == "near"
    assert sys.path == before
