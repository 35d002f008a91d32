"""Killmails: the ledger of every id, fetching, storing, and reading them."""
