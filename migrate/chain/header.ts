/** Header keys that tools read. Others are allowed and kept. */
export const HEADER_KEYS = {
  phase: "Phase",
  why: "Why",
  lock: "Lock",
  dataLoss: "Data loss",
  irreversible: "Irreversible",
} as const;

const KEY_LINE = /^--\s*([A-Z][A-Za-z ]*?):\s*(.*)$/;
const COMMENT_LINE = /^--\s?(.*)$/;

/**
 * The header of a migration file: its first lines, `-- Key: value`, up to the first line that is no comment.
 *
 * A comment line without a key continues the value above it.
 */
export function parseHeader(sql: string): Record<string, string> {
  const header: Record<string, string> = {};
  let key: string | undefined;
  for (let start = 0; start < sql.length && sql.startsWith("--", start);) {
    let end = sql.indexOf("\n", start);
    if (end < 0) end = sql.length;
    const line = sql.slice(start, end).trimEnd();
    start = end + 1;
    const [, name, value] = KEY_LINE.exec(line) ?? [];
    if (name !== undefined) {
      key = name;
      header[key] = value ?? "";
    } else if (key !== undefined) {
      header[key] = `${header[key]} ${COMMENT_LINE.exec(line)?.[1]?.trim() ?? ""}`.trim();
    }
  }
  return header;
}
