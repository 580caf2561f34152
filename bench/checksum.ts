import { hash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { semanticChecksum } from "../migrate/chain/checksum.ts";
import { readMigrations } from "../migrate/chain/files.ts";
import { inTurns, timed, type Benchmark } from "./measure.ts";

const FILES = 1_000;

/** A migration of usual size. */
function migration(number: number): string {
  const column = (index: number) =>
    `  column_${index} character varying(255) not null default 'value' check (column_${index} <> ''), -- why\n`;
  const columns = Array.from({ length: 30 }, (_, index) => column(index)).join("");
  return `-- Phase: 1\n-- Why: users log in.\ncreate table public.users_${number} (\n${columns}  id bigint generated always as identity primary key\n);\ncomment on table public.users_${number} is 'People.';\n`;
}

export default {
  question: "What does every preview pay for reading a thousand migrations and for checksums that pass over comments?",
  async run() {
    const texts = Array.from({ length: FILES }, (_, index) => migration(index));
    const sha256 = (text: string) => hash("sha256", text, "hex");
    const folder = mkdtempSync(join(tmpdir(), "aiwdb-bench-checksum-"));
    try {
      for (const [index, text] of texts.entries()) {
        const name = join(folder, `${String(index + 1).padStart(4, "0")}_create_users`);
        writeFileSync(`${name}.up.sql`, text);
        writeFileSync(`${name}.down.sql`, `drop table public.users_${index};\n`);
      }
      const plainly = () => readdirSync(folder).forEach((file) => sha256(readFileSync(join(folder, file), "utf8")));
      const checksums = await inTurns(
        () => timed(async () => texts.forEach(sha256)),
        () => timed(async () => texts.forEach(semanticChecksum)),
      );
      const reading = await inTurns(
        () => timed(async () => plainly()),
        () => timed(async () => readMigrations(folder)),
      );
      return {
        rows: [
          {
            name: "checksums of 1,000 texts, against plain SHA-256 of them",
            unit: "ms",
            ...checksums,
            target: { atMost: 40 },
          },
          {
            name: "reading 1,000 migrations, against reading and plain SHA-256 of their files",
            unit: "ms",
            ...reading,
            target: { atMost: 6 },
          },
        ],
        notes: [
          "The floor looks at no character; before there was this figure, 100 ms of processor time were the limit of a test.",
        ],
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
} satisfies Benchmark;
