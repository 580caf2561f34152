import { runOptions } from "./run-options.ts";
import { serve } from "./server.ts";
import { TYPES } from "./types.ts";

serve(process.argv[2], "0.1.0", runOptions(process.env), TYPES);
