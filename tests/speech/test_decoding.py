from __future__ import annotations

import hashlib
import wave
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech.decoding import DecodeReport, decode_to_wav
from speech.errors import NotAudio, StorageError, Undecodable
from speech.types import mapped_samples

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.fixture
def decoded(tmp_path: Path):
    def decode(name: str) -> tuple[DecodeReport, np.ndarray]:
        report = decode_to_wav(AUDIO / name, tmp_path / "out.wav")
        return report, mapped_samples(tmp_path / "out.wav")

    return decode


def burst_ms(samples: np.ndarray) -> float:
    """Where the loud burst begins that every recording has at 3.0 s; damage before 2.85 s may be loud, too."""
    start = 2_850 * 16
    return (start + int(np.argmax(np.abs(samples[start:].astype(int)) > 9_000))) / 16


@pytest.mark.parametrize(
    ("name", "container", "codec", "rate_hz", "stated_ms", "duration_ms"),
    [
        ("cbr.mp3", "mp3", "mp3", 44_100, 4_049, 4_000),
        ("vbr.mp3", "mp3", "mp3", 44_100, 4_049, 4_000),
        ("tone.m4a", "mp4", "aac", 44_100, 4_000, 4_017),
        ("faststart.m4a", "mp4", "aac", 44_100, 4_000, 4_017),
        ("m4a_named.mp3", "mp4", "aac", 44_100, 4_000, 4_017),
        ("video.mp4", "mp4", "aac", 44_100, 4_000, 4_017),
        ("tone.opus", "ogg", "opus", 48_000, 4_006, 4_000),
        ("tone.webm", "webm", "opus", 48_000, 4_008, 4_000),
        ("tone.flac", "flac", "flac", 8_000, 4_000, 4_000),
    ],
)
def test_decodes_every_container_onto_the_same_timeline(
    decoded, name, container, codec, rate_hz, stated_ms, duration_ms
):
    report, samples = decoded(name)
    assert (report.container, report.codec, report.sample_rate_hz, report.channels) == (container, codec, rate_hz, 1)
    assert (report.duration_header_ms, report.duration_ms) == (stated_ms, duration_ms)
    assert (report.decode_errors, report.lost_ms, report.format_changes, report.truncated) == (0, 0, 0, False)
    assert burst_ms(samples) == pytest.approx(3_000, abs=0.2)


def test_hashes_exactly_the_samples_that_are_written(decoded):
    report, samples = decoded("cbr.mp3")
    assert report.pcm16k_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()
    assert report.duration_ms == round(len(samples) / 16)
    assert report.peak_dbfs == pytest.approx(20 * np.log10(np.abs(samples.astype(int)).max() / 32_768), abs=0.005)


def test_writes_a_plain_wav(tmp_path):
    decode_to_wav(AUDIO / "cbr.mp3", tmp_path / "out.wav")
    with wave.open(str(tmp_path / "out.wav")) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth(), wav.getnframes()) == (16_000, 1, 2, 64_000)
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_states_no_duration_where_ffmpeg_would_only_estimate_one(decoded):
    assert decoded("vbr_no_xing.mp3")[0].duration_header_ms is None
    assert decoded("tone.aac")[0].duration_header_ms is None
    assert not decoded("vbr_no_xing.mp3")[0].truncated


def test_mixes_stereo_to_the_mean_of_both_channels(decoded):
    report, samples = decoded("stereo.wav")
    assert report.channels == 2
    with wave.open(str(AUDIO / "stereo.wav")) as wav:
        left = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")[::2]
    assert samples.std() == pytest.approx(left.std() / 2, rel=0.01)


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(16_000)
        wav.writeframes(samples.astype("<i2").tobytes())
    return path


def test_counts_samples_at_full_scale(tmp_path):
    source = write_wav(tmp_path / "in.wav", np.tile([32_767, -32_768, 100, 0], 4_000))
    report = decode_to_wav(source, tmp_path / "out.wav")
    assert (report.clip_rate, report.peak_dbfs) == (0.5, 0.0)


def test_passes_16_khz_mono_through_bit_by_bit(tmp_path):
    samples = np.random.default_rng(0).integers(-20_000, 20_000, 5_000)
    decode_to_wav(write_wav(tmp_path / "in.wav", samples), tmp_path / "out.wav")
    assert np.array_equal(mapped_samples(tmp_path / "out.wav"), samples)


def test_digital_silence_has_no_peak(tmp_path):
    report = decode_to_wav(write_wav(tmp_path / "in.wav", np.zeros(16_000)), tmp_path / "out.wav")
    assert (report.peak_dbfs, report.clip_rate, report.duration_ms) == (None, 0.0, 1_000)


def test_follows_format_changes_of_stitched_advertisements(decoded):
    report, samples = decoded("ads.mp3")
    assert report.format_changes == 2
    assert (report.sample_rate_hz, report.channels) == (48_000, 2)
    assert (report.decode_errors, report.lost_ms, report.truncated) == (0, 0, False), (
        "tags between the pieces are no loss"
    )
    assert report.duration_ms == 3_109, "three pieces of 1 s and their encoders' padding"
    seconds = samples[: 3 * 16_000].reshape(3, -1).std(axis=1)
    assert seconds[0] == pytest.approx(seconds[1] / 2, rel=0.1), "the first piece has a silent right channel"


def encoded(path: Path, seconds: float, hz: int, start_s: float = 0.0) -> bytes:
    """A tone as MPEG-TS with AAC or WebM with Opus, whose time stamps begin at `start_s`."""
    rate_hz = 48_000
    samples = (8_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if path.suffix == ".ts" else "libopus", rate=rate_hz, layout="mono")
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = start + int(start_s * rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def loud_ms(samples: np.ndarray, hz: int) -> int:
    """Duration of the 20-ms frames in which a tone of `hz` is loudest."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(float)
    loudest = np.abs(np.fft.rfft(frames)).argmax(axis=1) * 50
    return 20 * int(np.count_nonzero((loudest == hz) & (np.abs(frames).max(axis=1) > 1_000)))


@pytest.mark.parametrize("ad_start_s", [0.0, 50.0, 101.0, 110.0, 2_000.0])
def test_follows_the_samples_around_an_inserted_ad_with_its_own_clock(tmp_path, ad_start_s):
    part = tmp_path / "part.ts"
    show = encoded(part, 4, 400, start_s=100), encoded(part, 4, 400, start_s=104)
    source = tmp_path / "show.ts"
    source.write_bytes(show[0] + encoded(part, 2, 800, start_s=ad_start_s) + show[1])
    report = decode_to_wav(source, tmp_path / "out.wav")
    samples = mapped_samples(tmp_path / "out.wav")
    assert (report.clock_jumps, report.lost_ms, report.truncated) == (2, 0, False)
    assert report.duration_header_ms is None
    assert report.duration_ms == pytest.approx(10_000, abs=150)
    assert loud_ms(samples, 400) == pytest.approx(8_000, abs=150)
    assert loud_ms(samples, 800) == pytest.approx(2_000, abs=150)


@pytest.mark.parametrize("wrong_ms", [0, 2_000, 60_000, 30_000_000])
def test_follows_the_samples_of_a_webm_cluster_with_a_damaged_time(tmp_path, wrong_ms):
    source = tmp_path / "show.webm"
    content = bytearray(encoded(source, 20, 400))
    clusters = [at for at in range(len(content)) if content[at : at + 4] == b"\x1f\x43\xb6\x75"]
    time_at = content.index(b"\xe7", clusters[1])
    size = content[time_at + 1] & 0x7F
    wrong = wrong_ms % 256**size
    content[time_at + 2 : time_at + 2 + size] = wrong.to_bytes(size, "big")
    source.write_bytes(content)
    report = decode_to_wav(source, tmp_path / "out.wav")
    assert report.clock_jumps == 2
    assert report.duration_ms == pytest.approx(20_000, abs=50)
    assert loud_ms(mapped_samples(tmp_path / "out.wav"), 400) == pytest.approx(20_000, abs=60)


@pytest.mark.parametrize(
    ("name", "errors", "lost_ms", "shift_ms"),
    [
        ("hole.m4a", 6, 139, 0),
        ("hole.opus", 0, 120, 0),
        ("hole.webm", 0, 60, 0),
        ("hole.flac", 0, 24, 0),
        ("hole.mp3", 1, 129, 0),
    ],
)
def test_puts_silence_where_time_was_lost(decoded, name, errors, lost_ms, shift_ms):
    report, samples = decoded(name)
    assert (report.decode_errors, report.lost_ms) == (errors, lost_ms)
    assert burst_ms(samples) == pytest.approx(3_000 + shift_ms, abs=2)
    assert not report.truncated


def test_counts_what_raw_aac_lost_though_it_cannot_say_where(decoded):
    report, _ = decoded("hole.aac")
    assert (report.decode_errors, report.lost_ms, report.duration_ms) == (0, 96, 3_924)


@pytest.mark.parametrize("name", ["cut.mp3", "cut.opus", "cut.webm", "cut.flac", "cut.wav", "cut_faststart.m4a"])
def test_flags_a_file_that_promises_more_than_it_holds(decoded, name):
    report, _ = decoded(name)
    assert report.truncated


def test_flags_a_frame_cut_in_two_where_no_header_counts_them(tmp_path):
    whole = (AUDIO / "vbr_no_xing.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(whole[:-40])
    assert decode_to_wav(tmp_path / "cut.mp3", tmp_path / "out.wav").truncated


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("empty.mp3", NotAudio, "empty"),
        ("page.mp3", NotAudio, "<!DOCTYPE html>"),
        ("random.mp3", NotAudio, "not audio"),
        ("playlist.mp3", NotAudio, "#EXTM3U"),
        ("video_without_sound.mp4", NotAudio, "it holds: video"),
        ("cut.m4a", Undecodable, "begins like audio"),
        ("half_lost.mp3", Undecodable, "2.0 of 4.0 s cannot be decoded"),
        ("end_lost.mp3", Undecodable, "1.3 of 4.0 s cannot be decoded"),
    ],
)
def test_refuses_what_is_not_the_episode_and_leaves_nothing_behind(tmp_path, name, error, says):
    with pytest.raises(error, match=says):
        decode_to_wav(AUDIO / name, tmp_path / "out.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"TAG" + bytes(125), id="ID3v1"),
        pytest.param(b"APETAGEX" + bytes(600), id="APEv2"),
        pytest.param(b"LYRICSBEGIN" + b"IND0000200" * 30 + b"000311LYRICS200", id="Lyrics3"),
        pytest.param(b"ID3\x03\x00\x00\x00\x00\x07\x68" + bytes(1_000), id="ID3v2"),
        pytest.param(bytes(2_000), id="padding"),
    ],
)
def test_what_follows_the_stated_end_is_no_lost_audio(tmp_path, tail):
    (tmp_path / "in.mp3").write_bytes((AUDIO / "cbr.mp3").read_bytes() + tail)
    report = decode_to_wav(tmp_path / "in.mp3", tmp_path / "out.wav")
    assert (report.lost_ms, report.truncated) == (0, False)
    assert report.duration_ms in (4_000, 4_024), "24 ms of padding stay where the end is not the stated one"


@pytest.mark.parametrize("size", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"])
def test_a_wav_that_was_streamed_states_nothing(tmp_path, size):
    whole = (AUDIO / "stereo.wav").read_bytes()
    at = whole.index(b"data") + 4
    (tmp_path / "in.wav").write_bytes(whole[:at] + size + whole[at + 4 :])
    report = decode_to_wav(tmp_path / "in.wav", tmp_path / "out.wav")
    assert (report.duration_header_ms, report.duration_ms, report.truncated) == (None, 1_000, False)


def test_damage_anywhere_ends_in_a_report_or_a_typed_error(tmp_path):
    rng = np.random.default_rng(7)
    sources = sorted(path for path in AUDIO.glob("tone.*"))
    assert len(sources) == 5
    for source in (*sources, AUDIO / "vbr.mp3", AUDIO / "stereo.wav"):
        for _ in range(6):
            data = bytearray(source.read_bytes())
            for at in rng.integers(0, len(data), 8):
                data[at : at + 20] = rng.bytes(20)
            (tmp_path / "in").write_bytes(data[: rng.integers(50, len(data))])
            with suppress(NotAudio, Undecodable):
                report = decode_to_wav(tmp_path / "in", tmp_path / "out.wav")
                assert report.duration_ms == round(len(mapped_samples(tmp_path / "out.wav")) / 16)


def test_refuses_random_bytes_that_open_as_mp3(tmp_path):
    """Random bytes with a frame header in them now and then."""
    noise = np.random.default_rng(3).integers(0, 256, 60_000, np.uint8)
    for at in range(0, 60_000, 400):
        noise[at : at + 4] = (0xFF, 0xFB, 0x90, 0x64)
    (tmp_path / "noise.mp3").write_bytes(b"ID3\x03\x00\x00\x00\x00\x00\x00" + noise.tobytes())
    with pytest.raises((NotAudio, Undecodable)):
        decode_to_wav(tmp_path / "noise.mp3", tmp_path / "out.wav")


def test_refuses_less_than_100_ms(tmp_path):
    with pytest.raises(Undecodable, match=r"only 0\.050 s"):
        decode_to_wav(write_wav(tmp_path / "in.wav", np.ones(800)), tmp_path / "out.wav")


def test_reads_past_tags_that_are_not_utf8(tmp_path):
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x12TIT2\x00\x00\x00\x08\x00\x00\x03\xff\xfe\xfa\xfb\xfc\xfd\xff"
    (tmp_path / "in.mp3").write_bytes(tag + (AUDIO / "cbr.mp3").read_bytes())
    report = decode_to_wav(tmp_path / "in.mp3", tmp_path / "out.wav")
    assert (report.duration_header_ms, report.duration_ms) == (4_049, 4_000)


def test_a_failure_leaves_the_older_file_alone(tmp_path):
    (tmp_path / "out.wav").write_bytes(b"older")
    with pytest.raises(NotAudio):
        decode_to_wav(AUDIO / "page.mp3", tmp_path / "out.wav")
    assert (tmp_path / "out.wav").read_bytes() == b"older"


def test_storage_is_blamed_for_what_storage_does(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        decode_to_wav(tmp_path / "missing.mp3", tmp_path / "out.wav")
    with pytest.raises(StorageError, match="nowhere"):
        decode_to_wav(AUDIO / "cbr.mp3", tmp_path / "nowhere" / "out.wav")
