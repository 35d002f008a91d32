"""The wall before the parser: one linear look at a document's tokens, with bounds on all that parsers choke on.

Tartiflette parses in C and by recursion; a document nested a few thousand deep would end the process. So size, nesting,
tokens, aliases, directives and what fragments unfold to are counted here first, without recursion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from graphql_api.errors import BadDocument, Refused

MOST_BYTES = 32_768
MOST_TOKENS = 4_000
#: Braces, brackets and parentheses that may be open at once, fragments unfolded.
MOST_NESTING = 40
MOST_ALIASES = 60
MOST_DIRECTIVES = 60
#: Fragment spreads, unfolded.
MOST_SPREADS = 1_000
MOST_DEFINITIONS = 100

#: Possessive quantifiers: a string without an end is given up at once instead of being tried in every way there is.
_TOKEN = re.compile(
    r"(?P<skip>[ \t\n\r,\ufeff]+|\#[^\n\r]*)"
    r'|(?P<string>"""(?:[^"\\]++|\\"""|\\|"{1,2}+(?!"))*+"""|"(?!"")(?:[^"\\\n\r]++|\\.)*+")'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?(?![0-9A-Za-z_.]))"
    r"|(?P<spread>\.\.\.)"
    r"|(?P<mark>[!$&()\[\]{}:=@|])"
)
#: An escape within a string; two of them where a character beyond 16 bits is written in halves.
_ESCAPES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass
class _Definition:
    """An operation or fragment: how deep it goes itself, and where it spreads which fragment."""

    depth: int = 0
    spreads: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Scan:
    tokens: int = 0
    aliases: int = 0
    directives: int = 0
    open: int = 0
    parentheses: int = 0
    operations: list[_Definition] = field(default_factory=list)
    fragments: dict[str, _Definition] = field(default_factory=dict)


def check(document: str) -> None:
    """Make sure that *document* can be given to the parser.

    Raises:
        Refused: it exceeds a bound; the error says which, how far, and the bound.
        BadDocument: it is no GraphQL at all, or its fragments form a circle.
    """
    size = len(document) if document.isascii() else len(document.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        raise Refused("bytes", size, MOST_BYTES)
    if found := _FORBIDDEN.search(document):
        raise BadDocument(f"character {found.start() + 1} of the query may not stand in GraphQL")
    scan = _scan(document)
    _bound("tokens", scan.tokens, MOST_TOKENS)
    _bound("aliases", scan.aliases, MOST_ALIASES)
    _bound("directives", scan.directives, MOST_DIRECTIVES)
    _bound("definitions", len(scan.operations) + len(scan.fragments), MOST_DEFINITIONS)
    _check_unfolded(scan)


def written_out(document: str) -> str:
    r"""*document*, which passed `check`, with the characters that its strings write as `\\uXXXX` put there themselves.

    Tartiflette's parser makes wrong bytes of such an escape beyond ASCII, and ends a string at a NUL.

    Raises:
        BadDocument: an escape stands for half a character, or for NUL.
    """
    if "\\u" not in document:
        return document
    pieces, position = [], 0
    while position < len(document):
        match = _TOKEN.match(document, position)
        assert match is not None
        text = match.group()
        is_plain = match.lastgroup != "string" or text.startswith('"""')
        pieces.append(text if is_plain else _ESCAPES.sub(_character, text))
        position = match.end()
    return "".join(pieces)


def _character(match: re.Match[str]) -> str:
    escape = match.group()
    if len(escape) == 2:
        return escape
    text = bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    if text == "\0" or "\ud800" <= text[0] <= "\udfff":
        raise BadDocument(f"{escape} stands for no character that text may hold")
    return escape if text < "\x80" else text


def _bound(what: str, found: int, limit: int) -> None:
    if found > limit:
        raise Refused(what, found, limit)


def _scan(document: str) -> _Scan:
    scan = _Scan()
    definition: _Definition | None = None
    last = ""
    position = 0
    while position < len(document):
        match = _TOKEN.match(document, position)
        if match is None:
            raise BadDocument(f"character {position + 1} of the query is no GraphQL")
        position = match.end()
        kind, text = match.lastgroup, match.group()
        if kind == "skip":
            continue
        scan.tokens += 1
        if scan.tokens > MOST_TOKENS:
            raise Refused("tokens", f"more than {MOST_TOKENS}", MOST_TOKENS)
        if scan.open == 0 and definition is None:
            definition = _Definition()
            scan.operations.append(definition)
        if kind == "mark":
            definition = _mark(scan, definition, text)
        elif kind == "name" and definition is not None:
            if last == "fragment" and scan.open == 0 and scan.operations and scan.operations[-1] is definition:
                # What was taken for an operation is a fragment: the word before was its keyword.
                scan.operations.pop()
                scan.fragments[text] = definition
            elif last == "..." and text != "on":
                definition.spreads.append((scan.open, text))
        last = text if kind in ("name", "spread", "mark") else ""
    return scan


def _mark(scan: _Scan, definition: _Definition | None, mark: str) -> _Definition | None:
    """Count a punctuator; None when it closed its definition."""
    if mark in "{([":
        scan.open += 1
        scan.parentheses += mark == "("
        if scan.open > MOST_NESTING:
            raise Refused("levels of nesting", f"more than {MOST_NESTING}", MOST_NESTING)
        if definition is not None:
            definition.depth = max(definition.depth, scan.open)
    elif mark in "})]":
        scan.open = max(0, scan.open - 1)
        scan.parentheses -= mark == ")" and scan.parentheses > 0
        if mark == "}" and scan.open == 0:
            return None
    elif mark == ":" and scan.parentheses == 0:
        scan.aliases += 1
    elif mark == "@":
        scan.directives += 1
    return definition


def _check_unfolded(scan: _Scan) -> None:
    """Bound depth and number of what fragments unfold to; find circles. Iterative: fragments in order of use."""
    unfolded: dict[str, tuple[int, int]] = {}
    for name in _children_first(scan.fragments):
        unfolded[name] = _unfold(scan.fragments[name], unfolded)
    for operation in scan.operations:
        _unfold(operation, unfolded)


def _unfold(definition: _Definition, unfolded: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """(depth, spreads) of a definition with its fragments in place."""
    depth, spreads = definition.depth, len(definition.spreads)
    for at, name in definition.spreads:
        inner_depth, inner_spreads = unfolded.get(name, (0, 0))
        depth = max(depth, at + inner_depth - 1)
        spreads += inner_spreads
    if depth > MOST_NESTING:
        raise Refused("levels of nesting", depth, MOST_NESTING)
    if spreads > MOST_SPREADS:
        raise Refused("fragment spreads", f"more than {MOST_SPREADS}", MOST_SPREADS)
    return depth, spreads


def _children_first(fragments: dict[str, _Definition]) -> list[str]:
    """Fragment names, each behind all that it spreads."""
    order: list[str] = []
    state: dict[str, int] = {}
    for root in fragments:
        stack = [root]
        while stack:
            name = stack[-1]
            if state.get(name) == 2:
                stack.pop()
                continue
            if state.get(name) == 1:
                state[name] = 2
                order.append(stack.pop())
                continue
            state[name] = 1
            for _, child in fragments[name].spreads:
                if child in fragments and state.get(child) == 1:
                    raise BadDocument(f"the fragment {child[:40]} spreads itself")
                if child in fragments and child not in state:
                    stack.append(child)
    return order
