"""Documents as clients write them, made ready for Tartiflette: parsed and validated by graphql-core, within bounds, remembered.

What fails is never remembered, and nothing of it stays: neither graphql-core's tree nor an error that points into it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import graphql as core
from tartiflette.language.ast import DocumentNode, Location
from tartiflette.types.exceptions.tartiflette import TartifletteError

from graphql_api import bounds
from graphql_api.errors import BadDocument, Invalid, Refused
from graphql_api.rules import EngineKnows, check_schema, rules
from graphql_api.tartiflette.conversion import to_document
from graphql_api.tartiflette.scalars import parse_moment

#: Documents that are remembered, bytes in all, by estimate.
MOST_REMEMBERED = 8_388_608
#: A larger one is not remembered, bytes by estimate: parsing it again costs its sender more than us.
LARGEST_REMEMBERED = 65_536
#: What a node of a document takes in memory, bytes: measured, with its names and places.
NODE_BYTES = 450
#: Errors that validation looks for: the message of each may quote a whole argument.
MOST_ERRORS = 5
#: A variable where it is used; more than there are do no harm.
_VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class Selection:
    """What a subscription selects of an event: the same text for whoever selects the same, and the variables in it."""

    text: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """A document that can be executed. *size*: what it takes in memory, bytes by estimate."""

    document: DocumentNode
    size: int
    #: By name of the operation (None: it has none), for subscriptions.
    selections: dict[str | None, Selection]


class _Enough(Exception):
    """Validation has found as many errors as a client is told."""


@cache
def _schema(sdl: str) -> core.GraphQLSchema:
    """Nothing changes it afterwards: all servers of a process have the same."""
    schema = core.build_schema(sdl)
    check_schema(schema)
    moments = schema.type_map["DateTime"]
    assert isinstance(moments, core.GraphQLScalarType)
    moments.coerce_input_literal = _moment_literal
    return schema


class Documents:
    """The documents of one schema."""

    def __init__(self, sdl: str, knows: EngineKnows, *, suggest: bool = True) -> None:
        """*suggest*: whether errors may name fields that were perhaps meant."""
        self._schema = _schema(sdl)
        self._rules = rules(knows)
        self._suggest = suggest
        self._remembered: OrderedDict[str, Ready] = OrderedDict()
        self.remembered_bytes = 0

    def recall(self, text: str) -> Ready | None:
        """The document, if it is remembered."""
        found = self._remembered.get(text)
        if found is None:
            return None
        self._remembered.move_to_end(text)
        return found

    def read(self, text: str) -> Ready:
        """The document, ready to be executed, and remembered.

        Raises:
            Refused, BadDocument, Invalid: as `prepare`.
        """
        ready = self.prepare(text)
        self.remember(text, ready)
        return ready

    def prepare(self, text: str) -> Ready:
        """The document, ready to be executed. May run in any thread: it changes nothing here.

        Raises:
            Refused: it exceeds a bound.
            BadDocument: it is no GraphQL.
            Invalid: it does not fit the schema.
        """
        bounds.check_size(text)
        tree = _parse(text)
        try:
            nodes = bounds.check(tree)
            errors = self._errors(tree)
            if errors:
                raise Invalid(errors)
            ready = Ready(to_document(tree), len(text) + nodes * NODE_BYTES, _selections(tree))
        finally:
            _untie(tree)
        return ready

    def _errors(self, tree: core.DocumentNode) -> list[Exception]:
        """What validation finds; at most `MOST_ERRORS`, since a message may quote a whole argument.

        As `graphql.validate`, but that names are not visited, which are half of all nodes and no rule looks at.
        """
        found: list[Exception] = []

        def note(error: core.GraphQLError) -> None:
            places = [Location(at.line, at.column, at.line, at.column) for at in (error.locations or ())[:20]]
            found.append(TartifletteError(error.message[:1_000], locations=places))
            if len(found) >= MOST_ERRORS:
                raise _Enough

        types = core.TypeInfo(self._schema)
        context = core.ValidationContext(self._schema, tree, types, note, hide_suggestions=not self._suggest)
        visitors: list[core.Visitor] = [rule(context) for rule in self._rules]
        with suppress(_Enough):
            core.visit(tree, core.TypeInfoVisitor(types, core.ParallelVisitor(visitors)), bounds.BRANCHES)
        return found

    def remember(self, text: str, ready: Ready) -> None:
        """Keep a document for the next who sends it."""
        if text in self._remembered or ready.size > LARGEST_REMEMBERED:
            return
        self._remembered[text] = ready
        self.remembered_bytes += ready.size
        while self.remembered_bytes > MOST_REMEMBERED:
            _, dropped = self._remembered.popitem(last=False)
            self.remembered_bytes -= dropped.size


def _parse(text: str) -> core.DocumentNode:
    try:
        return core.parse(
            text, max_lexical_tokens=bounds.MOST_TOKENS, max_comments=bounds.MOST_COMMENTS, no_location=False
        )
    except core.GraphQLSyntaxError as error:
        message, place = error.message, error.locations[0] if error.locations else None
    if message.endswith("tokens. Parsing aborted."):
        raise Refused("tokens", f"more than {bounds.MOST_TOKENS}", bounds.MOST_TOKENS)
    if message.endswith("comments. Parsing aborted."):
        raise Refused("comments", f"more than {bounds.MOST_COMMENTS}", bounds.MOST_COMMENTS)
    if message.endswith("nested too deeply. Parsing aborted."):
        raise Refused("levels of nesting", f"more than {bounds.MOST_NESTING}", bounds.MOST_NESTING)
    message = message.removeprefix("Syntax Error: ")[:200]
    raise BadDocument(f"line {place.line}, column {place.column}: {message}" if place else message)


def _selections(tree: core.DocumentNode) -> dict[str | None, Selection]:
    """What each subscription of a valid document selects. The arguments of its root field are no part of that."""
    found = {}
    fragments = [each for each in tree.definitions if isinstance(each, core.FragmentDefinitionNode)]
    for operation in tree.definitions:
        if (
            isinstance(operation, core.OperationDefinitionNode)
            and operation.operation is core.OperationType.SUBSCRIPTION
        ):
            parts = [_root_selection(each) for each in operation.selection_set.selections]
            text = "\n".join([*parts, *map(core.print_ast, fragments)])
            names = {each.variable.name.value for each in operation.variable_definitions or ()}
            used = tuple(sorted(names.intersection(_VARIABLE.findall(text))))
            # A variable that is not given has the default of its definition.
            given = [
                core.print_ast(each)
                for each in operation.variable_definitions or ()
                if each.variable.name.value in used
            ]
            name = operation.name.value if operation.name else None
            found[name] = Selection("\n".join([text, *given]), used)
    return found


def _root_selection(node: core.SelectionNode) -> str:
    if not isinstance(node, core.FieldNode):
        return core.print_ast(node)
    parts = [(node.alias or node.name).value, node.name.value, *map(core.print_ast, node.directives or ())]
    return " ".join([*parts, core.print_ast(node.selection_set) if node.selection_set else ""])


def _untie(tree: core.DocumentNode) -> None:
    """Take the tokens apart, which point at each other, so that the tree is freed at once and not by a later collection."""
    token = tree.loc.start_token if tree.loc else None
    while token is not None:
        following = token.next
        token.prev = token.next = None
        token = following


def _moment_literal(node: core.ValueNode) -> object:
    if not isinstance(node, core.StringValueNode):
        raise core.GraphQLError("a DateTime is text such as 2026-08-18T11:05:00Z", node)
    try:
        return parse_moment(node.value)
    except ValueError as error:
        raise core.GraphQLError(f"a DateTime is {error}", node) from None
