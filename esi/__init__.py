"""The ESI client: requests, one budget for all processes, errors by meaning. Knows no tables but the budget's and the usage's."""
