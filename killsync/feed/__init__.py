"""What tools of other killboards read: R2Z2's numbered entries, server-sent events, and the API of statistics tools."""
