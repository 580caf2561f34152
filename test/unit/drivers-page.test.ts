import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { CLIENT_FORMATS } from "../../database/client-formats.ts";
import { renderDrivers, snippetsOf } from "../../dev/docs/drivers.ts";
import { CLIENTS, LONG_CLIENTS } from "../helpers/clients.ts";

const page = readFileSync(path.join(PACKAGE_ROOT, "docs/drivers.md"), "utf8");

test("docs/drivers.md has every program that the tests run, and no other, byte for byte", () => {
  const programs = [...CLIENTS, ...LONG_CLIENTS].map(({ name }) => `examples/clients/${name}`);
  const onPage = snippetsOf(page);
  expect(onPage.filter((file) => !file.endsWith("schema.prisma")).toSorted()).toEqual(programs.toSorted());
  for (const file of onPage) expect(page).toContain(`\n${readFileSync(path.join(PACKAGE_ROOT, file), "utf8")}\`\`\``);
  expect(renderDrivers(page), "run `npm run docs`").toBe(page);
});

test("docs/drivers.md names every format, and links to files that are there", () => {
  for (const format of CLIENT_FORMATS) expect(page).toContain(`| \`${format}\``);
  const links = [...page.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link = ""]) => link);
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) expect(existsSync(path.join(PACKAGE_ROOT, "docs", link)), link).toBe(true);
});
