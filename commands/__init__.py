"""What the `killsync` commands do, one file a command."""
