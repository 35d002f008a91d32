"""One meaning of `.env`: what is written means the same to every reader, and what differs is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync import env_file


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "A="),
        ("postgresql://u:p@127.0.0.1:5432/killsync?sslmode=require", "A=postgresql://u:p@127.0.0.1:5432/killsync?sslmode=require"),
        ("Killsync/1.0 (you@example.org)", "A='Killsync/1.0 (you@example.org)'"),
        ("a # b", "A='a # b'"),
        ("$HOME ${HOME} $(id) `id`", "A='$HOME ${HOME} $(id) `id`'"),
        ('say "so"', "A='say \"so\"'"),
        ("it's so", 'A="it\'s so"'),
        (" around ", "A=' around '"),
    ],
)  # fmt: skip
def test_a_value_is_written_in_the_form_that_all_read_alike(value: str, line: str) -> None:
    assert f"A={env_file.written(value)}" == line
    assert env_file.values(line) == {"A": value}
    assert env_file._as_honcho_reads(line).get("A", "") == value
    assert env_file.differing(line) == []


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_whatever_can_be_written_is_read_back_by_us_and_by_honcho(value: str) -> None:
    try:
        line = f"A={env_file.written(value)}"
    except env_file.CannotBeWritten:
        assert "\\" in value or ("'" in value and set(value) & set('"$`'))
        return
    assert env_file.values(line) == {"A": value}
    assert env_file._as_honcho_reads(line).get("A", "") == value
    assert env_file.differing(line) == []


@pytest.mark.parametrize(
    "line",
    ["A=two words", "A=b # said", "A=b#c", 'A="$HOME"', 'A="a\\nb"', "A=$HOME", "A=it's", "export A=b", "A = b", " A=b",
     "A='b' # said", "A: b", "nothing", "A='a'b", "A=a\\b", "A='open", ";A=b"],
)  # fmt: skip
def test_a_line_that_readers_read_differently_is_named(line: str) -> None:
    assert [number for number, _name in env_file.differing(f"# said\n\nB=1\n{line}\nC='2 3'\n")] == [4]


def test_what_honcho_made_of_a_line_gives_way_to_what_the_line_says() -> None:
    text = "ESI_USER_AGENT=Killsync/1.0 (you@example.org)\nWEB_PORT=8081 # said\nA=1\n"
    by_honcho = env_file._as_honcho_reads(text)
    assert by_honcho["ESI_USER_AGENT"] == "Killsync/1.0(you@example.org)"
    found = env_file.combined(text, {**by_honcho, "A": "2", "OTHER": "3"})
    assert found == {"ESI_USER_AGENT": "Killsync/1.0 (you@example.org)", "WEB_PORT": "8081", "A": "2", "OTHER": "3"}
