"""Full-text search over all turns: a Tantivy index in the local cache, which follows the landings of `turns`.

Tantivy and SQLite's FTS5 were measured on 1 000 000 turns (`python -m bench.search`): a common word takes Tantivy 10 ms
and FTS5 1.1 s.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.warehouse import ask
from resources.search_passages import Fold, Passage, apart, passage, together, word_at
from speech.errors import PodlakeError
from speech.file_locks import wait_for_lock

if TYPE_CHECKING:
    import tantivy
    from duckdb import DuckDBPyConnection

EPISODES_AT_ONCE = 2_000
"""Episodes whose turns are read by one query and committed together."""
HEAP_BYTES = 100_000_000
SNIPPET_CHARACTERS = 200
_TOKENIZER = "words_apart"
_FIELDS = (
    "episode_id", "title", "feed_id", "language", "published", "speaker", "speaker_folded", "turn_idx", "start_ms",
    "first_word_idx", "n_words", "text", "speaker_key",
)  # fmt: skip
_TURNS = """
select turn.episode_id, coalesce(episode.title, turn.episode_id), episode.feed_id,
    coalesce(quality.language_detected, episode.language),
    year(published_at) * 10000 + month(published_at) * 100 + day(published_at),
    turn.speaker, lower(turn.speaker), turn.turn_idx, turn.start_ms, turn.first_word_idx, turn.n_words, turn.text,
    concat_ws('/', turn.episode_id, coalesce(turn.diarization_version, ''), turn.speaker)
from turns as turn
join episodes as episode using (episode_id)
left join quality on quality.episode_id = turn.episode_id and quality.audio_sha256 = turn.audio_sha256
where turn.episode_id in (select unnest(?))
"""
_VERSION = hashlib.sha256(repr((_FIELDS, _TURNS, _TOKENIZER)).encode()).hexdigest()[:8]
"""An index with other fields is not read: it is made again beside."""


class QueryRefused(PodlakeError, ValueError):
    """A query that cannot be understood; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Words and "phrases", all of which a turn contains, and filters. None: no filter."""

    text: str
    feed: str | None = None
    speaker: str | None = None
    """The label, the name of the voice whatever its case, or the voice's id."""
    language: str | None = None
    since: date | None = None
    """First day of publication."""
    until: date | None = None
    """Last day of publication."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A turn that was found."""

    episode_id: str
    title: str
    feed_id: str
    turn_idx: int
    speaker: str | None
    turn_start_ms: int
    start_ms: int
    """Start of the phrase, or of the first searched word, in the turn."""
    snippet: str
    marks: tuple[tuple[int, int], ...]
    """Where the searched words are in the snippet: first character, and the one after the last."""
    score: float
    name: str | None = None
    """The name of the speaker's voice, if it has one."""

    @property
    def who(self) -> str | None:
        """The name, else the label."""
        return self.name or self.speaker


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best hits, and how many turns match."""

    total: int
    hits: tuple[Hit, ...]


_COLUMNS = pa.schema(
    [
        ("episode_id", pa.string()), ("feed_id", pa.string()), ("title", pa.string()), ("turn_idx", pa.int32()),
        ("speaker", pa.string()), ("name", pa.string()), ("start_ms", pa.int32()), ("snippet", pa.string()),
        ("score", pa.float64()),
    ]
)  # fmt: skip


def hits_table(result: SearchResult) -> pa.Table:
    """The hits as an Arrow table, best first, which SQL can join with the views."""
    columns = {name: [getattr(hit, name) for hit in result.hits] for name in _COLUMNS.names}
    return pa.table(columns, schema=_COLUMNS)


@dataclass(frozen=True)
class SearchIndex:
    """The index in a folder of its own. Several processes may search while one updates it."""

    folder: Path

    def update(
        self, connection: DuckDBPyConnection, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> int:
        """Index the turns that have landed since the last update, and drop those that are gone. Returns the episodes.

        `progress` gets the number of indexed episodes and of those to index. A killed update is continued by the next.
        """
        with locked(self.folder):
            known = self._known()
            current = dict(ask(connection, LANDINGS))
            gone = [episode for episode in known if episode not in current]
            new = sorted(episode for episode, stamp in current.items() if known.get(episode) != stamp)
            if not gone and not new:
                return 0
            writer = self._open().writer(HEAP_BYTES, 1)
            for start in range(0, max(len(new), 1), EPISODES_AT_ONCE):
                part = new[start : start + EPISODES_AT_ONCE]
                for episode in [*part, *gone]:
                    writer.delete_documents_by_term("episode_id", episode)
                    known.pop(episode, None)
                _add_turns(writer, connection, part)
                writer.commit()
                gone = []
                known |= {episode: current[episode] for episode in part}
                self._remember(known)
                progress(start + len(part), len(new))
            writer.wait_merging_threads()
            return len(new)

    def search(self, connection: DuckDBPyConnection, query: SearchQuery, *, limit: int) -> SearchResult:
        """The best turns by BM25. Raises QueryRefused."""
        import tantivy

        index = self._open()
        index.reload()
        searcher = index.searcher()
        parsed = _parse(index, query, _speakers(connection, query.speaker) if query.speaker else ())
        found: Any = searcher.search(parsed, limit)  # its types do not know `count`
        snippets = tantivy.SnippetGenerator.create(searcher, parsed, index.schema, "text")
        snippets.set_max_num_chars(SNIPPET_CHARACTERS)
        hits = [_hit(query.text, score, searcher.doc(address), snippets, _fold()) for score, address in found.hits]
        return SearchResult(found.count, tuple(_with_names(connection, _with_word_times(connection, hits))))

    def remove(self) -> None:
        """Delete the index, for example when an episode is forgotten; the next update makes it again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> tantivy.Index:
        import tantivy

        place = self.folder / _VERSION
        place.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(_schema(), path=str(place))
        index.register_tokenizer(_TOKENIZER, _analyzer())
        return index

    def _known(self) -> dict[str, str]:
        """Episode → stamp of the landing that is in the index."""
        path = self.folder / f"{_VERSION}.parquet"
        rows = pq.read_table(path) if path.exists() else None
        return dict(zip(rows["episode_id"].to_pylist(), rows["stamp"].to_pylist(), strict=True)) if rows else {}

    def _remember(self, known: dict[str, str]) -> None:
        fresh = self.folder / f".{_VERSION}.parquet"
        pq.write_table(pa.table({"episode_id": list(known), "stamp": list(known.values())}), fresh)
        fresh.replace(self.folder / f"{_VERSION}.parquet")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One update at a time; a second one waits, and then finds little to do."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        wait_for_lock(lock)
        yield


LANDINGS = """
select episode_id, max(coalesce(stamp, finished_at::varchar))
from stage_runs where stage = 'turns' and outcome = 'landed' group by episode_id
"""
_WORDS = """
select episode_id, word_idx, word, start_ms from words
where episode_id in (select unnest($1)) and word_idx in (select unnest($2))
"""
_SPEAKERS = """
select episode_id, unnest(['', diarization_version]), speaker from speaker_links
where voice_id is not null and (lower(name) = lower($1) or voice_id = $1)
"""
_NAMES = """
select episode_id, unnest(['', diarization_version]), speaker, name from speaker_links
where name is not null and episode_id in (select unnest($1))
"""


def _analyzer() -> tantivy.TextAnalyzer:
    """Words without case and accents."""
    import tantivy

    simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    return simple.filter(tantivy.Filter.lowercase()).filter(tantivy.Filter.ascii_fold()).build()


def _fold() -> Fold:
    analyzer = _analyzer()
    return lambda text: analyzer.analyze(apart(text))


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    for name in ("episode_id", "title", "feed_id", "language", "speaker", "speaker_folded", "speaker_key"):
        builder.add_text_field(name, stored=name != "speaker_folded", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("published", indexed=True)
    for name in ("turn_idx", "start_ms", "first_word_idx", "n_words"):
        builder.add_integer_field(name, stored=True)
    builder.add_text_field("text", stored=True, tokenizer_name=_TOKENIZER)
    return builder.build()


def _add_turns(writer: tantivy.IndexWriter, connection: DuckDBPyConnection, episodes: list[str]) -> None:
    import tantivy

    for row in ask(connection, _TURNS, [episodes]):
        values = {name: value for name, value in zip(_FIELDS, row, strict=True) if value is not None}
        values["text"] = apart(values["text"])
        writer.add_document(tantivy.Document(**values))


def _speakers(connection: DuckDBPyConnection, speaker: str) -> list[str]:
    """The keys of the speakers that are a voice, given by name or id. Voices land after turns, so the index has none."""
    return ["/".join(row) for row in ask(connection, _SPEAKERS, [speaker])]


_LITERAL = str.maketrans({"'": "\N{RIGHT SINGLE QUOTATION MARK}", ":": "\N{MIDDLE DOT}"})
"""Characters with a meaning in Tantivy's queries, which words such as "don't" and "7:30" have: others that end a word."""


def _parse(index: tantivy.Index, query: SearchQuery, speakers: Sequence[str]) -> tantivy.Query:
    import tantivy

    if not _fold()(query.text):
        raise QueryRefused('Give words to search for, for example: podlake search "night train".')
    try:
        parts = [index.parse_query(apart(query.text).translate(_LITERAL), ["text"], conjunction_by_default=True)]
    except ValueError as error:
        raise QueryRefused(f'The query {query.text!r} is not understood: {error}. Put a phrase in "quotes".') from error
    if query.speaker:
        labelled = tantivy.Query.term_query(index.schema, "speaker_folded", query.speaker.lower())
        named = tantivy.Query.term_set_query(index.schema, "speaker_key", list(speakers))
        either = [(tantivy.Occur.Should, one) for one in (labelled, named)]
        parts.append(tantivy.Query.boolean_query(either))
    filters = {"feed_id": query.feed, "language": query.language and query.language.lower()}
    parts += [tantivy.Query.term_query(index.schema, name, value) for name, value in filters.items() if value]
    if query.since or query.until:
        first, last = (int(day.strftime("%Y%m%d")) for day in (query.since or date.min, query.until or date.max))
        parts.append(tantivy.Query.range_query(index.schema, "published", tantivy.FieldType.Integer, first, last))
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])


@dataclass(frozen=True, slots=True)
class _Found:
    """A hit, its turn's text and words, and where in the text it begins."""

    hit: Hit
    speaker_key: str | None
    text: str
    at: int
    words: range


def _hit(query: str, score: float, document: Any, snippets: tantivy.SnippetGenerator, fold: Fold) -> _Found:
    row = {name: values[0] for name, values in document.to_dict().items()}
    text = together(row["text"])
    part = passage(text, query, fold, length=SNIPPET_CHARACTERS) or _of_words(text, snippets.snippet_from_doc(document))
    hit = Hit(
        row["episode_id"], row["title"], row["feed_id"], row["turn_idx"], row.get("speaker"), row["start_ms"],
        row["start_ms"], part.snippet, part.marks, score,
    )  # fmt: skip
    first = row.get("first_word_idx") or 0
    return _Found(hit, row.get("speaker_key"), text, part.at, range(first, first + (row.get("n_words") or 0)))


def _of_words(text: str, snippet: tantivy.Snippet) -> Passage:
    """Tantivy's snippet: the part with most of the searched words."""
    data = snippet.fragment().encode()  # Tantivy counts bytes
    marks: list[tuple[int, int]] = []
    for found in snippet.highlighted():
        start, stop = (len(together(data[:place].decode())) for place in (found.start, found.end))
        start = marks.pop()[0] if marks and marks[-1][1] == start else start
        marks.append((start, stop))
    fragment = together(snippet.fragment())
    return Passage(text.find(fragment) + marks[0][0] if marks else 0, fragment, tuple(marks))


def _with_word_times(connection: DuckDBPyConnection, found: list[_Found]) -> list[_Found]:
    """The hits with the start of the word that they begin with. One query reads the words of all turns."""
    episodes = sorted({one.hit.episode_id for one in found})
    indexes = sorted({index for one in found for index in one.words})
    rows = ask(connection, _WORDS, [episodes, indexes]) if indexes else []
    known = {(episode, word_idx): (word, start_ms) for episode, word_idx, word, start_ms in rows}
    return [replace(one, hit=_timed(one, known)) for one in found]


def _timed(one: _Found, known: Mapping[tuple[str, int], tuple[str, int]]) -> Hit:
    words = [known.get((one.hit.episode_id, index)) for index in one.words]
    index = word_at(one.text, [word[0] if word else "" for word in words], one.at) if words else None
    word = None if index is None else words[index]
    return replace(one.hit, start_ms=max(word[1], one.hit.turn_start_ms)) if word else one.hit


def _with_names(connection: DuckDBPyConnection, found: list[_Found]) -> Iterator[Hit]:
    """The hits with the names of the voices."""
    rows = ask(connection, _NAMES, [sorted({one.hit.episode_id for one in found})])
    names = {"/".join(key): name for *key, name in rows}
    for one in found:
        yield replace(one.hit, name=names.get(one.speaker_key or ""))
