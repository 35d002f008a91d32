"""The `killsync` command, one module a command."""
