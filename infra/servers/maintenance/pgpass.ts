/** A line of .pgpass for one role at any server. Colons and backslashes are escaped. https://www.postgresql.org/docs/16/libpq-pgpass.html */
export function renderPgpass(role: string, password: string): string {
  const escape = (text: string) => text.replaceAll("\\", "\\\\").replaceAll(":", "\\:");
  return `*:*:*:${escape(role)}:${escape(password)}\n`;
}
