"""Webhooks: what a player wants to be notified of, and delivering it."""
