"""The attacks of docs/security.md in a short form: nobody is hurt."""

from __future__ import annotations

import pytest

from tests.attack import __main__ as attacks


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nobody_is_hurt_by_an_attack() -> None:
    results = attacks.run([], short=True)
    assert len(results) == len(attacks.ATTACKS)
    assert not {each.name: outcome.problems for each, outcome in results if outcome.problems}
