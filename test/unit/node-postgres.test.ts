import pg from "pg";
import { expect, test } from "vitest";
import { isUsable, loginProcessId } from "../../base/node-postgres.ts";
import manifest from "pg/package.json" with { type: "json" };

test("the fields of node-postgres that are no interface were read in the version that is installed", () => {
  // With another version: compare lib/client.js with what node-postgres.ts says of it, then change this line.
  expect(manifest.version).toBe("8.23.1");
});

test("a client that is not connected has every field, with the values of one that never was", () => {
  const client = new pg.Client();
  expect(loginProcessId(client)).toBeUndefined();
  expect(client).toMatchObject({ processID: null, _ending: false, _queryable: true });
  expect(client).toHaveProperty("connection.parsedStatements", {});
  expect(client).toHaveProperty("connection.submittedNamedStatements", {});
  expect(isUsable(client)).toBe(true);
});
