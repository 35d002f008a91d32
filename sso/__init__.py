"""EVE SSO: login, JWTs, refresh, the vault that keeps tokens encrypted."""
