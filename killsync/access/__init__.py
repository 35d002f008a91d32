"""Whose board it is: who may log in, who may read, keys of programs, and what is on record of all that."""
