"""The same migrations by alembic, and the same tables by SQLAlchemy's create_all; prints the seconds of one of them.

compare.py alembic FOLDER URL    FOLDER has the .up.sql files
compare.py create_all URL FROM   FROM is the URL of a migrated database whose tables are reflected
"""

import pathlib
import sys
import tempfile
import time

import sqlalchemy as sa

ENVIRONMENT = """
import sqlalchemy as sa
from alembic import context
engine = sa.create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

# The driver's own call: SQLAlchemy would read `:name` in the SQL as a parameter. A call without parameters may hold many
# statements.
REVISION = """
from alembic import op
revision = {name!r}
down_revision = {previous!r}
def upgrade():
    op.get_bind().connection.dbapi_connection.execute(open({file!r}).read())
"""


def alembic(folder: str, url: str) -> float:
    from alembic import command
    from alembic.config import Config

    with tempfile.TemporaryDirectory() as scripts:
        root = pathlib.Path(scripts)
        (root / "versions").mkdir()
        (root / "env.py").write_text(ENVIRONMENT)
        previous = None
        for file in sorted(pathlib.Path(folder).glob("*.up.sql")):
            name = file.name.removesuffix(".up.sql")
            (root / "versions" / f"{name}.py").write_text(REVISION.format(name=name, previous=previous, file=str(file)))
            previous = name
        # Its own table has room for 32 characters only.
        with sa.create_engine(url).begin() as connection:
            connection.execute(sa.text("create table alembic_version (version_num varchar(255) primary key)"))
        config = Config(attributes={"url": url})
        config.set_main_option("script_location", scripts)
        start = time.perf_counter()
        command.upgrade(config, "head")
        return time.perf_counter() - start


def create_all(url: str, source: str) -> float:
    metadata = sa.MetaData()
    origin = sa.create_engine(source)
    schemas = {"public", "audit"} & set(sa.inspect(origin).get_schema_names())
    for schema in schemas:
        # public has no name here: foreign keys reflect its tables without one, and each table would be there twice.
        metadata.reflect(bind=origin, schema=None if schema == "public" else schema)
    for table in metadata.tables.values():
        # Defaults and generated columns may call functions that only the migrations make.
        for column in table.columns:
            column.server_default = None
            column.computed = None
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for schema in schemas:
            connection.execute(sa.text(f"create schema if not exists {schema}"))
    start = time.perf_counter()
    metadata.create_all(engine)
    seconds = time.perf_counter() - start
    print(f"tables {len(metadata.tables)}")
    return seconds


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    print({"alembic": alembic, "create_all": create_all}[task](*arguments))
