"""Runs the revisions for neutron-db-manage, with the version table that networking-bagpipe has always used."""

from alembic import context
from neutron_lib.db import model_base
from oslo_db.sqlalchemy import session

VERSION_TABLE = "alembic_version_bagpipel2"


def _run(**where):
    context.configure(target_metadata=model_base.BASEV2.metadata, version_table=VERSION_TABLE, **where)
    with context.begin_transaction():
        context.run_migrations()


database = context.config.neutron_config.database
if context.is_offline_mode():
    if database.connection:
        _run(url=database.connection)
    else:
        _run(dialect_name=database.engine)
else:
    engine = session.create_engine(database.connection)
    try:
        with engine.connect() as connection:
            _run(connection=connection)
    finally:
        engine.dispose()
