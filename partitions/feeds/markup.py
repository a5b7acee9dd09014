"""Reads XML that may not be well-formed, so that a broken element affects only its own item.

A document that is not well-formed is repaired (stray ampersands, HTML's entities, control characters). If that is not
enough, it is split at its items, and each item is read separately. No parser opens a file, a connection or an entity:
everything before the root element, such as DOCTYPE and entity declarations, is removed unread.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urljoin, urlsplit

from lxml import etree

T = TypeVar("T")
Fields: TypeAlias = dict[str, list[etree._Element]]
"""The elements of one item or channel by name: `title`, `itunes:duration`, `podcast:transcript`.

Names are in lower case, with the usual prefix of their namespace instead of the prefix that the document declares.
Elements of Atom and RSS have no prefix.
"""


def from_root(text: str, roots: tuple[str, ...]) -> str | None:
    """The text from the start tag of one of these root elements on; None if there is none."""
    found = re.search(rf"<(?:[\w-]+:)?(?:{'|'.join(roots)})(?=[\s/>])", text)
    return text[found.start() :] if found else None


def read_items(
    text: str, *, url: str, items: tuple[str, ...], read: Callable[[Fields], T]
) -> tuple[Fields, list[T], list[str]]:
    """The fields around the items, what `read` makes of the fields of each item, and what was repaired.

    `text` begins at the root element. An item is an element named by `items`, at any depth. The elements of an item are
    removed after it is read: the tree of a feed takes ten times as much memory as its text.
    """
    try:
        return *_streamed(text, url, items, read), []
    except etree.XMLSyntaxError as error:
        reason = str(error.msg).split(", line")[0]
    try:
        return *_streamed(_repaired(text), url, items, read), [f"repaired: {reason}"]
    except etree.XMLSyntaxError:
        head, found = _split_text(text, url, items)
        return head, [read(item) for item in found], [f"not well-formed, each item was read separately: {reason}"]


def read_tree(text: str) -> etree._Element | None:
    """The root element, with all that can be recovered of a document that is not well-formed."""
    try:
        return _tree(text, None)
    except etree.XMLSyntaxError:
        return _tree(_repaired(text), None, recover=True)


def text_of(element: etree._Element) -> str:
    """All text inside an element, stripped."""
    if not len(element):  # as nearly always
        return (element.text or "").strip()
    return "".join(element.itertext()).strip()


def first_text(fields: Fields, *names: str) -> str | None:
    """The first non-empty text, in the order of `names`."""
    for name in names:
        for element in fields.get(name, ()):
            if text := text_of(element):
                return text
    return None


def absolute_url(element: etree._Element, value: str | None) -> str | None:
    """A URL of `element`, resolved against xml:base and the document's URL; None if it is not a URL."""
    url = "%20".join((value or "").split())
    if not url or len(url) > LONGEST_URL:
        return None
    if _ABSOLUTE.fullmatch(url):
        return url
    if url.lower().startswith("www."):
        url = f"http://{url}"
    try:
        joined = urljoin(element.base or "", url)
        return joined if urlsplit(joined).scheme else None
    except ValueError:
        return None


def name_of(element: etree._Element) -> str:
    """The name as in `Fields`."""
    tag = str(element.tag)
    return _usual_name(tag, (element.prefix or "") if tag[:1] == "{" else "")


@lru_cache(maxsize=4096)
def _usual_name(tag: str, declared_prefix: str) -> str:
    namespace, _, local = tag.rpartition("}")
    if not namespace:  # none, or an undeclared prefix
        return local.lower().removeprefix("atom:")
    namespace = namespace.lower()
    prefix = next((prefix for part, prefix in _PREFIXES if part in namespace), declared_prefix)
    return f"{prefix}:{local.lower()}" if prefix else local.lower()


_PREFIXES = (
    ("itunes", "itunes"),
    ("podcast-namespace", "podcast"),
    ("podcastindex.org/namespace", "podcast"),
    ("search.yahoo.com/mrss", "media"),
    ("purl.org/dc", "dc"),
    ("creativecommons", "creativecommons"),
    ("modules/content", "content"),
    ("w3.org/2005/atom", ""),
    ("purl.org/atom", ""),
    ("purl.org/rss/1.0/modules/link", "link"),
    ("purl.org/rss/1.0", ""),
)
"""A part of the namespace in lower case → the prefix of its elements. Feeds misspell namespaces."""

LONGEST_URL = 8192
_ABSOLUTE = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?/[^?#;]*")
"""URLs that stay as they are when they are resolved, which takes ten times as long as this."""

_CONTAINERS = ("channel", "media:group")
"""Elements whose children count as children of their parent."""


_OPTIONS: dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,  # keeps libxml2's limits on depth and on the size of one text
    "remove_comments": True,
    "remove_pis": True,
}
_CHUNK = 1 << 20


def _tree(text: str, url: str | None, *, recover: bool = False) -> etree._Element:
    parser = etree.XMLParser(recover=recover, **_OPTIONS)
    return etree.fromstring(text.encode("utf-8", "replace"), parser, base_url=url)


def _streamed(text: str, url: str, items: tuple[str, ...], read: Callable[[Fields], T]) -> tuple[Fields, list[T]]:
    tags = [tag for name in items for tag in (name, f"{{*}}{name}")]
    parser = etree.XMLPullParser(("end",), tag=tags, base_url=url, **_OPTIONS)
    found: list[T] = []
    last: etree._Element | None = None
    for start in range(0, len(text), _CHUNK):
        parser.feed(text[start : start + _CHUNK].encode("utf-8", "replace"))
        for _, element in parser.read_events():
            if _is_item(element, items) and not any(_is_item(one, items) for one in element.iterancestors()):
                found += [read(_fields_of(item)) for item in element.iter() if _is_item(item, items)]
                _remove(last)  # not the element itself: the parser may still add text after it
                last = element
    root = parser.close()
    _remove(last)
    # What is left has a name in capitals, or other elements of its name around it.
    found += [read(_fields_of(item)) for item in root.iter() if _is_item(item, items)]
    return _fields(element for element in _children(root) if not _is_item(element, items)), found


def _is_item(element: etree._Element, items: tuple[str, ...]) -> bool:
    return name_of(element) in items


def _remove(element: etree._Element | None) -> None:
    if element is not None and (parent := element.getparent()) is not None:
        parent.remove(element)


def _split_text(text: str, url: str, items: tuple[str, ...]) -> tuple[Fields, list[Fields]]:
    start_tag = re.compile(rf"<(?:[\w-]+:)?({'|'.join(items)})(?:\s[^<>]*)?(?<!/)>")
    starts = [found.start() for found in start_tag.finditer(text)]
    around, parts, last_end = [], [], 0
    for start, next_start in pairwise([*starts, len(text)]):
        end_tag = re.compile(rf"</(?:[\w-]+:)?(?:{'|'.join(items)})\s*>").search(text, start, next_start)
        end = end_tag.end() if end_tag else next_start
        around.append(text[last_end:start])
        parts.append(text[start:end])
        last_end = end
    around.append(text[last_end:])
    # The cut removes end tags of the head. Recovery adds them.
    head = _tree(_repaired("".join(around)), url, recover=True)
    wrapper = "<alone" + _declarations(around[0]) + ">"
    found = [_item_fields(wrapper, part, url) for part in parts]
    return _fields_of(head) if head is not None else {}, found


def _item_fields(wrapper: str, part: str, url: str) -> Fields:
    """The fields of one item of a document that is not well-formed."""
    if "<" not in part[1:].replace("</", ""):  # an empty item: not worth a parser
        return {}
    try:
        return _fields_of(_tree(f"{wrapper}{_repaired(part)}</alone>", url)[0])
    except etree.XMLSyntaxError:
        part = _with_quotes(_with_text_only(part))
        tree = _tree(f"{wrapper}{_repaired(part)}</alone>", url, recover=True)
        # Without its end tag, an element contains those that follow it: count elements at any depth.
        return _fields(tree.iter())


def _children(element: etree._Element) -> Iterator[etree._Element]:
    for child in element:
        yield child
        if name_of(child) in _CONTAINERS:
            yield from child


def _fields_of(element: etree._Element) -> Fields:
    """The same as of its `_children`, in half of the time."""
    fields: Fields = {}
    for child in element:
        name = name_of(child)
        fields.setdefault(name, []).append(child)
        if name in _CONTAINERS:
            for inner in child:
                fields.setdefault(name_of(inner), []).append(inner)
    return fields


def _fields(elements: Iterator[etree._Element]) -> Fields:
    fields: Fields = {}
    for element in elements:
        fields.setdefault(name_of(element), []).append(element)
    return fields


def _declarations(head: str) -> str:
    """The declarations of namespaces, base and language before the first item."""
    pattern = r"""\s(xmlns:[\w.-]+|xmlns|xml:base|xml:lang)\s*=\s*("[^"<]*"|'[^'<]*')"""
    declared = re.findall(pattern, head[:_DECLARED_WITHIN])  # they are read again with every item
    return "".join(f" {name}={value.replace('&', '&amp;')}" for name, value in dict(declared).items())


_DECLARED_WITHIN = 4096

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"&(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};)?")


def _repaired(text: str) -> str:
    """The text without characters that XML forbids, and with only references that XML knows outside of CDATA."""
    parts = _split_cdata(_NOT_XML.sub("", text))
    return "".join(part if is_cdata else _REFERENCE.sub(_known_reference, part) for part, is_cdata in parts)


def _split_cdata(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of the text in order, and whether each is a CDATA section."""
    position = 0
    while True:
        start = text.find("<![CDATA[", position)
        end = text.find("]]>", start) if start >= 0 else -1
        if end < 0:
            yield text[position:], False
            return
        yield text[position:start], False
        yield text[start : end + 3], True
        position = end + 3


def _known_reference(found: re.Match[str]) -> str:
    reference = found.group(0)
    if reference in ("&amp;", "&lt;", "&gt;", "&quot;", "&apos;"):
        return reference
    character = html.unescape(reference)
    if found.group(1) is None or character == reference:  # a bare "&", or an unknown entity
        return "&amp;" + reference[1:]
    return _NOT_XML.sub("", html.escape(character)).replace("\ufffd", "")  # what HTML makes of "&#0;"


_OPENING = re.compile(r"<([\w:.-]+)(?:\s[^<>]*)?(?<!/)>\s*(<!\[CDATA\[)?")
_CLOSING = re.compile(r"</([\w:.-]+)")
_TEXTS = re.compile(
    r"title|description|guid|id|link|pubdate|published|updated|summary|itunes:(?!category|owner|image).*"
)


def _with_text_only(part: str) -> str:
    """The part, with only text in elements that hold text.

    A CDATA section without an end is ended with its element. Tags outside of CDATA are escaped, because they may have
    no end tag: `<title>a <b>b</title>`.
    """
    ends: dict[str, list[int]] = {}
    for closing in reversed(list(_CLOSING.finditer(part))):
        ends.setdefault(closing.group(1), []).append(closing.start())
    done, position = [], 0
    for opening in _OPENING.finditer(part):
        name, is_cdata = opening.group(1), opening.group(2) is not None
        if opening.start() < position or not (is_cdata or _TEXTS.fullmatch(name.lower())):
            continue
        later = ends.get(name, [])
        while later and later[-1] < opening.end():
            later.pop()
        if not later:
            continue
        end = later[-1]
        body = part[opening.end() : end]
        if is_cdata:
            body += "" if "]]>" in body else "]]>"
        elif "<![CDATA[" not in body:
            body = body.replace("<", "&lt;")
        done += [part[position : opening.end()], body]
        position = end
    return "".join(done) + part[position:]


_TAG = re.compile(r"<[A-Za-z][^<>]*>")
_UNQUOTED = re.compile(r"""(\s[\w:.-]+)=([^\s"'<>]+?)(?=\s|/?>$)""")


def _with_quotes(part: str) -> str:
    """`url=http://…` → `url="http://…"` inside of tags."""
    return _TAG.sub(lambda tag: _UNQUOTED.sub(r'\1="\2"', tag.group(0)), part)
