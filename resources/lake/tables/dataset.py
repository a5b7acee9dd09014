"""Tables that data sets are made from, and the summary of an episode. Times are milliseconds on the decoded timeline of the audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from resources.lake.tables.table import DerivedRow, Float32, Int32, Table
from speech.types import SpokenLanguage


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRow(DerivedRow):
    """1–30 s of one speaker, cut only in pauses between words: what a data set is made of."""

    utterance_idx: Annotated[Int32, "Order by start."]
    start_ms: Annotated[Int32, "Start, with some of the pause before the first word."]
    end_ms: Annotated[Int32, "End, with some of the pause after the last word."]
    speaker: Annotated[str, "Speaker label, valid within the episode only."]
    voice_id: Annotated[
        str | None, "The speaker across episodes. The view `utterances` has it from `speaker_links`; NULL in the rows."
    ] = None
    text: Annotated[str, "The words, joined."]
    language: Annotated[str, "Language of the transcriber that wrote the words."]
    turn_idx: Annotated[Int32, "The turn that it is cut from."]
    first_word_idx: Annotated[Int32, "Its first word, of `n_words`."]
    n_words: Annotated[Int32, "Words."]
    dnsmos_signal: Annotated[Float32 | None, "DNSMOS P.835 SIG of the middle 9.01 s, 1–5 (speechmos)."] = None
    dnsmos_background: Annotated[Float32 | None, "DNSMOS P.835 BAK, 1–5."] = None
    dnsmos_overall: Annotated[Float32 | None, "DNSMOS P.835 OVRL, 1–5."] = None
    dnsmos_windows: Annotated[Int32 | None, "Windows measured; 0 where the utterance was not sampled."] = None
    snr_db: Annotated[Float32 | None, "Speech over the pauses within 2 s, dB: 20th percentile of 20 ms frames."] = None
    bandwidth_hz: Annotated[
        Float32 | None, "Highest frequency within 65 dB of the loudest band (98th percentile of frames); at most 8 kHz."
    ] = None
    loudness_lufs: Annotated[Float32 | None, "Integrated loudness, ITU-R BS.1770, LUFS."] = None
    peak_dbfs: Annotated[Float32 | None, "Peak sample, dBFS."] = None
    clip_rate: Annotated[Float32 | None, "Share of samples at full scale, 0–1."] = None
    dc_offset: Annotated[Float32 | None, "Mean sample, full scale = 1."] = None
    speech_share: Annotated[Float32 | None, "Share of the time in segments of the speaker, 0–1."] = None
    overlap_share: Annotated[Float32 | None, "Share of the time in segments of other speakers, 0–1."] = None
    background_flatness: Annotated[
        Float32 | None, "Spectral flatness of the pauses, 0–1: near 1 noise, near 0 music or hum."
    ] = None
    words_per_second: Annotated[Float32 | None, "Words per second."] = None
    mean_confidence: Annotated[Float32 | None, "Mean confidence of the words, 0–1."] = None
    p10_confidence: Annotated[Float32 | None, "10th percentile of the words' confidence, 0–1."] = None
    repetition: Annotated[Float32 | None, "Share of word triples that occurred before in the utterance, 0–1."] = None
    language_agrees: Annotated[bool | None, "Whether the text is in the transcriber's language (py3langid)."] = None
    edge_db: Annotated[
        Float32 | None, "Louder of the first and last 20 ms over the mean power, dB: near 0 the edge cuts a sound."
    ] = None
    absent: Annotated[tuple[str, ...] | None, "Why measures are NULL: `measure: reason`."] = None
    diarization_version: Annotated[str | None, "Data version of the diarization that named the speaker."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow(DerivedRow):
    """One row per episode: what was found, and flags for results to check."""

    duration_ms: Annotated[Int32, "Decoded duration."]
    speech_ms: Annotated[Int32, "Time in which somebody speaks."]
    overlap_ratio: Annotated[Float32 | None, "Share of speech with several speakers; NULL without speech."] = None
    n_speakers: Annotated[Int32, "Speakers found."]
    speaker_capacity: Annotated[Int32 | None, "Most speakers that the diarizer tells apart; NULL: no limit."] = None
    speakers_saturated: Annotated[bool | None, "Whether the limit was reached; NULL without a limit."] = None
    n_words: Annotated[Int32, "Words."]
    words_unassigned: Annotated[Int32, "Words without a speaker."]
    language_declared: Annotated[str | None, "Normalised language from the catalogue, if declared."] = None
    language_detected: Annotated[str | None, "Language of the text; NULL where there is too little text."] = None
    language_agrees: Annotated[bool | None, "Whether the two agree; NULL where either is NULL."] = None
    mean_confidence: Annotated[Float32 | None, "Mean confidence of the words; NULL where they have none."] = None
    words_per_minute: Annotated[Float32 | None, "Words per minute of speech; NULL without speech."] = None
    usable_ms: Annotated[Int32, "Length of the turns of a known speaker without overlap."]
    flags: Annotated[tuple[str, ...], "What to check: assets/speech/quality.py defines the flags."]
    spoken_language: Annotated[str | None, "Likeliest language by sound, before transcription."] = None
    spoken_language_probability: Annotated[Float32 | None, "Its mean probability over the windows examined."] = None
    spoken_languages: Annotated[
        tuple[SpokenLanguage, ...] | None, "All languages by sound, with their shares, the likeliest first."
    ] = None
    spoken_language_absent_reason: Annotated[str | None, "Why no language was identified by sound."] = None
    publisher_wer: Annotated[
        Float32 | None,
        "Word error rate of our words against the publisher's, 0–: lower case, no punctuation, no remarks in brackets; "
        "of characters in languages without spaces.",
    ] = None
    publisher_wer_absent_reason: Annotated[
        str | None, "Why it is NULL: no_transcript, not_fetched, other_language or no_words."
    ] = None
    n_utterances: Annotated[Int32 | None, "Utterances; this and their measures are NULL with a reason."] = None
    utterance_ms: Annotated[Int32 | None, "Total length of the utterances."] = None
    snr_db_median: Annotated[Float32 | None, "Median of their signal-to-noise ratios, dB."] = None
    snr_db_p10: Annotated[Float32 | None, "10th percentile of these."] = None
    dnsmos_overall_median: Annotated[Float32 | None, "Median DNSMOS OVRL of the sampled windows, 1–5."] = None
    dnsmos_windows: Annotated[Int32 | None, "Windows sampled."] = None
    bandwidth_hz_median: Annotated[Float32 | None, "Median of the highest frequencies that are used."] = None
    loudness_lufs_median: Annotated[Float32 | None, "Median loudness of the utterances, LUFS."] = None
    clip_rate_max: Annotated[Float32 | None, "Largest share of samples at full scale in an utterance."] = None
    utterances_absent_reason: Annotated[
        str | None, "Why they are NULL: not_landed (it failed, or is not made yet) or other_audio."
    ] = None
    tier: Annotated[str | None, "A, B or C: how good the episode is. profiles/tiers has the rules."] = None
    tier_reasons: Annotated[tuple[str, ...] | None, "Why it is not in the tier above."] = None


UTTERANCES = Table("utterances", "utterances", ("audio_sha256", "episode_id", "utterance_idx"), UtteranceRow)
QUALITY = Table("quality", "quality", ("audio_sha256", "episode_id"), QualityRow)
