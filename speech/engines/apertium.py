"""Apertium: rule-based translation without a model or network, for the pairs of languages whose packages are installed.

`apertium`, from the system: `apt-get install apertium apertium-eng-spa`. It knows neither context nor limits, and leaves
words that it does not know as they are: names stay, any other is named as a problem of its line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from shutil import which

from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import BadOutput, EngineUnavailable, LanguageWithoutEngine
from speech.names_in_text import names
from speech.numbers_in_text import localized
from speech.spelled_numbers import spelled_numbers
from speech.translation_checks import problems, term_pattern, terms_in
from speech.types import Term, TranslatedLine, TranslationRequest

PROGRAM = "apertium"
TIMEOUT_S = 300.0
_MARKED = re.compile(r"[*@#](?=[^\W\d_])")
"""Before a word that Apertium does not know, cannot translate or cannot inflect."""
_UNKNOWN = re.compile(r"[*@]([^\W_]+(?:[’'\-.][^\W_]+)*)")
_MARKS_OF_TEXT = str.maketrans({"*": " ", "@": " @ ", "#": " # ", "~": " "})
"""The characters of marks, so that they do not stand before a word."""
_ADDRESS = re.compile(
    r"(?:https?://|www\.)\S*\w|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)[@#]\w+|\w+[#@]\w*|\w*[a-z]\w*[A-Z]\w*"
)
_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"”»')\]]*(?=\s|$)|$)\s*")
_INNER_WORD = re.compile(r"(?<=[^\s.!?…:\"“«(]\s)[^\W\d_]+")
_INNER_CAPITAL = re.compile(r"(?<=[^\W\d_,;]\s)[^\W\d_](?=[^\W\d_]*[a-zà-ÿ])")
_FIRST_LETTER = re.compile(r"^[¿¡\"“«(]*[^\W\d_]")
_ENDS = re.compile(r"[.!?…]+[\"”»')\]]*$")


def describe(choice: EngineChoice) -> EngineSpec:  # noqa: ARG001 - there is one Apertium
    return EngineSpec("apertium", "as installed", _revision())


def load(choice: EngineChoice, device: str) -> Apertium:  # noqa: ARG001 - it has no device
    """Raises `EngineUnavailable` without the program; the pair of a request is looked for when it is translated."""
    if which(PROGRAM) is None:
        raise EngineUnavailable(
            "Apertium is not installed. Install it with the packages of its pairs, such as English and Spanish: "
            "apt-get install apertium apertium-eng-spa"
        )
    spelled_numbers("en")
    return Apertium(describe(choice))


@cache
def pairs() -> tuple[str, ...]:
    """The installed directions: `eng-spa`."""
    if which(PROGRAM) is None:
        return ()
    listed = subprocess.run([PROGRAM, "-l"], capture_output=True, text=True, check=False).stdout
    return tuple(sorted(listed.split()))


@cache
def _revision() -> str:
    """`apertium 3.8.3: eng-spa, spa-eng`."""
    if not pairs():
        return "absent"
    version = subprocess.run([PROGRAM, "-V"], capture_output=True, text=True, check=False).stdout.split()
    return f"apertium {' '.join(word for word in version if word[0].isdigit())}: {', '.join(pairs())}"


@dataclass(frozen=True)
class Apertium:
    spec: EngineSpec

    def translate(self, request: TranslationRequest) -> list[TranslatedLine]:
        """Each line alone. Terms of the list are put in as they are. Raises `LanguageWithoutEngine`, `BadOutput`."""
        direction = _direction(request.source_language, request.target_language)
        terms = [terms_in(line, request.terms) for line in request.lines]
        hidden = [_hidden(line, own) for line, own in zip(request.lines, terms, strict=True)]
        translated = _run(direction, [text for text, _ in hidden])
        named = names(request.lines, request.source_language)
        found = []
        for index, line in enumerate(request.lines):
            if not any(one.isalnum() for one in line):
                found.append(TranslatedLine(index, None, "The line has no words."))
                continue
            target = _shown(_tidied(line, translated[index]), hidden[index][1])
            target = _written(target, line, request.target_language)
            target = localized(line, target, request.source_language, request.target_language)
            wrong = problems(
                line, target, request.source_language, request.target_language, terms=terms[index], names=named[index]
            )  # fmt: skip
            certain = " ".join(one.message for one in wrong if one.is_certain)
            found.append(
                TranslatedLine(index, None, certain)
                if certain
                else TranslatedLine(index, target, _remarks(translated[index], target, request.limit(index)))
            )
        request.report(len(found))
        return found

    def shorten(self, request: TranslationRequest, line_idx: int, text: str, max_chars: int) -> TranslatedLine:  # noqa: ARG002
        """It cannot, unless the line is short enough already."""
        if len(text) <= max_chars:
            return TranslatedLine(line_idx, text, n_tries=0)
        return TranslatedLine(
            line_idx, None, f"Apertium cannot shorten a line of {len(text)} characters to {max_chars}.", n_tries=0
        )

    def close(self) -> None:
        """Nothing to give back: the program ends with each request."""


def _direction(source: str, target: str) -> str:
    """The installed direction for two tags of languages. Raises `LanguageWithoutEngine` that says what to install."""
    import langcodes

    wanted = f"{langcodes.Language.get(source).to_alpha3()}-{langcodes.Language.get(target).to_alpha3()}"
    for known in (wanted, f"{source}-{target}"):
        if known in pairs():
            return known
    first, second = wanted.split("-")
    raise LanguageWithoutEngine(
        f"Apertium has no pair from {source} to {target} here (installed: {', '.join(pairs()) or 'none'}). Install it, if "
        f"it exists: apt-get install apertium-{first}-{second} (or apertium-{second}-{first}). Otherwise translate with a "
        "chat model: PODLAKE_TRANSLATOR=ollama:http://127.0.0.1:11434?model=qwen2.5:14b"
    )


def _run(direction: str, lines: Sequence[str]) -> list[str]:
    """One line of output for each line."""
    if not lines:
        return []
    try:
        done = subprocess.run(
            [PROGRAM, "-f", "line", direction], input="\n".join(lines) + "\n", capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BadOutput(f"Apertium has not ended after {TIMEOUT_S:.0f} s.") from error
    found = done.stdout.removesuffix("\n").split("\n")
    if done.returncode or len(found) != len(lines):
        raise BadOutput(f"Apertium gave {len(found)} lines for {len(lines)}: {done.stderr.strip()[-300:]}")
    return found


def _hidden(line: str, terms: Sequence[Term]) -> tuple[str, list[str]]:
    """The line as one sentence, with words that Apertium does not know for terms, addresses and LaTeX; what these stand for."""
    kept: list[str] = []

    def hide(text: str) -> str:
        kept.append(text)
        return f"Qxz{_letters(len(kept) - 1)}xq"

    text = " ".join(line.split())
    for term in terms:
        text = term_pattern(term.source).sub(partial(_always, hide, term.target), text)
    text = _ADDRESS.sub(lambda match: hide(match[0]), text)
    text = " ".join(text.translate(_MARKS_OF_TEXT).split())
    return text if _ENDS.search(text) else f"{text}.", kept  # words of the next line would be taken for its own


def _always(hide: Callable[[str], str], text: str, _: re.Match[str]) -> str:
    return hide(text)


def _letters(number: int) -> str:
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


def _number(letters: str) -> int:
    return 26 * (ord(letters[0]) - ord("a")) + ord(letters[1]) - ord("a")


def _shown(text: str, kept: Sequence[str]) -> str:
    """With the kept texts in their places."""
    pattern = re.compile("|".join(f"qxz{_letters(index)}xq" for index in range(len(kept))), re.IGNORECASE)
    return pattern.sub(lambda match: kept[_number(match[0][3:5].lower())], text) if kept else text


def _tidied(source: str, text: str) -> str:
    """Without marks, with single spaces, and with the end that the source has."""
    plain = re.sub(r"\s+([.,;:!?…])", r"\1", " ".join(_MARKED.sub("", text).split()))
    end = _ENDS.search(source.strip())
    if end is None:
        return plain.removesuffix(".")
    return plain if _ENDS.search(plain) else plain + end[0]


def _written(text: str, source: str, language: str) -> str:
    """With the capitals of the source, and with the marks before Spanish questions and exclamations."""
    sentences = _SENTENCE.findall(text)
    if not any(token[0].isupper() for token in _INNER_WORD.findall(source)):  # it has no name inside
        sentences = [_INNER_CAPITAL.sub(lambda match: match[0].lower(), sentence) for sentence in sentences]
    if language == "es":
        sentences = [_opened(sentence) for sentence in sentences]
    text = "".join(sentences)
    return _FIRST_LETTER.sub(lambda match: match[0].upper(), text, count=1) if source.lstrip()[:1].isupper() else text


def _opened(sentence: str) -> str:
    for closing, opening in (("?", "¿"), ("!", "¡")):
        if sentence.rstrip("\"”»')] ").endswith(closing) and opening not in sentence:
            start = re.search(r"\w", sentence)
            at = start.start() if start else 0
            return f"{sentence[:at]}{opening}{sentence[at:]}"
    return sentence


def _remarks(marked: str, target: str, limit: int | None) -> str | None:
    """What is to be known about a line that is translated."""
    unknown = [word for word in _UNKNOWN.findall(marked) if word.islower() and not word.startswith("qxz")]
    remarks = [f"Not translated: {', '.join(dict.fromkeys(unknown))}."] if unknown else []
    if limit is not None and len(target) > limit:
        remarks.append(f"The line has {len(target)} characters, {limit} fit.")
    return " ".join(remarks) or None
