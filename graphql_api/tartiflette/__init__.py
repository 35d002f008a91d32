"""What the Tartiflette engine makes necessary: bindings, scalars, a wall before its parser, a faster completion."""
