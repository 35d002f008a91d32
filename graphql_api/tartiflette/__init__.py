"""What the Tartiflette engine makes necessary: bindings, scalars, its own kind of tree, a faster completion."""
