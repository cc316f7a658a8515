"""A bundle, and a model that it names, is data: nothing in it is run, nobody is asked, no path leads in or out of it.

``docs/decisions.md`` says how these tests are run against the oldest versions that the wheel allows.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import damage
import pytest
from fakes import toy_bundle, toy_task
from tiny_models import encoder_folder, nli_folder

from labelwright.bundle import files as bundle_files
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.cli import main
from labelwright.errors import BundleError, LabelwrightError, ModelError
from labelwright.models import names as model_names
from labelwright.models.weights import Adapter, Base, Full
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.predictors.store import save_predictor
from labelwright.predictors.zero_shot import Entailment, open_entailment, open_gliclass
from labelwright.prompt import Neighbours
from labelwright.reading import no_prompts
from labelwright.statistics.calibration import Calibration

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ("labelwright", "programs", "optimizers", "rewards", "baselines", "workbench", "bench")
# Whose loaders have no such setting: peft reads an adapter that the bundle's own checks have seen, model2vec
# safetensors and a tokenizer, datasets no scripts at all since 4.0. Alembic's is MLflow's own migrations.
NO_SETTING = {"PeftModel.from_pretrained", "StaticModel.from_pretrained", "ScriptDirectory.from_config"}
LOADERS = {"SentenceTransformer", "CrossEncoder", "SparseEncoder", "pipeline", "from_pretrained", "from_config"}


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(model_names, "_named", set())


def test_an_index_of_shards_leads_nowhere_else(tmp_path):
    for shard in ("../other/model.safetensors", "/dev/stdin", "absent.safetensors"):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        with pytest.raises(BundleError, match="is not a file of this folder"):
            bundle_files.refuse_code(tmp_path)
    (tmp_path / "one.safetensors").touch()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    bundle_files.refuse_code(tmp_path)


@pytest.mark.parametrize("name", ["minilm", "smollm2", "model2vec:minilm", "model2vec:"])
def test_a_packaged_name_is_no_way_to_a_folder_that_lies_here(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_names, "_named", set())
    (tmp_path / "minilm").mkdir()
    (tmp_path / "smollm2").mkdir()
    with pytest.raises(BundleError, match="is a path"):
        model_names.refuse_paths(name, "bundle.json")


def test_threads_that_open_models_leave_stdin_as_it_was():
    import sys
    import threading

    given, inside, done = sys.stdin, threading.Event(), threading.Event()

    def first():
        with no_prompts():
            inside.set()
            done.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with no_prompts():
        done.set()
        thread.join()
        assert sys.stdin.read() == ""
    assert sys.stdin is given


# ----------------------------------------------------------------------------------------------- what our code asks for


def untrusting(call: ast.Call) -> bool:
    given = {word.arg: word.value for word in call.keywords}
    value = given.get("trust_remote_code")
    return isinstance(value, ast.Constant) and value.value is False


def loaders(tree: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [one for one in calls if ast.unparse(one.func).split(".")[-1] in LOADERS]


@pytest.mark.parametrize("package", SHIPPED)
def test_every_loader_is_told_aloud_not_to_run_code(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in source, path
        for call in loaders(ast.parse(source)):
            name = ast.unparse(call.func)
            assert untrusting(call) or name in NO_SETTING, f"{path}, line {call.lineno}: {name}"


def test_a_loader_that_is_not_told_would_be_noticed():
    (told, untold, asked) = loaders(
        ast.parse(
            "A.from_pretrained(x, trust_remote_code=False); A.from_pretrained(x); pipeline(trust_remote_code=None)"
        )
    )
    assert (untrusting(told), untrusting(untold), untrusting(asked)) == (True, False, False)


def test_nothing_can_be_asked_while_libraries_load(monkeypatch):
    with no_prompts(), pytest.raises(EOFError):
        input("run code? ")
    assert sys.stdin is not None


# ----------------------------------------------------------------------------------------------- what a bundle may name


def with_code(folder: Path, marker: Path) -> Path:
    """A model's folder whose configuration names a class in a file beside it, which would make a marker."""
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: ...\n")
    for name in ("config.json", "tokenizer_config.json"):
        about = json.loads((folder / name).read_text())
        classes = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoModelForCausalLM")
        about["auto_map"] = dict.fromkeys(classes, "modeling_evil.Evil") | {
            "AutoTokenizer": ["modeling_evil.Evil", "modeling_evil.Evil"]
        }
        if name == "config.json":
            about["model_type"] = "evil"
        (folder / name).write_text(json.dumps(about))
    return folder


def zero_shot_bundle(folder: Path, model: str) -> Path:
    save_predictor(Entailment("some/nli", list(toy_task().names)), toy_task().names, folder / "trained")
    save(predictor_bundle(toy_task(), "nli", folder / "trained", Calibration()), folder / "b")
    about = folder / "b" / "predictor" / "zero_shot.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"model": model}))
    damage.rehash(folder / "b")
    return folder / "b"


def test_a_row_that_says_y_is_no_consent(tmp_path):
    """The folder that zero_shot.json names lies in the bundle, and the rows on stdin say y."""
    marker = tmp_path / "made"
    bundle = zero_shot_bundle(tmp_path, "predictor")
    inside = with_code(nli_folder(tmp_path / "nli"), marker)
    for path in inside.iterdir():
        path.rename(bundle / "predictor" / path.name)
    damage.rehash(bundle)
    command = [sys.executable, "-m", "labelwright.cli", "predict", ".", "-"]
    done = subprocess.run(
        command,
        cwd=bundle,
        input="y\n" * 40,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert not marker.exists()


@pytest.mark.parametrize("prefix", ["", "model2vec:"])
@pytest.mark.parametrize("name", ["/etc", "../nli", "./nli", "~/nli", "a/../../nli", "mine/nli", "nli", "C:\\nli", ""])
def test_a_bundle_names_no_paths(tmp_path, monkeypatch, capsys, name, prefix):
    (tmp_path / "here" / "mine" / "nli").mkdir(parents=True)
    (tmp_path / "here" / "nli").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    bundle = zero_shot_bundle(tmp_path, prefix + name)
    assert main(["predict", str(bundle), "x"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert repr(prefix + name) in said or not name


def named_in(part: str, name: str, folder: Path) -> Path:
    bundle = toy_bundle()
    if part == "base":
        bundle = replace(bundle, weights=Base(name))
    else:
        neighbours = Neighbours((("a pool", "pool"), ("a fence", "fence")), 1, name)
        bundle = replace(bundle, prompt=replace(bundle.prompt, neighbours=neighbours))
    save(bundle, folder / "b")
    return folder / "b"


@pytest.mark.parametrize("part", ["base", "neighbours"])
def test_a_folder_counts_where_the_reader_named_it(tmp_path, monkeypatch, part):
    folder = tmp_path / "mine"
    folder.mkdir()
    bundle = named_in(part, str(folder), tmp_path)
    loaded = load(bundle)
    model_names._named.clear()
    with pytest.raises(BundleError, match=rf"'{folder}' is a path.*set LABELWRIGHT_LOCAL_MODELS={folder}"):
        load(bundle)
    monkeypatch.setenv(model_names.VARIABLE, os.pathsep.join(["/elsewhere", str(folder)]))
    assert load(bundle) == loaded
    monkeypatch.delenv(model_names.VARIABLE)
    model_names.allow_folders_in({"model": {"name": str(folder)}, "steps": [1, "no folder"]})
    assert load(bundle) == loaded
    assert model_names._named == {str(folder)}


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "smollm2", "gpt-4.1-mini", "accounts/x/models/y"])
def test_ids_and_packaged_names_are_no_paths(tmp_path, name):
    bundle = named_in("base", name, tmp_path)
    model_names._named.clear()
    assert load(bundle).weights.base == name


# ------------------------------------------------------------------------------------------- what its files may ask for


def full_bundle(folder: Path) -> Path:
    from tiny import tiny_model_folder

    save(replace(toy_bundle(), weights=Full("smollm2", tiny_model_folder(folder / "m"))), folder / "b")
    return folder / "b"


def adapter_bundle(folder: Path) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    (folder / "a").mkdir()
    (folder / "a" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    save_file({"a": np.zeros(3, np.float32)}, folder / "a" / "adapter_model.safetensors")
    save(replace(toy_bundle(), weights=Adapter("smollm2", folder / "a")), folder / "b")
    return folder / "b"


@pytest.mark.parametrize(
    ("make", "file", "asks"),
    [
        (full_bundle, "model/config.json", {"auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}),
        (full_bundle, "model/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Evil", None]}}),
        (full_bundle, "model/config.json", {"attn_implementation": "someone/kernel"}),
        (full_bundle, "model/config.json", {"_attn_implementation": {"text": "someone/kernel@main"}}),
        (full_bundle, "model/config.json", {"text_config": {"_attn_implementation_internal": "someone/kernel"}}),
        (full_bundle, "model/generation_config.json", {"custom_generate": "someone/generate"}),
        (adapter_bundle, "adapter/adapter_config.json", {"auto_mapping": {"parent_library": "evil"}}),
        (adapter_bundle, "adapter/adapter_config.json", {"megatron_config": {"a": 1}, "megatron_core": "evil"}),
        (adapter_bundle, "adapter/adapter_config.json", {"megatron_core": "evil"}),
        (adapter_bundle, "adapter/adapter_config.json", {"peft_type": "XLORA"}),
    ],
)
def test_a_file_that_asks_for_code_is_not_opened(tmp_path, make: Callable[[Path], Path], file, asks):
    bundle = make(tmp_path)
    assert load(bundle)
    about = json.loads((bundle / file).read_text()) if (bundle / file).is_file() else {}
    (bundle / file).write_text(json.dumps(about | asks))
    damage.rehash(bundle)
    with pytest.raises(BundleError, match=Path(file).name) as caught:
        load(bundle)
    assert "\n" not in str(caught.value)


def test_a_word_of_a_vocabulary_asks_for_nothing(tmp_path):
    bundle = full_bundle(tmp_path)
    path = bundle / "model" / "tokenizer.json"
    about = json.loads(path.read_text())
    about["model"]["vocab"]["auto_map"] = 9999
    path.write_text(json.dumps(about))
    damage.rehash(bundle)
    assert load(bundle)


def test_what_a_base_model_had_of_its_own_code_is_left_behind(tmp_path):
    from tiny import tiny_model_folder

    folder = tiny_model_folder(tmp_path / "m")
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | {"auto_map": {"AutoModel": "modeling.Own"}}))
    save(replace(toy_bundle(), weights=Full("smollm2", folder)), tmp_path / "b")
    assert json.loads((tmp_path / "b" / "model" / "config.json").read_text()) == about


# ------------------------------------------------------------------------------------- what the libraries are kept from


@pytest.mark.parametrize("open_model", [open_entailment, open_encoder, open_gliclass])
def test_a_models_own_code_is_not_run(tmp_path, monkeypatch, open_model):
    """As a model of the hub may be, which a bundle names by its id."""
    marker = tmp_path / "made"
    folder = with_code(nli_folder(tmp_path / "nli"), marker)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    open_model.cache_clear()
    with pytest.raises(ModelError) as caught:
        open_model(str(folder))
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("module", ["modeling_evil.Evil", "evil_package.Evil", "subprocess.Popen"])
def test_a_sentence_encoders_modules_are_its_librarys(tmp_path, monkeypatch, module):
    """modules.json names classes by their import path."""
    marker = tmp_path / "made"
    folder = encoder_folder(tmp_path / "bert")
    for place in (folder / "modeling_evil.py", tmp_path / "evil_package.py"):
        place.write_text(
            f"open({str(marker)!r}, 'w').close()\nclass Evil:\n    @classmethod\n    def load(cls, *_, **__): ...\n"
        )
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": module}]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    open_encoder.cache_clear()
    with pytest.raises(LabelwrightError):
        open_encoder(str(folder))
    assert not marker.exists()


def test_an_adapter_imports_nothing(tmp_path, monkeypatch):
    """peft would import the module that an adapter's configuration names, before 0.20."""
    from peft import LoraConfig, get_peft_model
    from tiny import tiny_model, tiny_model_folder

    from labelwright.models.loading import load_model

    marker = tmp_path / "made"
    base = tiny_model_folder(tmp_path / "base")
    settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(tiny_model(vocab_size=400), settings).save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    asks = {"megatron_config": {"a": 1}, "megatron_core": "evil_core"}
    path.write_text(json.dumps(json.loads(path.read_text()) | asks))
    (tmp_path / "evil_core.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever the versions raise)
        load_model(Adapter(str(base), tmp_path / "a"), "cpu", "float32")
    assert not marker.exists()
