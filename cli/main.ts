import { program } from "./commands.ts";
import { runProgram } from "./run.ts";

await runProgram(program, [], process.argv.slice(2));
