"""Killmail lists: who is due, reading the pages of a list, and the runs that count what it brought."""
