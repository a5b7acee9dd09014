"""Licenses as feeds write them."""

from __future__ import annotations

import pytest

from resources.exports.licenses import identify, is_allowed, is_permissive


@pytest.mark.parametrize(
    ("text", "url", "license_id", "permissive"),
    [
        ("cc-by-4.0", None, "cc-by-4.0", True),
        ("CC BY 4.0", None, "cc-by-4.0", True),
        ("http://creativecommons.org/licenses/by/3.0/us/", None, "cc-by-3.0", True),
        (None, "https://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0", True),
        ("My license", "https://creativecommons.org/licenses/by-nc-nd/4.0/legalcode", "cc-by-nc-nd-4.0", False),
        ("CC BY 3.0 US", None, "cc-by-3.0-us", True),
        ("CC BY 4.0 International", None, "cc-by-4.0-international", True),
        ("CC BY 4.0 NC", None, "cc-by-4.0-nc", False),
        ("CC BY 4.0 NonCommercial", None, "cc-by-4.0-noncommercial", False),
        ("cc-by-sa-4.0", None, "cc-by-sa-4.0", False),
        ("cc-by-nc-4.0", None, "cc-by-nc-4.0", False),
        ("Apache-2.0", None, "apache-2.0", True),
        ("All rights reserved", None, "all-rights-reserved", False),
        ("MIT no attribution", None, "mit-no-attribution", False),
        (None, "https://example.org/terms", "https://example.org/terms", False),
        ("  ", None, None, False),
        (None, None, None, False),
    ],
)
def test_identify(text: str | None, url: str | None, license_id: str | None, permissive: bool) -> None:
    assert identify(text, url) == license_id
    assert is_permissive(license_id) == permissive


def test_wanted_licenses() -> None:
    assert is_allowed(None, ["any"])
    assert is_allowed(None, ["unstated"])
    assert not is_allowed(None, ["permissive", "cc-by"])
    assert is_allowed("cc-by-sa-4.0", ["permissive", "cc-by-sa"])
    assert is_allowed("cc-by-nc-4.0", ["CC-BY-NC-4.0"])
    assert not is_allowed("cc-by-nc-sa-4.0", ["cc-by-nc"])
    assert not is_allowed("cc-by-4.0-nc", ["cc-by"])
    assert not is_allowed("cc-by-4.0", ["cc-by-nc"])
