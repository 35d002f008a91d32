"""The client of EVE's API: requests, schemas of answers, errors by meaning, and the rate limit that all processes share."""
