"""What things are worth: ESI's prices a type and day, the operator's own, and the value of a killmail."""
