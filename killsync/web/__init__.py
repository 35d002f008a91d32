"""The web server but for GraphQL: login, sessions, security, health, pages."""
