"""Killmail lists: who is due, reading the pages of a list, and the runs that tell of it."""
