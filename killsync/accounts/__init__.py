"""People: accounts, their characters, browser sessions and logins under way."""
