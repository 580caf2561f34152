import path from "node:path";
import { afterAll, afterEach, inject } from "vitest";
import { withLock } from "../../base/lock.ts";
import { connectionFor } from "../../stack/connections.ts";

const { outputs, name, home } = inject("stack");

// The files take turns: those that kill servers or renew certificates would cut off the others.
let end: () => void = () => {};
let held: Promise<void> | undefined;
await new Promise<void>((resolve, reject) => {
  held = withLock(path.join(home, "turn"), () => {
    resolve();
    return new Promise<void>((ended) => (end = ended));
  });
  held.catch(reject);
});

afterAll(async () => {
  end();
  await held;
});

afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const { sslRootCert, sslCert, sslKey, host, port } = connectionFor(outputs, "postgres", "direct");
  console.error(
    `Stack ${name}; kept for another look when tests run with AIWDB_TEST_STACK=ci-mine:\n` +
      `psql 'host=${host} port=${port} user=postgres dbname=postgres sslmode=verify-full sslrootcert=${sslRootCert} sslcert=${sslCert} sslkey=${sslKey}'`,
  );
});
