"""`podlake podcast|lesson|video forget` leaves no byte in the home and in the databases, and the others as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.stages import LESSON_GRAPH, PODCAST_GRAPH, STAGES, VIDEO_GRAPH
from dagster_project.build_resources import build_resources
from dagster_project.cli import main
from dagster_project.instance import open_instance
from dagster_project.lessons import LESSON_TAG, statuses
from dagster_project.settings import Settings
from partitions.definitions import LESSONS, PODCASTS, VIDEOS, add_keys
from pipeline.records import land_failure
from pipeline.run_keys import key_tags
from pipeline.stage import Failure
from resources.lake.compaction import seal
from resources.lake.lake import Lake
from resources.lake.tables import SCRIPTS
from resources.lake.tables.lessons import LESSON_TRANSLATIONS
from resources.studio.feed import write_feed
from resources.studio.ledger import Asked, Limits
from resources.studio.lessons import NewLesson
from resources.studio.publishing import DubbedFile
from resources.studio.video_ledger import AskedVideo, VideoLimits
from speech.engines.translation_cache import TranslationCache
from speech.errors import NetworkError
from tests.landings import land_failed_try, land_stage
from tests.lessons import publish

WORDS = ("secret", "public")
SHA256 = {"secret": "5e" * 32, "public": "9b" * 32}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))


def test_a_podcast_goes_with_its_request_files_and_rows(tmp_path: Path) -> None:
    resources = build_resources(Settings())
    lake, files, ledger = resources["lake"], resources["studio_files"], resources["ledger"]
    keys = []
    for word in WORDS:
        answer = ledger.admit(
            Asked("ana", f"[S1] {word} words", f"{word} title"), Limits(at_once=9, per_day=9), lambda _own: []
        )
        keys.append(key := answer.podcast_id)
        _land_podcast(lake, key, word)
        files.publish(key, f"{key}.mp3", word.encode())
        files.publish(key, f"{key}/0000.wav", word.encode())
        _write(files.line(key, 0, word), word)
        _write(tmp_path / f"home/waveforms/{SHA256[word]}.wav", f"{word} words")
    list(seal(lake, set(keys)))
    for key, word in zip(keys, WORDS, strict=True):
        _land_podcast(lake, key, word)
    write_feed(lake, files, resources["podcast_feed"])
    secret, public = keys
    _in_dagster(tmp_path, PODCASTS, keys)
    assert len(_holding(tmp_path, secret)) > 15

    done = _forget("podcast", secret, "--yes")
    home = tmp_path / "home"
    assert done.output.startswith(f"{secret}: its request, rows and runs, and 2 files of 0.0 MB:\n  {home}/podcasts/20")
    assert done.output.endswith("Removed.\n")
    assert _holding(tmp_path, secret) == _holding(tmp_path, "secret words") == _holding(tmp_path, "secret title") == []
    assert not (tmp_path / f"home/waveforms/{SHA256['secret']}.wav").exists()
    assert (tmp_path / f"home/waveforms/{SHA256['public']}.wav").exists()
    assert [row.title for row in lake.rows(SCRIPTS, public)] == ["public title"]
    assert files.read(f"{'/'.join((public.split('-')[-2][:4], public.split('-')[-2][4:6]))}/{public}.mp3") == b"public"
    assert ledger.request(public).title == "public title"
    assert "public title" in files.read("feed.xml").decode()
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("podcasts") == [public]
    again = _forget("podcast", secret, "--yes")
    assert f"There is no requested podcast {secret}." in again.output


def test_a_lesson_goes_with_everything_that_was_made_of_it(tmp_path: Path) -> None:
    resources = build_resources(Settings())
    lake, files, ledger = resources["lake"], resources["lesson_files"], resources["lesson_ledger"]
    keys = []
    for word in WORDS:
        new = NewLesson(f"{word} title", "en", "es", "ana", "biology")
        keys.append(key := ledger.new_key(new))
        ledger.add(key, new, files.write(key, "source.mp4", word.encode()))
        publish(lake, ledger, key, _lesson_rows(key, word, "older"))
        land_failure(lake, STAGES["translation"], Failure(key, NetworkError(f"{word} words")), "run")
        land_failed_try(lake, "translation", key)
        for name in ("lines/00000.wav", "dubbed.es.mp4", "target.vtt"):
            files.write(key, name, f"{word} words".encode())
        _write(files.made(key, 0, word), f"{word} words")
        TranslationCache(resources["translators"].cache).of(key).put("ab" * 32, f"{word} words translated")
        for sha256 in (SHA256[word], SHA256[word][::-1]):
            _write(tmp_path / f"home/waveforms/{sha256}.wav", f"{word} words")
        dub, lines = _write(tmp_path / "dub.mp4", f"{word} words"), _write(tmp_path / "es.srt", f"{word} words")
        resources["publisher"].publish(DubbedFile(key, word, "biology", "es", dub, "f" * 64, (("es", lines),)))
        dub.unlink()
        lines.unlink()
        ledger.note_upload(key, "f" * 64, f"kinescope-{word}", "https://uploads.test/1")
    # What earlier versions kept does not say whose it is.
    TranslationCache(resources["translators"].cache).put("cd" * 32, "secret words of an earlier version")
    list(seal(lake, set(keys)))
    for key, word in zip(keys, WORDS, strict=True):
        publish(lake, ledger, key, _lesson_rows(key, word, "newer"))
    secret, public = keys
    _in_dagster(tmp_path, LESSONS, keys, LESSON_TAG)
    before = _content(tmp_path)
    assert len(_holding(tmp_path, secret)) > 60

    planned = _forget("lesson", secret, "--dry-run")
    assert f"{secret}: its request, rows and runs, and 6 files of 0.0 MB:" in planned.output
    assert (
        "".join(f"  {tmp_path}/home/published/biology/{secret}.es.{end}\n" for end in ("mp4", "srt")) in planned.output
    )
    assert "Not removed, do it there: the video kinescope-secret on Kinescope" in planned.output
    assert "Aborted!" in _forget("lesson", secret, answer="n\n").output
    assert _content(tmp_path) == before

    assert _forget("lesson", secret, answer="y\n").output.endswith("Removed.\n")
    assert _holding(tmp_path, secret) == _holding(tmp_path, "secret") == []
    assert sorted(path.name for path in (tmp_path / "home/waveforms").iterdir()) == sorted(
        f"{sha256}.wav" for sha256 in (SHA256["public"], SHA256["public"][::-1])
    )
    assert [row.text for row in lake.rows(LESSON_TRANSLATIONS, public)] == ["newer public words"]
    assert TranslationCache(resources["translators"].cache).of(public).get("ab" * 32) == "public words translated"
    assert len(files.stored(public)) == 4
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("lessons") == [public]
        (status,) = statuses(instance, lake, ledger, ledger.lessons())
        assert (status.lesson.lesson_id, status.state) == (public, "published")
        assert [run.tags[LESSON_TAG] for run in instance.get_runs()] == [public]
    assert f"There is no requested lesson {secret}." in _forget("lesson", secret, "--yes").output


def test_a_video_goes_with_its_uploads_and_files_on_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice, face = tmp_path / "voice", tmp_path / "face"
    device = {
        "name": "gpu0", "speech_url": "http://127.0.0.1:9/a", "video_url": "http://127.0.0.1:9/b",
        "speech_folder": str(voice), "video_folder": str(face),
    }  # fmt: skip
    monkeypatch.setenv("PODLAKE_HEAD_DEVICES", json.dumps([device]))
    resources = build_resources(Settings())
    lake, files, ledger = resources["lake"], resources["video_files"], resources["video_ledger"]
    leases = resources["head_devices"].leases
    shared = files.keep_upload(_write(tmp_path / "shared.mp4", "of both"), ".mp4").name
    keys = []
    for word in WORDS:
        voice_upload = files.keep_upload(_write(tmp_path / f"{word}.wav", f"{word} voice"), ".wav").name
        (tmp_path / f"{word}.wav").unlink()
        asked = AskedVideo("ana", f"{word} words", f"{word} title", video_upload=shared, audio_upload=voice_upload)
        answer = ledger.admit(asked, VideoLimits(9, 9), lambda _own: [], has_devices=True)
        keys.append(key := answer.video_id)
        _land_video(lake, key, word)
        files.publish(key, "speech.wav", _write(files.scratch(key, "speech.wav"), f"{word} words"))
        files.publish(key, f"{key}.mp4", _write(files.scratch(key, "made.mp4"), f"{word} words"))
        task = leases.give(key, "gpu0", SHA256[word])
        leases.end(task.code, json.dumps({"data": {"msg": f"{word} words"}}))
        _write(voice / f"podlake-{key}.wav", f"{word} words")
        for name in (f"podlake-{task.code}.wav", f"podlake-{task.code}.mp4", f"{task.code}-r.mp4"):
            _write(face / "temp" / name, f"{word} words")
    list(seal(lake, set(keys)))
    for key, word in zip(keys, WORDS, strict=True):
        _land_video(lake, key, word)
    secret, public = keys
    _in_dagster(tmp_path, VIDEOS, keys)
    before = _content(tmp_path)
    assert len(_holding(tmp_path, secret)) > 15

    assert f"  {voice}/podlake-{secret}.wav\n" in _forget("video", secret, "--dry-run").output
    assert _content(tmp_path) == before
    assert _forget("video", secret, "--yes").output.endswith("Removed.\n")
    assert _holding(tmp_path, secret) == _holding(tmp_path, "secret") == []
    assert files.has_upload(shared)
    assert len(list(files.uploads())) == 2
    assert len(files.stored(public)) == 2
    assert ledger.request(public).text == "public words"
    assert len([*voice.iterdir(), *(face / "temp").iterdir()]) == 4
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("videos") == [public]


def test_what_a_run_works_on_is_not_removed(tmp_path: Path) -> None:
    resources = build_resources(Settings())
    ledger = resources["lesson_ledger"]
    new = NewLesson("A title", "en", "es", "ana")
    key = ledger.add(ledger.new_key(new), new, None).lesson_id
    with open_instance(Settings()) as instance:
        run = instance.create_run_for_job(_nothing, tags={LESSON_TAG: key})
        refused = _forget("lesson", key, "--yes")
        assert f"A run makes {key}. Wait until it ends, or `podlake lesson cancel {key}`." in refused.output
        assert ledger.lesson(key).cancelled_at is None
        instance.report_run_failed(run)
    assert _forget("lesson", key, "--yes").output.endswith("Removed.\n")
    assert _holding(tmp_path, key) == []


@dg.job
def _nothing() -> None: ...


def _forget(kind: str, key: str, *options: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, [kind, "forget", key, *options], input=answer)


def _in_dagster(
    folder: Path, partitions: dg.DynamicPartitionsDefinition, keys: list[str], tag: str = "podlake/other"
) -> None:  # fmt: skip
    """Partitions, and a run of each that says its words in events and on its standard error."""
    with open_instance(Settings()) as instance:
        add_keys(instance, partitions, keys)
        for key, word in zip(keys, WORDS, strict=True):
            run = instance.create_run_for_job(_nothing, tags={**key_tags([key]), tag: key})
            instance.report_engine_event(f"The {word} words.", run)
            instance.report_runless_asset_event(dg.AssetMaterialization("any", partition=key, metadata={"text": word}))
            instance.report_run_failed(run)
            _write(folder / "dagster" / "storage" / run.run_id / "compute_logs" / "a.err", f"{word} words\n")


def _land_podcast(lake: Lake, key: str, word: str) -> None:
    rows = {
        "scripts": [{"title": f"{word} title", "script": f"{word} words", "language": "en"}],
        "podcast_audio": [{"mp3_sha256": SHA256[word]}],
    }
    for stage in PODCAST_GRAPH:
        land_stage(lake, stage.name, key, {table.name: rows.get(table.name, [{}]) for table in stage.tables})


def _land_video(lake: Lake, key: str, word: str) -> None:
    rows = {"speech_texts": [{"title": f"{word} title", "text": f"{word} words", "spoken_text": f"{word} words"}]}
    for stage in VIDEO_GRAPH:
        land_stage(lake, stage.name, key, {table.name: rows.get(table.name, [{}]) for table in stage.tables})


def _lesson_rows(key: str, word: str, age: str) -> dict[str, list[dict[str, Any]]]:
    assert "published_video" in LESSON_GRAPH.names
    return {
        "lessons": [{"title": f"{word} title", "course": "biology", "source_sha256": SHA256[word]}],
        "lesson_words": [{"word": word}], "lesson_sentences": [{"text": f"{age} {word} words"}],
        "lesson_translations": [{"text": f"{age} {word} words"}], "dub_audio": [{"sha256": SHA256[word][::-1]}],
        "published_videos": [{"service": "folder", "location": f"/nowhere/biology/{key}.es.mp4"}],
    }  # fmt: skip


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _content(folder: Path) -> dict[Path, bytes]:
    """All files but databases and what a reader of them writes."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not re.search(r"\.(db|duckdb|version)\b", path.name)
    }


def _holding(folder: Path, text: str) -> list[Path]:
    """The files and folders that have the text in their names or content; Parquet decoded."""
    found = []
    for path in folder.rglob("*"):
        content = str(path.relative_to(folder)).encode()
        if path.is_file():
            content += path.read_bytes()
            if path.suffix == ".parquet":
                content += str(pq.ParquetFile(path).read().to_pylist()).encode()
        if text.encode() in content:
            found.append(path)
    return sorted(found)
