import { commands, program } from "../../cli/commands.ts";
import { findCommand } from "../../cli/find-command.ts";
import { renderHelp } from "../../cli/help.ts";

/** docs/commands.md: the help of every command, as the program prints it. */
export async function renderCommands(): Promise<string> {
  const lines = [
    "# Commands",
    "",
    "<!-- Generated from the program's own help by `npm run docs`; changes are overwritten. -->",
    "",
  ];
  for (const name of Object.keys(commands)) {
    const { module } = await findCommand(program, [name]);
    const below = typeof module.default.subCommands === "function" ? {} : (module.default.subCommands ?? {});
    for (const path of [[name], ...Object.keys(below).map((inner) => [name, inner])]) {
      const found = await findCommand(program, path);
      lines.push(`## aiwdb ${path.join(" ")}`, "", "```", await renderHelp(found.module, path), "```", "");
    }
  }
  return lines.join("\n");
}
