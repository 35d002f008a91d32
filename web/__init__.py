"""The web server's parts but for GraphQL: login, sessions, security, events, health, pages."""
