"""Finding, describing and loading NeMo models; most of it without NeMo."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from speech.engines import nemo_parakeet, nemo_runtime, nemo_sortformer
from speech.engines.protocols import EngineChoice
from speech.errors import EngineUnavailable
from tests.speech.engines.conftest import MODELS

SORTFORMER = MODELS / "sortformer_tiny.nemo"
PARAKEET = MODELS / "parakeet_tdt_tiny.nemo"


def test_describing_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from speech.engines import registry\n"
        "from speech.engines.protocols import EngineChoice\n"
        f"registry.describe_diarizer(EngineChoice.parse('nemo:{SORTFORMER}'))\n"
        "registry.describe_transcriber(EngineChoice.parse('nemo'))\n"
        "print(sorted({'torch', 'nemo', 'librosa', 'huggingface_hub'} & set(sys.modules)))\n"
    )
    assert _python(script).stdout == "[]\n"


@pytest.mark.parametrize(
    ("model", "is_hub"),
    [
        ("nvidia/parakeet-tdt-0.6b-v3", True),
        ("someone/finetuned.v2", True),
        ("models/parakeet.nemo", False),
        ("/models/parakeet.nemo", False),
        ("parakeet", False),
        (str(SORTFORMER), False),
    ],
)
def test_hub_name_or_path(model: str, is_hub: bool):
    assert nemo_runtime.is_hub_name(model) is is_hub


def test_the_same_file_elsewhere_is_the_same_revision(tmp_path):
    copy = shutil.copy(SORTFORMER, tmp_path / "renamed.nemo")
    assert nemo_runtime.model_revision(str(copy)) == nemo_runtime.model_revision(str(SORTFORMER))
    here, there = (nemo_sortformer.describe(EngineChoice("nemo", str(path))) for path in (SORTFORMER, copy))
    assert (here.fingerprint, here.revision) == (there.fingerprint, there.revision)
    assert len(here.revision) == 16


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("model_config.yaml", lambda content: content.replace(b"num_spks: 4", b"num_spks: 3")),
        ("model_weights.ckpt", lambda content: content[:-1] + b"!"),
        ("model_weights.ckpt", lambda content: b"!" + content[1:]),
        ("model_weights.ckpt", lambda content: content + b"!"),
    ],
)
def test_another_state_of_the_model_is_another_revision(member: str, change, tmp_path):
    changed = _rewritten(SORTFORMER, tmp_path / "changed.nemo", member, change)
    assert nemo_runtime.model_revision(str(changed)) != nemo_runtime.model_revision(str(SORTFORMER))


def test_a_changed_file_is_read_again(tmp_path):
    path = Path(shutil.copy(SORTFORMER, tmp_path / "model.nemo"))
    before = nemo_runtime.model_revision(str(path))
    shutil.copy(PARAKEET, path)
    assert nemo_runtime.model_revision(str(path)) != before


def test_a_model_that_is_not_there_can_be_described():
    assert nemo_sortformer.describe(EngineChoice("nemo", "/no/such.nemo")).revision == "absent"


def test_a_hub_model_has_the_commit_of_its_snapshot(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    name = nemo_sortformer.DEFAULT_MODEL
    assert nemo_sortformer.describe(EngineChoice("nemo")).revision == f"{name}@hub"
    ref = tmp_path / "models--nvidia--diar_streaming_sortformer_4spk-v2" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text("0123abc\n")
    assert nemo_sortformer.describe(EngineChoice("nemo")).revision == f"{name}@0123abc"


# What cannot load says so in a paragraph, before anything heavy is imported where that is possible


def test_a_path_that_leads_nowhere():
    with pytest.raises(
        EngineUnavailable, match=r"'/no/such.nemo' does not exist. Give the path of a .nemo file, or a hub"
    ):
        nemo_sortformer.load(EngineChoice("nemo", "/no/such.nemo"), "cpu")


def test_a_folder(tmp_path):
    with pytest.raises(EngineUnavailable, match="is a folder"):
        nemo_parakeet.load(EngineChoice("nemo", str(tmp_path)), "cpu")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", SORTFORMER.read_bytes()[:100_000]])
def test_a_file_that_is_no_archive(content: bytes, tmp_path):
    path = tmp_path / "download.nemo"
    path.write_bytes(content)
    with pytest.raises(EngineUnavailable, match=r"is no .nemo archive .* Fetch it again|is a model of no known class"):
        nemo_sortformer.load(EngineChoice("nemo", str(path)), "cpu")


def test_a_model_of_another_class():
    with pytest.raises(
        EngineUnavailable, match=r"is a EncDecRNNTBPEModel; this engine needs a SortformerEncLabelModel"
    ):
        nemo_sortformer.load(EngineChoice("nemo", str(PARAKEET)), "cpu")


@pytest.mark.skipif(find_spec("nemo") is not None, reason="NeMo is installed")
def test_without_nemo():
    with pytest.raises(EngineUnavailable, match=r"needs NeMo, which is not installed .* pip install 'podlake\[nemo\]'"):
        nemo_sortformer.load(EngineChoice("nemo", str(SORTFORMER)), "cpu")


@pytest.mark.nemo
def test_damaged_weights(tmp_path):
    damaged = _rewritten(SORTFORMER, tmp_path / "damaged.nemo", "model_weights.ckpt", lambda content: content[:1000])
    with pytest.raises(EngineUnavailable, match=r"could not be loaded: .* fetch it again"):
        nemo_sortformer.load(EngineChoice("nemo", str(damaged)), "cpu")


@pytest.mark.nemo
def test_a_gpu_that_is_not_there():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineUnavailable, match=r"run on cuda:0, but torch .* sees no GPU"):
        nemo_sortformer.load(EngineChoice("nemo", str(SORTFORMER)), "cuda:0")


@pytest.mark.nemo
def test_no_network_and_loading_makes_no_noise(tmp_path):
    """In a fresh process, so that the imports are part of it: two models loaded, one not to be had, not a word on stderr."""
    script = (
        "import logging, os, warnings\n"
        "from speech.engines import registry\n"
        "from speech.engines.protocols import EngineChoice\n"
        "from speech.errors import EngineUnavailable\n"
        "before = os.getcwd(), warnings.showwarning\n"
        f"registry.load_diarizer(EngineChoice.parse('nemo:{SORTFORMER}'), 'cpu').close()\n"
        f"registry.load_transcriber(EngineChoice.parse('nemo:{PARAKEET}'), 'cpu').close()\n"
        "assert (os.getcwd(), warnings.showwarning) == before\n"
        "kept = [h for h in logging.getLogger('nemo_logger').handlers if 'Memory' in type(h).__name__]\n"
        "assert not kept, kept\n"
        "try:\n"
        "    registry.load_diarizer(EngineChoice.parse('nemo'), 'cpu')\n"
        "except EngineUnavailable as error:\n"
        "    print(error)\n"
    )
    done = _python(script, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert "'nvidia/diar_streaming_sortformer_4spk-v2' is not in the local cache" in done.stdout
    assert "give its path instead: nemo:/path/to/diar_streaming_sortformer_4spk-v2.nemo" in done.stdout
    assert done.stderr == ""


def _python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root, **environment}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _rewritten(source: Path, target: Path, member: str, change) -> Path:
    """A copy of an archive with one member changed."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for info in old:
            content = old.extractfile(info).read() if info.isfile() else b""
            if info.name.endswith(member):
                assert change(content) != content
                content = change(content)
                info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return target
