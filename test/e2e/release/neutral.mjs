// Prints a state of make.sh without what is this machine's: node neutral.mjs <state> <data folder> <checkout>
import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";

const [file, dataFolder, checkout] = process.argv.slice(2);
const nowhere = [
  [dataFolder, "/nonexistent/data"],
  [checkout, "/nonexistent/checkout"],
  [`${userInfo().username}@${hostname()}`, "somebody@somewhere"],
];
/** Where the engine and the program keep things; no diff reads them. */
const DROPPED = ["created", "modified", "sourcePosition", "stackTrace"];

const neutral = (text) => nowhere.reduce((left, [own, other]) => left.replaceAll(own, other), text);
const state = JSON.parse(readFileSync(file, "utf8"), (key, value) =>
  typeof value === "string" ? (key === "mountpoint" ? "/nonexistent/volume" : neutral(value)) : value,
);
for (const resource of state.deployment.resources) for (const name of DROPPED) delete resource[name];
process.stdout.write(JSON.stringify(state));
