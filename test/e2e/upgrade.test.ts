import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

/** Made by release/make.sh, which says the same passphrase. */
const RELEASE = path.join(import.meta.dirname, "release");
const ENVIRONMENT = { XDG_DATA_HOME: "/nonexistent/data", PULUMI_CONFIG_PASSPHRASE: "fixture" };

const OF_DATABASE = "urn:pulumi:release::ai-workflow-database::aiwdb:index:DatabaseStack$aiwdb:index:";

/** What today's program is meant to update or to make in a stack of the release before, by URN. */
const INTENDED: Readonly<Record<string, "update" | "create">> = {
  // app_user's statement_timeout.
  [`${OF_DATABASE}Database$aiwdb:index:DatabaseBaseline::database-database-baseline`]: "update",
  // It asks no server where the settings name no extension.
  [`${OF_DATABASE}Database$aiwdb:index:Extensions::database-database-extensions`]: "create",
  // The pooler has more connections, so that a role may have more, and PostgreSQL takes more.
  ...Object.fromEntries(
    ["app_monitor", "app_readonly", "app_user"].map((role) => [
      `${OF_DATABASE}Database$postgresql:index/role:Role::database-database-role-${role}`,
      "update",
    ]),
  ),
  [`${OF_DATABASE}PgBouncer$aiwdb:index:VolumeFiles::database-pgbouncer-files`]: "update",
  [`${OF_DATABASE}PostgresServer$aiwdb:index:VolumeFiles::database-postgres-files`]: "update",
  [`${OF_DATABASE}PostgresServer$aiwdb:index:ContainerReady::database-postgres-ready`]: "update",
};

/**
 * These look whether the engine and the disk have what they declare. Here nothing is there, and they would make it
 * anew.
 */
const LOOKING = new Set(["ClientFiles", "ContainerReady", "DataOwner", "LoginRoles"]);

interface Step {
  readonly op: string;
  readonly urn: string;
  readonly oldState?: { readonly type: string; readonly inputs: object };
  readonly newState?: { readonly inputs: object };
}

/** Whether a resource of these would be left alone on a machine where the stack is up. */
function onlyLooked({ op, oldState, newState }: Step): boolean {
  const type = oldState?.type.replace("aiwdb:index:", "") ?? "";
  return op === "update" && LOOKING.has(type) && isDeepStrictEqual(oldState?.inputs, newState?.inputs);
}

let checkout: Checkout;
beforeAll(async () => {
  checkout = await createCheckout();
});
afterAll(() => checkout.remove());

test("a stack of the release before keeps every resource: none is replaced or deleted, and what is updated or made is meant to be", async () => {
  const text = gunzipSync(readFileSync(path.join(RELEASE, "state.json.gz"))).toString("utf8");
  const { deployment } = JSON.parse(text) as {
    deployment: { resources: { urn: string }[]; secrets_providers: { state: { salt: string } } };
  };
  const settings = readFileSync(path.join(RELEASE, "Pulumi.release.yaml"), "utf8");
  writeFileSync(
    path.join(checkout.root, "Pulumi.release.yaml"),
    `${settings}encryptionsalt: ${deployment.secrets_providers.state.salt}\n`,
  );
  // Pulumi's own format of a state file, around what it exports.
  mkdirSync(path.dirname(checkout.stateFile("release")), { recursive: true });
  writeFileSync(
    checkout.stateFile("release"),
    JSON.stringify({
      version: 3,
      checkpoint: { stack: "organization/ai-workflow-database/release", latest: deployment },
    }),
  );

  const pulumi = ["pulumi", "--stack", "release", "--", "preview", "--json", "--show-sames", "--show-secrets"];
  const { stdout } = mustSucceed(await checkout.aiwdb(pulumi, ENVIRONMENT));

  const { steps } = JSON.parse(stdout) as { steps: Step[] };
  const changed = steps.filter((step) => step.op !== "same" && !onlyLooked(step));
  expect(Object.fromEntries(changed.map(({ urn, op }) => [urn, op]))).toEqual(INTENDED);
  // Pulumi does not show the providers that it makes itself.
  const before = deployment.resources
    .map(({ urn }) => urn)
    .filter((urn) => !/::pulumi:providers:\w+::default/.test(urn));
  expect(before.length).toBeGreaterThan(90);
  const made = Object.keys(INTENDED).filter((urn) => INTENDED[urn] === "create");
  expect(steps.map(({ urn }) => urn).sort()).toEqual([...before, ...made].sort());
});
