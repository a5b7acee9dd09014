"""The cache of translations: shared by processes, and never half a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from speech.engines.translation_cache import TranslationCache, cache_key

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from speech.engines.translation_cache import TranslationCache
cache, mine = TranslationCache(Path(sys.argv[1])), sys.argv[2] * 2_000
for _ in range(200):
    cache.put("ab", mine)
    assert cache.get("ab") in ("a" * 2_000, "b" * 2_000)
"""


def test_two_processes_share_it(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name], cwd=ROOT) for name in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab.json"]


def test_broken_and_foreign_files_are_no_translations(tmp_path: Path) -> None:
    cache = TranslationCache(tmp_path)
    assert cache.get("ab12") is None
    cache.put("ab12", "Hola.")
    assert cache.get("ab12") == "Hola."
    for content in ("", "{", "[]", '{"key": "ab12", "translation": 3}', '{"key": "other", "translation": "Hola."}'):
        (tmp_path / "ab" / "ab12.json").write_text(content)
        assert cache.get("ab12") is None


def test_without_a_folder_nothing_is_kept() -> None:
    cache = TranslationCache(None)
    cache.put("ab12", "Hola.")
    assert cache.get("ab12") is None


def test_every_part_changes_the_key() -> None:
    keys = [
        cache_key("a", 1, None, ["b"]),
        cache_key("a", 1, None, ["c"]),
        cache_key("a", 1, 2, ["b"]),
        cache_key("a", "1"),
    ]
    assert len(set(keys)) == 4
    assert all(len(key) == 64 for key in keys)
