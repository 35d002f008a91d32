"""Killsync: killmails of logged-in EVE Online players, from ESI to whoever wants to know.

Thin entry points (`actors`, `graphql_api`, `killsync.cli`, `killsync.web`) call features (`sync`, `killmails`, `names` and
others), which stand on clients (`esi`, `sso`, `broker`) and on the tables of `models`. Imports point that way.
"""
