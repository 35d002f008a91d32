"""EVE SSO: login, JWTs, token refresh, and the vault that keeps tokens encrypted."""
