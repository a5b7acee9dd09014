from __future__ import annotations

import pytest

from partitions.languages import normalise_language


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("en", "en"), ("EN", "en"), ("en-US", "en"), ("en_US", "en"), (" en-us ", "en"), ("eng", "en"),
        ("English", "en"), ("english (UK)", "en"), ("us", "en"), ("zh", "zh"), ("cn", "zh"), ("zh-Hans-CN", "zh"),
        ("cmn-Hans", "zh"), ("zh_CN", "zh"), ("Chinese", "zh"), ("中文", "zh"), ("jp", "ja"), ("日本語", "ja"),
        ("kr", "ko"), ("ua", "uk"), ("gr", "el"), ("dk", "da"), ("se", "sv"), ("cz", "cs"), ("deu", "de"),
        ("ger", "de"), ("Deutsch", "de"), ("de-de", "de"), ("pt-BR", "pt"), ("Português", "pt"), ("nb-NO", "nb"),
        ("sr-Latn-RS", "sr"), ("es-419", "es"), ("iw", "he"),
    ],
)  # fmt: skip
def test_a_language(tag: str, expected: str) -> None:
    assert normalise_language(tag) == expected


@pytest.mark.parametrize("tag", [None, "", " ", "-", "und", "xx", "none", "http://x", "12", "e", "klingon"])
def test_no_language(tag: str | None) -> None:
    assert normalise_language(tag) is None
