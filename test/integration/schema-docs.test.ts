import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { dumpSchema, normaliseDump } from "../../dev/docs/schema-dump.ts";
import { readSchema, type SchemaModel } from "../../dev/docs/schema-model.ts";
import { DUMP_FILE } from "../../dev/docs/schema-stack.ts";
import { renderSchemaFiles } from "../../dev/docs/schema.ts";
import { connectionFor } from "../../stack/connections.ts";
import { ROLES } from "../../database/access/roles.ts";
import { connect } from "../../database/connection.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { setUp } from "../../toolchain/set-up.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const { outputs, name: stack } = inject("stack");
const read = (file: string): string =>
  existsSync(path.join(ROOT, file)) ? readFileSync(path.join(ROOT, file), "utf8") : "";

/** How a file differs from what it would be now: the first such line says more than two files of thousands. */
function outdated(file: string, generated: string): string {
  const [now, wanted] = [read(file).split("\n"), generated.split("\n")];
  const line = wanted.findIndex((text, at) => text !== now[at]);
  const at = line >= 0 ? line : now.length > wanted.length ? wanted.length : -1;
  return at < 0 ? "" : `${file}, line ${at + 1} is\n  ${now[at]}\nand would be\n  ${wanted[at]}`;
}

const RUN_DOCS = "out of date: run `npm run docs`";
const RUN_DUMP = "out of date: run `npm run db:dump`";

let client: Awaited<ReturnType<typeof connect>>;
let model: SchemaModel;
let files: Record<string, string>;

beforeAll(async () => {
  client = await connect(connectionFor(outputs, ROLES.owner, "direct"));
  model = await readSchema(client);
  files = await renderSchemaFiles(model);
});
afterAll(() => client?.end());

describe("docs/schema.md", () => {
  it("is what the live catalogue says", () => {
    expect(outdated("docs/schema.md", files["docs/schema.md"]!), RUN_DOCS).toBe("");
  });

  it("leads with every link to a heading of its own and to a diagram that exists", () => {
    const page = files["docs/schema.md"]!;
    const anchors = new Set(
      [...page.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replaceAll(/[^\w -]/g, "")
          .replaceAll(" ", "-"),
      ),
    );
    const links = [...page.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor!);
    expect(links.filter((anchor) => !anchors.has(anchor))).toEqual([]);
    const pictures = [...page.matchAll(/!\[.*?\]\((.*?)\)/g)].map(([, file]) => `docs/${file}`);
    expect(pictures.toSorted()).toEqual(
      Object.keys(files)
        .filter((file) => file.endsWith(".svg"))
        .toSorted(),
    );
  });

  it("gives every foreign key's action with a reason and, where it leads to a user, what privacy requests do", () => {
    const keys = model.tables.flatMap((table) => table.foreignKeys.map((key) => ({ table: table.name, ...key })));
    expect(keys.length).toBeGreaterThan(70);
    expect(keys.filter(({ because }) => because === "")).toEqual([]);
    expect(keys.filter(({ refersTo, privacy }) => refersTo === "users" && !privacy)).toEqual([]);
    // What goes with the account in a plain delete is not kept as it is by an erasure, and what stops the delete stays.
    const toUsers = keys.filter(({ refersTo }) => refersTo === "users");
    expect(toUsers.filter(({ onDelete, privacy }) => onDelete === "cascade" && privacy?.erase === "keep")).toEqual([]);
    expect(toUsers.filter(({ onDelete, privacy }) => onDelete === "no action" && privacy?.erase === "delete")).toEqual(
      [],
    );
  });
});

describe("docs/schema/*.svg", () => {
  it("are what the live catalogue says, and no others", () => {
    const svgs = Object.keys(files).filter((file) => file.endsWith(".svg"));
    for (const file of svgs) expect(outdated(file, files[file]!), RUN_DOCS).toBe("");
    const present = existsSync(path.join(ROOT, "docs/schema")) ? readdirSync(path.join(ROOT, "docs/schema")) : [];
    expect(present.map((file) => `docs/schema/${file}`).toSorted()).toEqual(svgs.toSorted());
  });

  it("show every table in the overview and in its group", () => {
    const shows = (svg: string, table: string) =>
      svg.includes(`>${table}</text>`) || svg.includes(`>${table} ●</text>`);
    for (const { name, group } of model.tables) {
      expect(shows(files["docs/schema/overview.svg"]!, name), `${name} in the overview`).toBe(true);
      expect(shows(files[`docs/schema/${group}.svg`]!, name), `${name} in ${group}`).toBe(true);
    }
  });

  it("are the same when drawn again", async () => {
    expect(await renderSchemaFiles(await readSchema(client))).toEqual(files);
  });
});

describe("test/schema.sql", () => {
  it("is the dump after all migrations", async () => {
    const { engine } = await setUp({ report: () => {}, images: false });
    const dump = await dumpSchema(engineClient(engine), stack, outputs.connections.database);
    expect(outdated(DUMP_FILE, dump), RUN_DUMP).toBe("");
    expect(dump).not.toMatch(/_y\d{4}m\d{2}\b/);
  });

  it("does not depend on versions, tokens or the order in which roles were made", () => {
    const dump = (version: string, token: string, grants: string) =>
      `--\n-- PostgreSQL database dump\n--\n\n\\restrict ${token}\n\n-- Dumped from database version ${version}\n` +
      `-- Dumped by pg_dump version ${version}\n\nSET a = 1;\n\n--\n-- Name: TABLE a; Type: ACL; Schema: public; Owner: -\n--\n\n` +
      `${grants}\n\n\n\\unrestrict ${token}\n\n`;
    const one = normaliseDump(
      dump(
        "16.14",
        "abc",
        "REVOKE ALL ON TABLE a FROM b;\nGRANT SELECT ON TABLE a TO c;\nGRANT SELECT ON TABLE a TO b;",
      ),
    );
    const other = normaliseDump(
      dump(
        "16.15",
        "xyz",
        "REVOKE ALL ON TABLE a FROM b;\nGRANT SELECT ON TABLE a TO b;\nGRANT SELECT ON TABLE a TO c;",
      ),
    );
    expect(one).toBe(other);
    expect(one).toBe(
      "-- Generated by `npm run db:dump`; changes are overwritten.\n\n--\n-- PostgreSQL database dump\n--\n\nSET a = 1;\n\n" +
        "REVOKE ALL ON TABLE a FROM b;\nGRANT SELECT ON TABLE a TO b;\nGRANT SELECT ON TABLE a TO c;\n",
    );
  });
});
