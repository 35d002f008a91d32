"""Schema migrations, run in order of their numbers by `killsync migrate`. A landed file is never edited."""
