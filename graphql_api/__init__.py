"""The GraphQL endpoint: schema, execution on Tartiflette, limits, and its HTTP and WebSocket transports."""
