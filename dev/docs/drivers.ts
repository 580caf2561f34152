import { readFileSync } from "node:fs";
import path from "node:path";
import { PACKAGE_ROOT } from "../../base/versions.ts";

/** Where docs/drivers.md names a file in a comment, and has the file's text in the code block below. */
const BLOCK = /<!-- (examples\/clients\/\S+) -->\n\n```(\w+)\n[\s\S]*?\n```\n/g;

/** Files below examples/clients that a page has as code blocks. */
export function snippetsOf(page: string): string[] {
  return [...page.matchAll(BLOCK)].map(([, file = ""]) => file);
}

/**
 * docs/drivers.md with the code blocks that examples/clients has now. The tests run those files.
 *
 * @param page its present text
 */
export function renderDrivers(page: string): string {
  return page.replaceAll(BLOCK, (_, file: string, language: string) => {
    const text = readFileSync(path.join(PACKAGE_ROOT, file), "utf8");
    return `<!-- ${file} -->\n\n\`\`\`${language}\n${text}\`\`\`\n`;
  });
}
