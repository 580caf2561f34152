import { afterEach, inject } from "vitest";
import { connectionFor } from "../../stack/connections.ts";

const { outputs, name } = inject("stack");

afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const { sslRootCert, sslCert, sslKey, host, port } = connectionFor(outputs, "postgres", "direct");
  console.error(
    `Stack ${name}; kept for another look when tests run with AIWDB_TEST_STACK=ci-mine:\n` +
      `psql 'host=${host} port=${port} user=postgres dbname=postgres sslmode=verify-full sslrootcert=${sslRootCert} sslcert=${sslCert} sslkey=${sslKey}'`,
  );
});
