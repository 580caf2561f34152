import path from "node:path";
import { PACKAGE_ROOT } from "../../base/versions.ts";

/** The package's own migrations. */
export const MIGRATIONS_FOLDER = path.join(PACKAGE_ROOT, "migrations");
