"""What subscribers are notified of: the event table and the hub of the web process."""
