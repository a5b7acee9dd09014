"""Licenses of feeds and episodes: one name for each, and which allow use, change and distribution by anybody."""

from __future__ import annotations

import re
from collections.abc import Collection

PERMISSIVE, ANY, UNSTATED = "permissive", "any", "unstated"
"""What `--license` takes beside names of licenses."""

_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)(?:/([\d.]+\d))?")
_NAMES = {"zero": "cc0", "mark": "pdm", "publicdomain": "public-domain", "certification": "public-domain"}
_VERSION = r"(-\d[\d.]*(-(?!nc|nd|sa)([a-z]{2}|igo|international|unported|generic))?)?"
"""With the country that a version was adapted for. `cc-by-4.0-noncommercial` is no version of `cc-by`."""
_PERMISSIVE = re.compile(
    rf"cc0(-1\.0)?|pdm(-1\.0)?|public-domain|cc-by{_VERSION}|pddl(-1\.0)?|odc-by(-1\.0)?|cdla-permissive-[\d.]+"
    r"|apache-2\.0|mit(-0)?|(0)?bsd(-[\w-]+)?|isc|unlicense|wtfpl|zlib"
)


def identify(text: str | None, url: str | None = None) -> str | None:
    """The identifier of a license that a feed names, in lower case as SPDX writes it: `cc-by-4.0`; None: it names none.

    Text that is no identifier is kept as one word.
    """
    for value in (text, url):
        if found := _CREATIVE_COMMONS.search((value or "").lower()):
            kind, version = found.groups()
            name = _NAMES.get(kind, f"cc-{kind}")
            return f"{name}-{version}" if version else name
    word = re.sub(r"[\s_]+", "-", (text or "").strip().lower())
    return word or (url or "").strip().lower() or None


def is_permissive(license_id: str | None) -> bool:
    """Whether everybody may use, change and distribute the work. Share-alike and non-commercial licenses are not."""
    return license_id is not None and _PERMISSIVE.fullmatch(license_id) is not None


def is_allowed(license_id: str | None, wanted: Collection[str]) -> bool:
    """Whether one of the wanted licenses is this one: `cc-by-sa` is every version of it, but not `cc-by-sa-nc`."""
    if ANY in wanted or (PERMISSIVE in wanted and is_permissive(license_id)):
        return True
    if license_id is None:
        return UNSTATED in wanted
    return any(re.fullmatch(re.escape(name.lower()) + _VERSION, license_id) for name in wanted)
