import pg from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { EXTENSIONS, REFUSED_EXTENSIONS } from "../../database/access/extensions.ts";
import { query, refusal } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// The setting `extensions` on a stack of its own: the tests change it one after the other.
vi.setConfig({ testTimeout: 5 * 60_000 });
const NAME = `ci-x${process.pid}`;
/** All but one, which a test makes in another way. */
const MANY = Object.keys(EXTENSIONS)
  .filter((name) => name !== "isn")
  .toSorted();
let own: OwnStack;

const as = <Row extends Record<string, unknown>>(
  role: "app_user" | "app_readonly" | "app_monitor" | "ai_workflow_owner" | "postgres",
  sql: string,
  mode: "direct" | "transaction" = "direct",
) =>
  query<Row>(role, mode, sql, { outputs: own.outputs, ...(mode === "direct" ? { database: "ai_workflow_db" } : {}) });

const present = async () =>
  (
    await as<{ extname: string }>(
      "ai_workflow_owner",
      "select extname from pg_extension where extname not in ('plpgsql', 'pg_stat_statements') order by extname collate \"C\"",
    )
  ).map(({ extname }) => extname);

const preview = (...more: string[]) => own.checkout.aiwdb(["preview", "--stack", NAME, ...more]);
const status = () => own.checkout.aiwdb(["status", "--stack", NAME]);

beforeAll(async () => {
  own = await ownStack(NAME, { extensions: MANY });
});
afterAll(() => own.remove());

test("every extension of the list is in the image, and the application uses its functions and operators through the pooler", async () => {
  expect(await present()).toEqual(MANY);
  const sql = `select 'A'::citext = 'a' as citext, similarity('word', 'words') > 0.5 as trgm, 'x=>1'::hstore -> 'x' as hstore,
    encode(digest('a', 'sha256'), 'hex') like 'ca978112%' as crypto, length(gen_random_bytes(8)) as random,
    uuid_generate_v4() <> uuid_generate_v4() as uuid, unaccent('Hôtel') as plain, 'a.b'::ltree <@ 'a'::ltree as tree`;
  const row = {
    citext: true,
    trgm: true,
    hstore: "1",
    crypto: true,
    random: 8,
    uuid: true,
    plain: "Hotel",
    tree: true,
  };
  expect(await as("app_user", sql, "transaction")).toEqual([row]);
  expect(await as("app_readonly", sql)).toEqual([row]);
});

test("whatever the image has is on the list, or refused with a reason", async () => {
  const available = await as<{ name: string }>("postgres", "select name from pg_available_extensions");
  const known = new Set([...Object.keys(EXTENSIONS), ...REFUSED_EXTENSIONS.flatMap(([names]) => names)]);
  expect(available.length).toBeGreaterThan(40);
  expect(available.filter(({ name }) => !known.has(name))).toEqual([]);
});

test("no function of an extension is PUBLIC's, none runs as its owner, and nobody but the superuser changes an extension", async () => {
  const members = `pg_proc join pg_depend on pg_depend.classid = 'pg_proc'::regclass and pg_depend.objid = pg_proc.oid and deptype = 'e'
    join pg_extension on pg_extension.oid = refobjid where extname not in ('plpgsql', 'pg_stat_statements')`;
  const found = await as<{ count: number }>("postgres", `select count(*)::integer as count from ${members}`);
  expect(found[0]!.count).toBeGreaterThan(500);
  expect(
    await as(
      "postgres",
      `select pg_proc.oid::regprocedure::text from ${members} and (prosecdef or proowner <> 'postgres'::regrole
        or exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0))`,
    ),
  ).toEqual([]);
  expect(await refusal(as("app_monitor", "select gen_random_bytes(8)"))).toMatch(/42501/);
  for (const role of ["app_user", "app_readonly", "ai_workflow_owner"] as const)
    for (const sql of [
      "drop extension pgcrypto",
      "alter extension pgcrypto set schema pgbouncer",
      "create extension dblink",
    ])
      expect(await refusal(as(role, sql)), `${role}: ${sql}`).toMatch(/42501/);
  // Nor a relation, which could hold rows, and no event trigger.
  expect(
    await as(
      "postgres",
      `select from pg_depend join pg_extension on pg_extension.oid = refobjid
        where deptype = 'e' and refclassid = 'pg_extension'::regclass and extname not in ('plpgsql', 'pg_stat_statements')
          and classid = any (array['pg_class', 'pg_event_trigger', 'pg_foreign_data_wrapper']::regclass[])
          and pg_describe_object(classid, objid, 0) not like 'composite type %'`,
    ),
  ).toEqual([]);
});

test("one that somebody dropped is named by status and preview, and is created again", async () => {
  await as("postgres", "drop extension hstore");
  const seen = await status();
  expect(seen.exitCode).toBe(1);
  expect(seen.stdout).toContain("extension hstore is in the settings and not in the database: `up` creates it");
  const planned = await preview("--expect-no-changes");
  expect(planned.exitCode).toBe(1);
  expect(planned.all).toContain("extension hstore was dropped: it is created again");
  expect(mustSucceed(await own.up()).all).toContain("extension hstore: created");
  expect(await as("app_user", "select 'x=>1'::hstore -> 'x' as found")).toEqual([{ found: "1" }]);
  mustSucceed(await preview("--expect-no-changes"));
  mustSucceed(await status());
});

test("one that is still used is not dropped: preview and up say by what, and nothing is changed", async () => {
  await as(
    "ai_workflow_owner",
    `create table public.kept (name citext, names citext[], word text);
     create index kept_word on public.kept using gin (word gin_trgm_ops)`,
  );
  own.settings({ extensions: ["ltree", "pgcrypto"] });
  for (const refused of [await preview(), await own.up()]) {
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toContain("can't be dropped, because the database still uses them: ");
    for (const object of ["column name of table kept", "column names of table kept", "index kept_word"])
      expect(refused.all).toContain(object);
  }
  expect(await present()).toEqual(MANY);
});

test("one that nothing needs is dropped, as the preview says, and one that a migration made stays where it is", async () => {
  // The database's owner may make trusted extensions itself.
  await as("ai_workflow_owner", "drop table public.kept; create schema other; create extension isn schema other");
  own.settings({ extensions: ["ltree", "isn"] });
  expect(mustSucceed(await preview()).all).toContain("extension citext: will be dropped");
  expect(mustSucceed(await own.up()).all).toContain("extension citext: dropped");
  expect(await present()).toEqual(["isn", "ltree"]);
  const where = "select extnamespace::regnamespace::text as schema from pg_extension where extname = 'isn'";
  expect(await as("postgres", where)).toEqual([{ schema: "other" }]);
  mustSucceed(await preview("--expect-no-changes"));
});

test("a server for tests takes them from its own settings, and every test database has them", async () => {
  const name = `ci-y${process.pid}`;
  const testdb = (...args: string[]) => own.checkout.aiwdb(["testdb", ...args, "--name", name]);
  own.checkout.settings(name, { extensions: ["citext"] });
  mustSucceed(await testdb("start", "--engine", "local"));
  try {
    const { url } = JSON.parse(mustSucceed(await testdb("create", "--json")).stdout) as { url: string };
    const client = new pg.Client(url);
    await client.connect();
    const sql = `select current_user as role, 'A'::citext = 'a' as equal,
      exists (select from aclexplode((select proacl from pg_proc where oid = 'citext_eq(citext, citext)'::regprocedure)) where grantee = 0) as public`;
    expect((await client.query(sql)).rows).toEqual([{ role: "app_user", equal: true, public: false }]);
    await client.end();
  } finally {
    mustSucceed(await testdb("stop"));
  }
});
