"""Attacks on the running processes, over loopback alone: what each costs the process, and whether others notice."""
