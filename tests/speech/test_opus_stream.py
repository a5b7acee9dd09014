"""Streams of Opus in WebM: what FFmpeg reads of them, and that parts join without a seam and at the right times."""

from __future__ import annotations

import io
import math
from pathlib import Path

import av
import numpy as np
import pytest

from speech.decoding import decode_to_wav
from speech.opus_stream import PART_MS, ClusterEncoder, encode_part, samples_from
from speech.webm import CLUSTER_MS, SAMPLE_RATE_HZ, Cluster, read_clusters, webm_cluster, webm_header

DEMO = Path(__file__).parents[2] / "demo" / "audio"
RAIN, BREAD, GARDEN = (
    DEMO / "the-sound-of-rain.flac",
    DEMO / "bread-takes-its-time.mp3",
    DEMO / "a-garden-on-the-roof.opus",
)


def decoded(clusters: list[Cluster]) -> tuple[float, np.ndarray]:
    """The time of the first sample, and the samples, as FFmpeg plays them."""
    with av.open(io.BytesIO(webm_header() + b"".join(one.content for one in clusters))) as file:
        frames = list(file.decode(audio=0))
    assert frames[0].time is not None
    return frames[0].time, np.concatenate([frame.to_ndarray()[0] for frame in frames])


def shift_ms(samples: np.ndarray, reference: np.ndarray, at_s: float) -> float:
    """How much later than in the reference the sound at a time is."""
    at = round(at_s * SAMPLE_RATE_HZ)
    heard, wanted = samples[at : at + 24_000], reference[at - 960 : at + 24_960]
    return (960 - int(np.argmax(np.correlate(wanted, heard, "valid")))) / 48


@pytest.fixture(scope="module")
def rain() -> list[Cluster]:
    return [one for index in range(5) for one in encode_part(RAIN, index)]


def test_clusters_begin_every_half_second_and_are_read_back(rain: list[Cluster]) -> None:
    assert [one.start_ms for one in rain] == [CLUSTER_MS * index for index in range(len(rain))]
    assert list(read_clusters(b"".join(one.content for one in rain))) == rain
    assert list(read_clusters(b"")) == []
    with pytest.raises(ValueError, match="no cluster at byte 0"):
        list(read_clusters(b"RIFF"))
    with pytest.raises(ValueError, match="not complete"):
        list(read_clusters(rain[0].content[:-1]))


def test_times_of_long_streams_fit_into_a_cluster() -> None:
    day_ms = 24 * 3_600_000
    assert [one.start_ms for one in read_clusters(webm_cluster(day_ms, [b"\xfc\xff\xfe"]).content)] == [day_ms]


def test_the_stream_plays_as_long_as_its_source(rain: list[Cluster]) -> None:
    start_s, samples = decoded(rain)
    source = np.concatenate(list(samples_from(RAIN, 0)))
    assert start_s == 0
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(len(source) / SAMPLE_RATE_HZ, abs=0.03)


def test_a_listener_who_joins_late_hears_the_right_time(rain: list[Cluster]) -> None:
    start_s, samples = decoded(rain[45:])
    _, whole = decoded(rain)
    assert start_s == 22.5
    assert shift_ms(np.pad(samples, (round(22.5 * SAMPLE_RATE_HZ), 0)), whole, 25) == 0


@pytest.mark.parametrize("path", [BREAD, RAIN, GARDEN], ids=lambda path: path.suffix)
def test_parts_are_at_their_times_without_a_seam(path: Path) -> None:
    part_s = PART_MS / 1000
    source = np.concatenate(list(samples_from(path, 0)))
    _, samples = decoded(encode_part(path, 0) + encode_part(path, 1))
    for at_s in (part_s / 2, part_s - 0.3, part_s, part_s + 3):
        assert shift_ms(samples, source, at_s) == pytest.approx(0, abs=0.03)  # a sample
    # What is lost by the codec is no more at the seam than elsewhere.
    at = PART_MS * 48
    lost = np.abs(samples[: len(source)] - source[: len(samples)])
    assert lost[at - 960 : at + 960].mean() < 3 * max(lost.mean(), 1e-4)


def test_the_waveform_has_the_same_times(tmp_path: Path) -> None:
    """It stands for sources in which audio is lost, whose own times cannot be trusted."""
    decode_to_wav(BREAD, tmp_path / "bread.wav")
    sought, waveform = (np.concatenate(list(samples_from(path, 20_000))) for path in (BREAD, tmp_path / "bread.wav"))
    assert len(sought) == pytest.approx(len(waveform), abs=48)
    assert shift_ms(waveform, sought, 5) == 0


def test_nothing_is_behind_the_end() -> None:
    assert len(encode_part(RAIN, 4)) == math.ceil((43.4935 - 40) / 0.5)
    assert encode_part(RAIN, 5) == []
    assert encode_part(RAIN, 90) == []


def test_clusters_come_while_the_samples_do() -> None:
    sound = np.concatenate(list(samples_from(RAIN, 0)))[: 2 * SAMPLE_RATE_HZ]
    encoder = ClusterEncoder()
    counts, clusters = [], []
    for at in range(0, len(sound), 5_000):
        new = encoder.encode(sound[at : at + 5_000])
        counts.append(len(new))
        clusters += new
    assert sum(counts) == 4
    assert max(counts) == 1
    clusters += encoder.finish()
    start_s, samples = decoded(clusters)
    assert start_s == 0
    assert len(samples) == pytest.approx(len(sound), abs=2 * 960)
    assert shift_ms(samples, sound, 1) == 0
