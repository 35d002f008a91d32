"""The scheduler and what its ticks do: who is due, and what was left behind."""
