"""Attacks on the rooms that came later: forms of filters, previews, feeds, event streams, long pages, files."""

from __future__ import annotations

ATTACKS = ()
