"""`podlake doctor`: checks versions, engines, data folder and Dagster, and says what to install or correct."""

from __future__ import annotations

import shutil
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version

from packaging.requirements import Requirement

from dagster_project.build_resources import chosen_diarizer, chosen_transcribers
from dagster_project.settings import ROOT, Settings
from resources.engines.devices import Devices, visible
from resources.lake.home import Home
from resources.lake.migration import VERSION, version_of
from speech.engines import hosts, registry
from speech.engines.installed import answer_of
from speech.engines.protocols import EngineSpec
from speech.errors import EngineUnavailable, StorageError

OK, DOUBT, BAD = "✓", "!", "✗"

UI_PORT = 3000
SHOWN = ("podlake", "dagster", "duckdb", "pyarrow", "av")
"""Packages whose versions a bug report needs."""
FEW_GB, TOO_FEW_GB = 20.0, 2.0
"""An hour of audio takes 60 MB as fetched and 115 MB as a waveform."""


VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for package in sys.argv[1:]:
    try:
        print(package, version(package))
    except PackageNotFoundError:
        pass
"""
GPU_CHECKS = {
    "torch": "import torch; print(torch.cuda.is_available())",
    "ctranslate2": (
        "import ctypes, ctranslate2; [ctypes.CDLL(name) for name in ('libcublas.so.12', 'libcudnn.so.9')];"
        "print(ctranslate2.get_cuda_device_count() > 0)"
    ),
}
"""Package that uses the GPU → script that prints `True` where it can. Run by the Python of the engine."""
GPU_REMEDIES = {
    "torch": "Install the torch that fits the driver's CUDA version.",
    "ctranslate2": (
        "Install CUDA 12 and cuDNN 9 where the loader finds them: pip install nvidia-cublas-cu12 nvidia-cudnn-cu12, "
        "and add their folders `lib` to LD_LIBRARY_PATH."
    ),
}


@dataclass(frozen=True)
class Finding:
    """The result of a check and, unless it is OK, what to do."""

    mark: str
    subject: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f"\n    → {self.mend}" if self.mend else ""
        return f"{self.mark} {self.subject}: {self.found}{mend}"


def findings(settings: Settings) -> Iterator[Finding]:
    """All checks, the most important first."""
    yield _python()
    yield Finding(OK, "versions", ", ".join(f"{name} {found}" for name, found in _versions(SHOWN, None).items()))
    yield from _packages("the core", "")
    yield from _engines(settings)
    yield _warm()
    if settings.engine_host == "ray":
        yield from _ray(settings.ray_address)
    yield _home(Home.at(settings.home))
    yield _lake(Home.at(settings.home))
    yield _disk(settings)
    yield _dagster(settings)
    yield _port()


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding(OK, "Python", found)
    return Finding(BAD, "Python", found, "Use Python 3.11, 3.12 or 3.13: make clean; make PYTHON=python3.11 demo")


def _packages(subject: str, extra: str, python: str | None = None) -> Iterator[Finding]:
    """The packages that podlake, or one of its extras, requires, in this Python or another one."""
    name = f"podlake[{extra}]" if extra else "podlake"
    where = f" in {python}" if python else ""
    try:
        unmet = _unmet(extra, python)
    except PackageNotFoundError:
        yield Finding(DOUBT, subject, "podlake is imported but not installed", _install("embedded"))
        return
    if unmet:
        yield Finding(BAD, subject, f"{name} lacks {'; '.join(unmet)}{where}", _install(extra, python))
    else:
        yield Finding(OK, subject, f"has the packages of {name}{where}")


def _install(extra: str, python: str | None = None) -> str:
    """The command that installs podlake with an extra, from the checkout if this is one."""
    pip = f"{python} -m pip" if python else "pip"
    source = "-e '." if (ROOT / "pyproject.toml").exists() else "'podlake"
    return f"{pip} install {source}{f'[{extra}]' if extra else ''}'"


def _unmet(extra: str, python: str | None) -> list[str]:
    requirements = [Requirement(text) for text in metadata("podlake").get_all("Requires-Dist") or ()]
    wanted = [one for one in requirements if (one.marker.evaluate({"extra": extra}) if one.marker else not extra)]
    versions = _versions([one.name for one in wanted], python)
    return [f"{one.name}{one.specifier} ({found})" for one in wanted if (found := _lacking(one, versions))]


def _lacking(requirement: Requirement, versions: Mapping[str, str]) -> str | None:
    """What is wrong with a required package; None if it fits."""
    found = versions.get(requirement.name)
    if found is None:
        return "not installed"
    return None if requirement.specifier.contains(found, prereleases=True) else f"{found} is installed"


def _versions(packages: Sequence[str], python: str | None) -> dict[str, str]:
    """The versions of those packages that are installed, in this Python or another one."""
    if python:
        return dict(line.split() for line in answer_of(python, VERSIONS, *packages).splitlines())
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _engines(settings: Settings) -> Iterator[Finding]:
    """The chosen engines, and the devices for those that need a GPU."""
    chosen = [("diarizer", registry.describe_diarizer, chosen_diarizer(settings))]
    for language, choice in chosen_transcribers(settings).items():
        chosen.append((f"transcriber for {_language(language)}", registry.describe_transcriber, choice))
    on_gpus = []  # interpreter and package of the engines that gain from a GPU
    for subject, describe, choice in chosen:
        try:
            spec = describe(choice)
        except (EngineUnavailable, ImportError) as error:
            yield Finding(BAD, subject, f"{choice.name} cannot be used", str(error))
            continue
        python = choice.options.get("python")
        yield from _engine(subject, spec, python)
        if spec.needs_gpu:
            on_gpus.append((python or sys.executable, spec.gpu_package))
    yield from _devices(settings, on_gpus)


def _language(language: str) -> str:
    return "every language" if language == "*" else language


def _engine(subject: str, spec: EngineSpec, python: str | None) -> Iterator[Finding]:
    """Its packages (the extra with its name, else `embedded`) and its weights, without loading them."""
    extras = metadata("podlake").get_all("Provides-Extra") or ()
    yield from _packages(f"{subject}, {spec.name}", spec.name if spec.name in extras else "embedded", python)
    weights = f"{subject}, weights"
    if spec.revision == "absent":
        yield Finding(
            BAD,
            weights,
            f"{spec.model or 'none chosen'} is not there",
            f"Set the engine as {spec.name}:/path/to/its/model.",
        )
    elif spec.revision.endswith("@hub"):
        yield Finding(
            DOUBT, weights, f"{spec.model} is not in the local cache", "The first run downloads it from the model hub."
        )
    else:
        yield Finding(OK, weights, f"{spec.model} ({spec.revision})")


def _devices(settings: Settings, on_gpus: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """The devices, and whether the interpreter and package of each engine that wants one can use it."""
    devices = Devices(visible(settings.gpus))
    if not devices.names:
        if not on_gpus:
            yield Finding(OK, "GPU", "none, and the chosen engines want none")
            return
        yield Finding(
            DOUBT, "GPU", f"none (PODLAKE_GPUS={settings.gpus})",
            "The chosen engines run on the CPU, slowly. Check the driver (nvidia-smi), or choose others.",
        )  # fmt: skip
        return
    held = [f"{name} is held by process {process}" for name, process in devices.holders().items()]
    found = ", ".join([*devices.names, *held])
    unusable = [
        Finding(BAD, "GPU", f"{found}, which {package} cannot use in {python}", GPU_REMEDIES[package])
        for python, package in dict.fromkeys(on_gpus)
        if answer_of(python, GPU_CHECKS[package]).strip() != "True"
    ]
    yield from unusable or [Finding(OK, "GPU", found)]


def _warm() -> Finding:
    """The host processes of engines."""
    found = [
        f"process {one['pid']} on {one['device']} ({', '.join(engine['name'] for engine in one['engines']) or 'no engine'})"
        for one in hosts.statuses()
    ]
    return Finding(OK, "warm engines", "; ".join(found) or "none")


def _ray(address: str) -> Iterator[Finding]:
    """The package `ray`, and the cluster."""
    packages = list(_packages("Ray", "ray"))
    yield from packages
    if any(finding.mark == BAD for finding in packages):
        return
    import ray

    from resources.engines.ray_cluster import connect

    try:
        connect(address)
        nodes, gpus = sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources().get("GPU", 0.0)
        yield Finding(OK, "Ray cluster", f"{address} answers: nodes {nodes}, GPUs {gpus:g}")
    except EngineUnavailable as error:
        yield Finding(BAD, "Ray cluster", f"{address} cannot be joined", str(error))
    finally:
        ray.shutdown()


def _lake(home: Home) -> Finding:
    version = version_of(home)
    if version < VERSION:
        return Finding(OK, "lake", f"format {version}; the next run migrates it to format {VERSION}")
    if version > VERSION:
        return Finding(BAD, "lake", f"format {version}; this podlake reads up to {VERSION}", "Upgrade podlake.")
    return Finding(OK, "lake", f"format {version}")


def _home(home: Home) -> Finding:
    """Writes a file as a landing does: under another name, synced, renamed."""
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        with home.writing(name) as stream:
            stream.write(b"podlake")
        whole = home.read(name) == b"podlake"
        home.remove(name)
    except (StorageError, OSError) as error:
        return Finding(BAD, "data", f"{home.uri} is not writable", f"{error}")
    if not whole:
        return Finding(BAD, "data", f"{home.uri} returns other bytes than were written", "Use another disk.")
    return Finding(OK, "data", f"{home.uri} is writable; files appear whole")


def _disk(settings: Settings) -> Finding:
    folder = settings.cache_folder
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:.0f} GB free for audio, waveforms and tables in {settings.cache_folder}"
    mark = BAD if free_gb < TOO_FEW_GB else DOUBT if free_gb < FEW_GB else OK
    mend = (
        ""
        if mark == OK
        else "Free disk space, set PODLAKE_HOME or PODLAKE_CACHE to a larger disk, or lower PODLAKE_CACHE_GB."
    )
    return Finding(mark, "disk", found, mend)


def _dagster(settings: Settings) -> Finding:
    from dagster_project.instance import open_instance, prepare_home

    try:
        home = prepare_home(settings)
        with open_instance(settings) as instance:
            n_runs = instance.get_runs_count()
    except Exception as error:  # noqa: BLE001 - any error means that the instance cannot be used
        return Finding(
            BAD, "Dagster", f"the instance does not open ({type(error).__name__})", " ".join(str(error).split())[:500]
        )
    return Finding(OK, "Dagster", f"DAGSTER_HOME={home}, {n_runs} runs")


def _port() -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", UI_PORT))
        except OSError as error:
            return Finding(
                DOUBT, "web UI", f"port {UI_PORT} cannot be used: {error.strerror}",
                f"Unless podlake's UI uses it: podlake ui --port {UI_PORT + 1}",
            )  # fmt: skip
    return Finding(OK, "web UI", f"port {UI_PORT} is free")
