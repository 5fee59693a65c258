"""Markdown as a reader sees it: parsed, not searched for strings."""

from markdown_it import MarkdownIt

Table = list[list[str]]


def tables(text: str) -> dict[str, Table]:
    """Rows of each table, header first, as plain text; by the heading that it stands under."""
    found: dict[str, Table] = {}
    heading = ""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in zip(tokens, tokens[1:], strict=False):
        if token.type == "inline" and before.type == "heading_open":
            heading = plain(token)
        elif token.type == "table_open":
            found[heading] = []
        elif token.type == "tr_open":
            found[heading].append([])
        elif token.type == "inline" and before.type in ("th_open", "td_open"):
            found[heading][-1].append(plain(token))
    return found


def headings(text: str) -> list[str]:
    """All headings in plain text."""
    tokens = MarkdownIt("commonmark").parse(text)
    pairs = zip(tokens, tokens[1:], strict=False)
    return [plain(token) for before, token in pairs if before.type == "heading_open"]


def plain(token) -> str:
    """The text of an inline token; whatever is not text fails."""
    kinds = {child.type for child in token.children}
    assert kinds <= {"text"}, f"{token.content!r} is not plain text: {kinds}"
    return "".join(child.content for child in token.children)
