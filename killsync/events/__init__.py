"""The log of killmails, and what subscribers of the web process follow."""
