import { PROGRAM_VARIABLES } from "../settings/program-variables.ts";
import { serve } from "./server.ts";
import { TYPES } from "./types.ts";

serve(process.argv[2], "0.1.0", { takeOver: process.env[PROGRAM_VARIABLES.takeOver] === "1" }, TYPES);
