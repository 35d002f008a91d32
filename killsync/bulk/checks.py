"""Spares PostgreSQL the check of each attacker and item for its killmail, which is almost half of what an import costs it.

An import adds a killmail and its parts in one transaction, so there is nothing that the check could find. It is passed over where
the role may: a superuser may, and from PostgreSQL 15 on whoever was granted it.
https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SESSION-REPLICATION-ROLE
"""

from __future__ import annotations

from typing import Any

from peewee import Table, Value, fn

from killsync.process import OnePerProcess
from models.db import database, is_postgres, server_version
from models.expressions import evaluate

#: What an import adds rows to.
TABLES = ("killmail_ref", "killmail", "victim", "attacker", "killmail_item", "killmail_body", "involved_victim",
          "involved_attacker", "involved_both", "killmail_log", "killmail_counter")  # fmt: skip
#: The first version in which a role can be granted to set a parameter.
_GRANTS_SINCE = 15


def skip_foreign_keys() -> None:
    """In a transaction whose rows refer only to rows that it adds itself: have PostgreSQL not check that, if it may be so."""
    if is_postgres() and _may_skip():
        evaluate(fn.set_config("session_replication_role", "replica", True))


def _is_allowed() -> bool:
    """Whether the role may, and nobody's trigger on these tables would be passed over as well."""
    may_set: Any = fn.current_setting("is_superuser") == "on"
    if (server_version() or 0) >= _GRANTS_SINCE:
        may_set = fn.has_parameter_privilege("session_replication_role", "SET")
    triggers: Any = Table("pg_trigger", ("tgrelid", "tgisinternal")).bind(database)
    theirs = triggers.select(triggers.tgrelid).where(
        triggers.tgisinternal == Value(False), triggers.tgrelid.in_([fn.to_regclass(table) for table in TABLES])
    )
    return bool(evaluate(may_set)) and not theirs.count()


_may_skip = OnePerProcess(_is_allowed)
