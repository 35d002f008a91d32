"""What services say when they refuse: shown in their own words, bounded, and without anything secret."""

from __future__ import annotations

import pytest

from killsync.answers import MOST_CHARACTERS, answered, said


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "User-Agent names no contact"}', "User-Agent names no contact"),
        (b'{"error": "invalid_grant", "error_description": "Token missing/expired."}', "invalid_grant: Token missing/expired."),
        (b'{"error": "a  b\\n c\\u0000\\u001b[31m"}', "a b c[31m"),
        (b'{"message": "no"}', "no"),
        (b'{"error": {"code": 5}}', ""),
        (b"<html>502 Bad Gateway</html>", ""),
        (b"[]", ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_the_reason_of_a_refusal_is_read(body: bytes, words: str) -> None:
    assert said(body) == words


def test_what_is_shown_is_bounded_and_without_secrets() -> None:
    token = "abcdef-SHORT"
    body = (
        '{"error": "'
        + f"bad token {token} "
        + "Q1w2e3R4t5Y6u7I8o9P0a1S2 "
        + "eyJhbGciOiJSUzI1.eyJzdWIiOiJDSEFS "
        + "word " * 900
        + '"}'
    ).encode()
    words = said(body, token)
    assert len(words) <= MOST_CHARACTERS and words.startswith("bad token [redacted] [redacted] ")
    assert token not in words and "eyJ" not in words


def test_a_scope_is_no_secret() -> None:
    scope = "esi-killmails.read_corporation_killmails.v1"
    assert scope in said(f'{{"error": "token is not valid for scope {scope}"}}'.encode())


def test_without_words_the_status_stands_alone() -> None:
    assert answered("ESI", 400, "") == "ESI answered 400"
    assert answered("ESI", 400, "no") == "ESI answered 400: no"
