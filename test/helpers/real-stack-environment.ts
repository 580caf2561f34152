import { afterEach, inject } from "vitest";
import { libpqUrl } from "../../cli/stack/libpq.ts";
import { connectionFor } from "../../cli/stack/status.ts";

const { outputs, name } = inject("stack");

// A superuser's URL of the real server, for tests that make databases of their own.
process.env["AIWDB_TEST_ADMIN_URL"] = libpqUrl({
  ...connectionFor(outputs, "postgres", "direct"),
  database: "postgres",
});

afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const { sslRootCert, sslCert, sslKey, host, port } = connectionFor(outputs, "postgres", "direct");
  console.error(
    `Stack ${name}; kept for another look when tests run with AIWDB_TEST_STACK=ci-mine:\n` +
      `psql 'host=${host} port=${port} user=postgres dbname=postgres sslmode=verify-full sslrootcert=${sslRootCert} sslcert=${sslCert} sslkey=${sslKey}'`,
  );
});
