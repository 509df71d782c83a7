"""The readable text of an HTML page, in one pass whose time grows with the page's size and no faster.

Not html.parser: before the fixes of 2025 its time grew with the square of a malformed page's size (CVE-2025-6069), and
pages come from strangers.
"""

import html
import re
from typing import Final

_SKIPPED: Final = frozenset(
    {"script", "style", "noscript", "template", "svg", "iframe", "object", "textarea", "select"}
)
"""Elements whose content nobody reads."""
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figure", "footer", "form",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table",
    "tbody", "tfoot", "thead", "title", "tr", "ul",
})  # fmt: skip
_CELLS: Final = frozenset({"td", "th"})
_HEADINGS: Final = {f"h{level}": "#" * level + " " for level in range(1, 7)}

_TAG_NAME: Final = re.compile(r"/?([a-zA-Z][a-zA-Z0-9:-]{0,30})")
_TAG_STOP: Final = re.compile(r"[>\"']")
_CLOSING: Final = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in _SKIPPED}
_SPACES: Final = re.compile(r"[ \t\r\f\v\u00a0\u200b]+")


def page_text(page: str, *, max_chars: int) -> str:
    """At most `max_chars` characters: a line for each block, headings with #, cells with |, no empty lines."""
    lines: list[str] = []
    line: list[str] = []
    length = 0

    def end_line() -> None:
        nonlocal length
        text = _SPACES.sub(" ", "".join(line).replace("\n", " ")).strip(" |")
        line.clear()
        if text.strip("# "):
            lines.append(text)
            length += len(text) + 1

    at = 0
    while at < len(page) and length <= max_chars:
        opening = page.find("<", at)
        if opening == -1:
            line.append(_unescaped(page[at:]))
            break
        line.append(_unescaped(page[at:opening]))
        if page.startswith(("<!", "<?"), opening):
            end = "-->" if page.startswith("<!--", opening) else ">"
            closing = page.find(end, opening)
            if closing == -1:
                break
            at = closing + len(end)
            continue
        name_found = _TAG_NAME.match(page, opening + 1)
        if name_found is None:
            line.append("<")
            at = opening + 1
            continue
        at = _after_tag(page, name_found.end())
        name, is_end = name_found[1].lower(), page[opening + 1] == "/"
        if name in _SKIPPED and not is_end:
            closing_tag = _CLOSING[name].search(page, at)
            if closing_tag is None:
                break
            at = _after_tag(page, closing_tag.end())
        elif name in _BLOCKS:
            end_line()
            if not is_end and name in _HEADINGS:
                line.append(_HEADINGS[name])
        elif name in _CELLS and not is_end:
            line.append(" | ")
    end_line()
    return "\n".join(lines)[:max_chars]


def _after_tag(page: str, at: int) -> int:
    """Where the text goes on after the tag whose name ends at `at`. A quote that never closes counts as none; a tag
    that never ends takes the rest of the page, so that nothing is looked for twice.
    """
    quoted_from = at
    while (stop := _TAG_STOP.search(page, quoted_from)) is not None:
        if stop[0] == ">":
            return stop.end()
        closing = page.find(stop[0], stop.end())
        if closing == -1:
            end = page.find(">", stop.end())
            return len(page) if end == -1 else end + 1
        quoted_from = closing + 1
    return len(page)


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a numeric entity of thousands of digits
        return text
