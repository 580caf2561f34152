import assert from "node:assert/strict";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./prisma/client.ts"; // npx prisma generate

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
for (let number = 0; number < 10; number += 1) {
  const [username, email] = [`ada${number}`, `ada${number}@example.com`];
  await prisma.$transaction(async (transaction) => {
    await transaction.user.create({ data: { username, email, hashedPassword: "x" } });
  });
  assert.equal((await prisma.user.findUniqueOrThrow({ where: { username } })).email, email);
  await prisma.user.delete({ where: { username } });
}
await prisma.$disconnect();
