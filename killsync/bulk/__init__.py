"""Killmails from files and into files: what `killsync import` and `killsync export` do."""
