import { inject } from "vitest";
import { libpqUrl } from "../../database/libpq.ts";
import { ROLES } from "../../database/access/roles.ts";
import { connectionTo, readServer, SERVER_VARIABLE } from "../../testing/description/server.ts";

const name = inject("testServer");
process.env[SERVER_VARIABLE] = name;
// For tests that make databases of their own, with nothing in them.
process.env["AIWDB_TEST_ADMIN_URL"] = libpqUrl(connectionTo(readServer(name), "postgres", ROLES.superuser, "direct"));
