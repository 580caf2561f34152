import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

# SQLAlchemy would hand the URL's parts to asyncpg one by one, and asyncpg takes the certificates in a whole URL only.
engine = create_async_engine("postgresql+asyncpg://", connect_args={"dsn": os.environ["DATABASE_URL"]})


async def main():
    for number in range(10):
        ada = {"name": f"ada{number}", "email": f"ada{number}@example.com"}
        async with engine.begin() as connection:
            insert = text("insert into users (username, email, hashed_password) values (:name, :email, 'x')")
            await connection.execute(insert, ada)
        async with engine.connect() as connection:
            assert await connection.scalar(text("select email from users where username = :name"), ada) == ada["email"]
        async with engine.begin() as connection:
            await connection.execute(text("delete from users where username = :name"), ada)
    await engine.dispose()


asyncio.run(main())
