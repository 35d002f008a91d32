"""Names of what killmails mention: which are wanted, asking ESI for them, finding by them."""
