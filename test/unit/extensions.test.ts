import { expect, test } from "vitest";
import {
  dropExtensionStatements,
  EXTENSIONS,
  extensionStatements,
  REFUSED_EXTENSIONS,
} from "../../database/access/extensions.ts";
import { UNKNOWN } from "../../infra/provider/resource.ts";
import { extensions as extensionsType } from "../../infra/provider/resources/extensions.ts";
import { called, recorder } from "../helpers/provider.ts";
import { problemsOf } from "../helpers/refused-settings.ts";
import { named, stackOf } from "../helpers/registered-stack.ts";

const extensions = called(extensionsType);

test("all refused names of a setting are one problem, which says why and what there is", () => {
  const problems = problemsOf({ extensions: ["citext", "dblink", "postgis", "vector", "dblink"] });
  expect(problems).toHaveLength(1);
  const [{ subject, problem }] = problems as [(typeof problems)[number]];
  expect(subject).toBe("extensions");
  for (const name of Object.keys(EXTENSIONS)) expect(problem).toContain(name);
  expect(problem).toMatch(
    /"dblink": it connects to other servers[^;]*; "postgis": the images do not have it; "vector": the packages [^;]*\)$/,
  );
});

test("no name is both there and refused, or refused twice", () => {
  const names = [...Object.keys(EXTENSIONS), ...REFUSED_EXTENSIONS.flatMap(([refused]) => refused)];
  expect(new Set(names).size).toBe(names.length);
});

test("a stack declares them sorted and once, before its migrations", async () => {
  const stack = await stackOf({ extensions: ["pg_trgm", "citext", "pg_trgm"] });
  expect(named(stack, "database-database-extensions").inputs["names"]).toEqual(["citext", "pg_trgm"]);
  expect(named(stack, "database-database-migrations").dependsOn).toContain("database-database-extensions");
});

test("statements create each in public, and never drop what depends on one", () => {
  const sql = extensionStatements(["citext", "uuid-ossp"]);
  expect(sql).toContain('create extension if not exists "citext" schema public;');
  expect(sql).toContain('create extension if not exists "uuid-ossp" schema public;');
  expect(sql).toContain("revoke execute on routine %s from public");
  expect(sql).toContain("grant execute on routine %s to ai_workflow_owner, app_user, app_readonly");
  expect(dropExtensionStatements(["citext", "uuid-ossp"])).toBe(
    'drop extension if exists "citext", "uuid-ossp" restrict;',
  );
  expect([extensionStatements([]), dropExtensionStatements([])]).toEqual(["", ""]);
});

test("a stack without extensions asks no server, whatever becomes of its container", async () => {
  const report = recorder();
  const none = { container: "aiwdb-none-postgres", database: "db", names: [] };
  expect(await extensions.check!(none, {}, report)).toEqual([]);
  expect(await extensions.diff!(none, { ...none, container: UNKNOWN }, report)).toEqual({ changed: [] });
  expect(await extensions.create(none, report)).toEqual({ id: "db", outputs: {} });
  expect((await extensions.diff!(none, { ...none, database: "other" }, report)).replaces).toEqual(["database"]);
  expect(report.lines).toEqual([]);
});
