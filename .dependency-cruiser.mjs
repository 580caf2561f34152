// Which room may import which: `npm run lint` runs this. The rooms are in dev/house.json, from which docs/development.md is drawn too.
import { readFileSync } from "node:fs";

const house = JSON.parse(readFileSync(new URL("./dev/house.json", import.meta.url), "utf8"));

/** Files of a room; a room with rooms of its own has the rest of its files on its uppermost floor. */
const folder = (parent, { room }) => `^${parent}${room}/`;

/** For each room: it imports nothing of the floors above and of its neighbours on the same floor. */
function rules(floors, parent) {
  return floors.flatMap((rooms, at) =>
    rooms.flatMap((room) => {
      const above = floors.slice(0, at).flat();
      const beside = rooms.filter((other) => other !== room);
      const refused = [...above, ...beside].map((other) => folder(parent, other));
      // What lies in the parent's own folder belongs to its uppermost floor.
      if (parent !== "" && at > 0) refused.push(`^${parent}[^/]+$`);
      const rule = {
        name: `${parent}${room.room}-imports-downwards`,
        comment: "Imports go downwards only, type imports included; see docs/development.md.",
        severity: "error",
        from: { path: folder(parent, room) },
        to: { path: refused },
      };
      const inner = rules(room.floors ?? [], `${parent}${room.room}/`);
      return refused.length > 0 ? [rule, ...inner] : inner;
    }),
  );
}

const rooms = house.floors.flat().map(({ room }) => room);

export default {
  forbidden: [
    ...rules(house.floors, ""),
    {
      name: "no-circle",
      comment: "Two files that import each other are one subject: join them, or move what both need below.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "package-imports-no-tests",
      comment: "What is shipped stands without tests, benchmarks and examples.",
      severity: "error",
      from: { path: `^(${rooms.join("|")})/` },
      to: { path: "^(test|bench|examples)/" },
    },
  ],
  options: {
    tsPreCompilationDeps: true, // type imports count
    doNotFollow: { path: "node_modules" },
    includeOnly: `^(${rooms.join("|")}|test|bench|examples)/`,
    tsConfig: { fileName: "tsconfig.json" },
  },
};
