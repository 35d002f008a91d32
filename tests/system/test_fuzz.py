"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.support import fuzz


def test_generated_and_broken_input_never_ends_in_a_fault_of_the_server(tmp_path: Path) -> None:
    target = fuzz.run(10, tmp_path)
    assert min(target.cases[kind] for kind in ("documents", "requests", "sockets")) >= 30
    assert target.answers[200] > 30, "right documents are answered"
