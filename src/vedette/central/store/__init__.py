"""PostgreSQL: the embedded server, the pool, migrations, named queries. No rule of the domain."""
