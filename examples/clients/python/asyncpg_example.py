import asyncio
import os

import asyncpg


async def main():
    async with asyncpg.create_pool(os.environ["DATABASE_URL"]) as pool:
        for number in range(10):
            ada = (f"ada{number}", f"ada{number}@example.com", "x")
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("insert into users (username, email, hashed_password) values ($1, $2, $3)", *ada)
            assert await pool.fetchval("select email from users where username = $1", ada[0]) == ada[1]
            await pool.execute("delete from users where username = $1", ada[0])


asyncio.run(main())
