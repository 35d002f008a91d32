"""How the ship that died was fitted and what it could do: EVEShip.fit's dogma engine over a stored killmail."""
