"""The card of a data set: README.md with the head that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from resources.exports.facts import Facts, Part
from resources.exports.rows import ROWS
from resources.exports.selection import Choice, Selection
from speech.clips import OPUS_BIT_RATE

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_HUB_LICENSES = {"pdm-1.0": "other", "pdm": "other", "public-domain": "other", "": "unknown", "cc0": "cc0-1.0"}
_AUDIO = {
    "flac": "FLAC, 16 kHz, mono, 16 bits: exactly the samples of the decoded audio",
    "wav": "WAV, 16 kHz, mono, 16 bits: exactly the samples of the decoded audio",
    "opus": f"Opus in Ogg, 16 kHz, mono, {OPUS_BIT_RATE // 1000} kbit/s: lossy, with exactly as many samples",
}


def card(
    choice: Choice,
    selection: Selection,
    facts: Facts,
    *,
    codec: str,
    usage: str,
    data_files: str | None,
) -> str:
    """The whole document."""
    hours = selection.duration_ms / 3.6e6
    name = _title(selection)
    parts = [
        _head(name, selection, facts, data_files),
        f"# {name}\n",
        f"{selection.n_utterances} utterances, {hours:.2f} hours, of {facts.n_speakers} speakers in {facts.n_episodes} "
        f"episodes of {facts.n_feeds} podcast {'feed' if facts.n_feeds == 1 else 'feeds'}. Each is 1–30 s of one speaker, cut at pauses, with its transcript. "
        f"Audio: {_AUDIO[codec]}.\n",
        "## Contents\n",
        _table(("split", "utterances", "hours", "speakers"), map(_cells, facts.splits)),
        _table(("language", "utterances", "hours", "speakers"), map(_cells, facts.languages)),
        _table(("license", "utterances", "hours", "speakers"), (_cells(one, "none stated") for one in facts.licenses)),
        "`sources.jsonl` has each episode with its title, authors, address and license, as licenses such as CC BY ask "
        "for. `SHA256SUMS` has the hash of each file: `sha256sum -c SHA256SUMS`. `manifest.json` has what is said here.\n",
        _splits(choice, selection, facts),
        "## Use\n",
        usage.strip() + "\n",
        "## How it was made\n",
        _made(facts),
        "## Filters\n",
        _filters(choice, selection),
        "## Columns\n",
        _table(("column", "type", ""), _columns()),
        "## Known problems\n",
        "\n".join(f"* {problem}" for problem in problems(choice, facts)) + "\n",
    ]
    return "\n".join(parts)


def _title(selection: Selection) -> str:
    feeds = {one.feed_id: one.feed_title or one.feed_id for one in selection.sources}
    return f"Utterances of {next(iter(feeds.values())) if len(feeds) == 1 else f'{len(feeds)} podcasts'}"


def _head(name: str, selection: Selection, facts: Facts, data_files: str | None) -> str:
    """YAML; each value is written as JSON, which is YAML too."""
    licenses = sorted({_HUB_LICENSES.get(one.name, one.name) for one in facts.licenses})
    size = next((label for limit, label in _SIZES if selection.n_utterances < limit), "n>10M")
    head: dict[str, object] = {
        "pretty_name": name,
        "language": sorted({one.name for one in facts.languages if one.name}),
        "license": licenses[0] if len(licenses) == 1 else licenses,
        "task_categories": ["automatic-speech-recognition", "text-to-speech"],
        "size_categories": [size],
        "tags": ["podcast", "podlake"],
    }
    if data_files:
        files = [{"split": one.name, "path": data_files.format(split=one.name)} for one in facts.splits]
        head["configs"] = [{"config_name": "default", "data_files": files}]
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()), "---\n"]
    )


def _splits(choice: Choice, selection: Selection, facts: Facts) -> str:
    kept = "No voice and no feed is" if choice.split.together == "feed" else "No voice is"
    what = "feeds and voices" if choice.split.together == "feed" else "voices"
    text = (
        f"{kept} in two splits. {selection.n_groups} groups of connected {what} were divided by duration; a group goes "
        "to one split as a whole."
    )
    empty = missing_splits(choice, facts)
    return text + (f" Empty, because there are too few groups: {', '.join(empty)}.\n" if empty else "\n")


def missing_splits(choice: Choice, facts: Facts) -> list[str]:
    """The splits that were asked for and have nothing."""
    present = {one.name for one in facts.splits}
    shares = zip(("train", "validation", "test"), choice.split.shares, strict=True)
    return [name for name, share in shares if share > 0 and name not in present]


def _made(facts: Facts) -> str:
    rows = [(stage, engine.strip() or "unknown", n) for stage, engine, n in facts.engines]
    text = "By podlake: speakers were told apart by the diarizer, and words written by the transcriber.\n"
    return f"{text}\n{_table(('stage', 'engine', 'episodes'), rows)}" if rows else text


def _filters(choice: Choice, selection: Selection) -> str:
    lines = [f"Licenses: {', '.join(choice.licenses)}.\n"]
    if choice.feeds:
        lines.append(f"Feeds: {', '.join(choice.feeds)}.\n")
    if selection.profile is None:
        lines.append("No quality profile: every utterance was kept.\n")
    else:
        limits = [
            (rule.measure, _limit(rule.min, rule.max, equals=rule.equals), rule.missing, rule.reason)
            for rule in selection.profile.rules
        ]
        lines += [f"Quality profile `{choice.profile}`: {selection.profile.description}\n",
                  _table(("measure", "must be", "if not measured", "otherwise"), limits)]  # fmt: skip
    if selection.excluded:
        rows = [
            (one.reason, one.n_episodes, one.n_utterances, f"{one.duration_ms / 3.6e6:.2f}")
            for one in selection.excluded
        ]
        lines += ["Left out:\n", _table(("reason", "episodes", "utterances", "hours"), rows)]
    return "\n".join(lines)


def _limit(low: float | None, high: float | None, *, equals: bool | None) -> str:
    bounds = [f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:g}"] if high is not None else []
    bounds += [str(equals).lower()] if equals is not None else []
    return ", ".join(bounds)


def _columns() -> Iterator[tuple[str, str, str]]:
    for field in ROWS:
        yield f"`{field.name}`", str(field.type), (field.metadata or {}).get(b"description", b"").decode()


def problems(choice: Choice, facts: Facts) -> Iterator[str]:
    """What a user of the data set should know."""
    yield "Transcripts are automatic: words, punctuation and times have errors, and no person has corrected them."
    if facts.wer_median is not None:
        yield (
            f"Against the publishers' own transcripts, the median word error rate is {100 * facts.wer_median:.1f} % "
            f"({facts.wer_episodes} episodes)."
        )
    else:
        yield "The word error rate is unknown: no episode has a transcript by its publisher to compare with."
    yield "Speakers are told apart automatically: an utterance can have words of another person."
    yield "All audio is 16 kHz and mono, also where the source had more."
    if facts.n_unlinked:
        yield (
            f"{facts.n_unlinked} speakers ({_hours(facts.unlinked_ms)}) are not linked to a voice: one person can be "
            "several speakers, and be in several splits."
        )
    for duration_ms, what in (
        (facts.uncertain_ms, "the mean confidence of the words is under 0.6, or unknown"),
        (facts.overlapped_ms, "somebody else speaks too for a part of the time"),
        (facts.other_language_ms, "the text seems to be in another language"),
        (facts.repeated_ms, "the same audio is also in another episode"),
    ):
        if duration_ms:
            yield f"In {_hours(duration_ms)}, {what}."
    if choice.profile is None:
        yield "Utterances were not filtered by quality."
    if any(not one.name for one in facts.licenses):
        yield "Episodes without a stated license are included: their publishers have all rights."
    yield "Podcasts are no balanced sample of speakers, accents, subjects or recording conditions."


def _hours(duration_ms: int) -> str:
    return f"{duration_ms / 3.6e6:.2f} h" if duration_ms >= 3.6e6 else f"{duration_ms / 60_000:.1f} min"


def _cells(part: Part, unnamed: str = "unknown") -> tuple[object, ...]:
    return part.name or unnamed, part.n_utterances, f"{part.hours:.2f}", part.n_speakers


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    """Text of feeds must not end a cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")
