"""ESI's rate limit: token buckets, error limit and circuit breaker, kept in the database for all processes."""
