import { program } from "../../cli/commands.ts";
import { findCommand, namesBelow } from "../../cli/find-command.ts";
import { renderHelp } from "../../cli/help.ts";
import { ENGINE_VARIABLE, SERVER_VARIABLE } from "../../testing/description/server.ts";

/** docs/commands.md: the help of every command, as the program prints it where no variable changes a default. */
export async function renderCommands(): Promise<string> {
  // A command takes its defaults from them when it is loaded.
  for (const variable of [SERVER_VARIABLE, ENGINE_VARIABLE]) Reflect.deleteProperty(process.env, variable);
  const lines = [
    "# Commands",
    "",
    "<!-- Generated from the program's own help by `npm run docs`; changes are overwritten. -->",
    "",
  ];
  for (const name of namesBelow((await findCommand(program, [])).command)) {
    const { command } = await findCommand(program, [name]);
    for (const path of [[name], ...namesBelow(command).map((inner) => [name, inner])]) {
      const found = await findCommand(program, path);
      lines.push(`## aiwdb ${path.join(" ")}`, "", "```", await renderHelp(found), "```", "");
    }
  }
  return lines.join("\n");
}
