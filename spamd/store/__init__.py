"""The database: the only room that speaks SQL. `spamd.store.database.Store` is its door."""
